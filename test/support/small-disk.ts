import { execFileSync } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'
import { mkdtemp, rm, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TestContext } from 'node:test'

/** A file system with little room. */
export type SmallDisk = {
  readonly folder: string
  /** Takes all the room that is left. */
  fill(): void
  /** Gives it back. */
  free(): Promise<void>
}

/** Mounts one for the time of the test. Needs root. */
export async function smallDisk(
  owner: Pick<TestContext, 'after'>,
  kibibytes: number,
): Promise<SmallDisk> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-small-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kibibytes}k`, 'tmpfs', folder])
  owner.after(async () => {
    execFileSync('umount', ['--lazy', folder]) // Who has it open still may keep it.
    await rmdir(folder)
  })
  const filler = path.join(folder, 'filler')
  return {
    folder,
    fill() {
      const file = openSync(filler, 'a')
      try {
        while (writeSync(file, Buffer.alloc(4096)) > 0);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      } finally {
        closeSync(file)
      }
    },
    free: () => rm(filler, { force: true }),
  }
}
