import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { CinderRefusal, CinderUser, gibibyte, sumOf, writeVolume } from './real-cinder.ts'
import type { KeystoneUserName } from './services.ts'
import { noise } from './volume-data.ts'

// What tests of a real Cinder begin with: its users, and volumes whose content is known.

const mebibyte = 2 ** 20

type Project = Extract<KeystoneUserName, 'demo' | 'other'>

/** A member of a project; what it makes is gone after the test. */
export async function memberOf(t: TestContext, project: Project = 'demo'): Promise<CinderUser> {
  const user = await CinderUser.login(project)
  t.after(() => user.removeAll())
  return user
}

export const administrator = (project: Project = 'demo') => CinderUser.login('admin', { project })

/** A volume of 1 GiB: noise over the edge between two objects, a hole, its last bytes; and its sum. */
export async function writtenVolume(user: CinderUser, noiseMib = 16): Promise<[string, string]> {
  const id = await user.createVolume()
  const seed = randomUUID()
  await writeVolume(id, noise(seed, noiseMib * mebibyte), 40 * mebibyte + 512)
  await writeVolume(id, noise(`${seed} end`, 5000), gibibyte - 5000)
  return [id, await sumOf(id)]
}

/** Three pieces of a volume change, one of them over the edge of a block; the new sum. */
export async function change(volumeId: string): Promise<string> {
  const seed = randomUUID()
  await writeVolume(volumeId, noise(seed, 70_000), 45 * mebibyte - 100)
  await writeVolume(volumeId, Buffer.alloc(3 * mebibyte), 50 * mebibyte)
  await writeVolume(volumeId, noise(`${seed} end`, 17), gibibyte - 17)
  return sumOf(volumeId)
}

export const refusedWith =
  (...statuses: readonly number[]) =>
  (error: unknown) =>
    error instanceof CinderRefusal && statuses.includes(error.status)

type Usage = { readonly in_use: number; readonly reserved: number }

/** What counts against the quotas of backups, with nothing reserved. */
export async function inUseOf(user: CinderUser): Promise<{ backups: number; gib: number }> {
  const where = `/os-quota-sets/${user.token.projectId}?usage=true`
  const { quota_set } = await user.call('GET', where)
  const { backups, backup_gigabytes: gib } = quota_set as Readonly<Record<string, Usage>>
  if (backups === undefined || gib === undefined) throw new Error('the quota of backups is missing')
  if (backups.reserved + gib.reserved > 0) throw new Error('a reservation is left')
  return { backups: backups.in_use, gib: gib.in_use }
}

export const backupsInUse = async (user: CinderUser) => (await inUseOf(user)).backups

/** Until it holds; fails with what did not after a minute. */
export async function eventually(check: () => Promise<void>, pauseMs = 200): Promise<void> {
  const deadline = performance.now() + 60_000
  while (true) {
    try {
      return await check()
    } catch (error) {
      if (performance.now() > deadline) throw error
      await sleep(pauseMs)
    }
  }
}
