import { hash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'

import { wallClockMs } from '../../lib/clock.ts'
import type { Folder } from './posix-folder.ts'

/** Names of files that are being written, and what becomes of those that nobody writes any more. */
export type Temporaries = {
  /** A name for the unfinished object `name`: hidden, and never given twice. */
  readonly nameFor: (name: string) => string
  /**
   * Removes `fileName` where it is a left-over of an object that starts with `prefix`. At best: a
   * folder that may not be written keeps it.
   */
  readonly removeLeftover: (folder: Folder, fileName: string, prefix: string) => Promise<void>
}

// `.<object>.<host>.<run>.<random>.part`. The dot in front keeps it out of the stock driver's listing
// too, which goes by the prefix and would find the backup damaged.
const shape = /^\.(?<object>.+)\.(?<host>[0-9a-f]{8})\.(?<run>[0-9a-f]{8})\.[0-9a-f]{8}\.part$/
// A file of another host is given up when nothing was written to it for a day. Were it still in
// work, its put would fail once and be tried again.
const abandonedMs = 24 * 60 * 60 * 1000

export function temporaries(writer: { readonly host: string; readonly run: string }): Temporaries {
  const host = hash('sha256', writer.host).slice(0, 8)
  const run = hash('sha256', writer.run).slice(0, 8)

  return {
    nameFor: (name) => `.${name}.${host}.${run}.${randomBytes(4).toString('hex')}.part`,
    removeLeftover: async (folder, fileName, prefix) => {
      const found = shape.exec(fileName)?.groups
      if (!found?.['object']?.startsWith(prefix)) return
      if (found['host'] === host && found['run'] === run) return
      const path = folder.pathOf(fileName)
      try {
        const isAbandoned = wallClockMs() - (await fs.lstat(path)).mtimeMs > abandonedMs
        if (found['host'] === host || isAbandoned) await fs.unlink(path)
      } catch {
        // Gone already, or not ours to remove: it takes room, and harms nothing.
      }
    },
  }
}
