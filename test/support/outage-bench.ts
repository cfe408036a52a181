import { randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { AgentProcess } from './agent.ts'
import { CinderRefusal, CinderUser, sumOf, volumeFile, writeVolume } from './real-cinder.ts'
import { serviceScript, services } from './services.ts'
import { noise } from './volume-data.ts'

// What tests of outages under a real Cinder do and wait for.

const mebibyte = 2 ** 20
const runScript = serviceScript()

export const database = {
  stop: () => runScript('down', services().cinder.database),
  start: () => runScript('up', services().cinder.database),
}

export const restartBroker = () => runScript('restart', 'rabbitmq')

export async function databaseAway(seconds: number): Promise<void> {
  await database.stop()
  await sleep(seconds * 1000)
  await database.start()
}

export async function memberOf(t: TestContext): Promise<CinderUser> {
  const user = await CinderUser.login('demo')
  t.after(() => user.removeAll())
  return user
}

/** So much that it takes its time. */
export async function writtenVolume(user: CinderUser, mib = 192): Promise<[string, string]> {
  const id = await user.createVolume()
  await writeVolume(id, noise(randomUUID(), mib * mebibyte), 7 * mebibyte + 512)
  return [id, await sumOf(id)]
}

/** Asks for a restore and does not wait for it. */
export async function askRestore(user: CinderUser, backup: string, volume: string): Promise<void> {
  await user.call('POST', `/backups/${backup}/restore`, { restore: { volume_id: volume } })
}

/** Restores into a new volume; resolves to it. */
export async function restored(user: CinderUser, backup: string): Promise<string> {
  return user.restore(backup, await user.createVolume())
}

export async function bytesIn(volumeId: string): Promise<number> {
  return (await stat(volumeFile(volumeId))).blocks * 512
}

export const startsOf = (agent: AgentProcess, operation: string) =>
  agent.log().split(`${operation} started`).length - 1

/** Waits for a status; an outage of theirs makes Cinder's services stutter for a while too. */
export async function ends(
  agent: AgentProcess,
  user: CinderUser,
  kind: 'backup' | 'volume',
  id: string,
  wanted: string,
  seconds = 300,
): Promise<void> {
  const through = ['creating', 'restoring', 'deleting', 'backing-up', 'restoring-backup']
  const deadline = performance.now() + seconds * 1000
  while (true) {
    const left = Math.ceil((deadline - performance.now()) / 1000)
    try {
      return await user.wait(kind, id, wanted, { seconds: left, through })
    } catch (error) {
      const isTheirs = !(error instanceof CinderRefusal)
        ? error instanceof TypeError // fetch found nobody.
        : error.status >= 500
      if (!isTheirs || performance.now() > deadline) throw withLog(agent, error)
    }
    await sleep(500)
  }
}

export async function until(
  agent: AgentProcess,
  check: () => Promise<boolean>,
  seconds = 120,
): Promise<void> {
  const deadline = performance.now() + seconds * 1000
  while (!(await check())) {
    if (performance.now() > deadline) throw withLog(agent, new Error('it never came'))
    await sleep(20)
  }
}

/** With the end of what the agent said. */
function withLog(agent: AgentProcess, error: unknown): Error {
  return new Error(`${(error as Error).message}\n${agent.log().slice(-6000)}`, { cause: error })
}
