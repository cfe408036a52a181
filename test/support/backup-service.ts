import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { type AgentProcess, spawnAgent } from './agent.ts'
import { serviceScript, services } from './services.ts'

/** Who takes Cinder's requests: Cinder's own service, or our agent in its place. */
export type BackupServiceName = 'stock' | 'ours'

type Owner = { after(end: () => unknown): void }

const runScript = serviceScript()

let ours: OurPlace | undefined

/** Starts one after the other was stopped: both consume the same queue. `settings` are lines that win. */
export async function takePlace(
  owner: Owner,
  name: BackupServiceName,
  settings: readonly string[] = [],
): Promise<void> {
  await stopBackupService()
  if (name === 'stock') {
    const folder = await mkdtemp(path.join(tmpdir(), 'cba-stock-'))
    owner.after(() => rm(folder, { recursive: true, force: true }))
    const file = path.join(folder, 'stock.conf')
    await writeFile(file, settings.map((line) => `${line}\n`).join(''))
    await serviceScript({ CBA_CINDER_BACKUP_CONF: file })('up', 'cinder-backup')
  } else {
    ours = await placeOfOurs(owner, settings)
    await ours.start()
  }
}

export async function stopBackupService(): Promise<void> {
  await ours?.end('SIGTERM')
  ours = undefined
  await runScript('down', 'cinder-backup')
}

/** Our agent where it may be killed, and started again with what it kept. */
export type OurPlace = {
  /** Starts it, and does not wait for it. */
  spawn(): AgentProcess
  /** Resolves once it takes requests; the place must be free. */
  start(): Promise<AgentProcess>
  /** Ends the agent that was started last. */
  end(signal: NodeJS.Signals): Promise<void>
}

/** With the very files that Cinder's own service is started with; `settings` are lines that win. */
export async function placeOfOurs(
  owner: Owner,
  settings: readonly string[] = [],
): Promise<OurPlace> {
  const { remove, ...home } = await ourHome('', settings)
  let started: AgentProcess | undefined
  const end = async (signal: NodeJS.Signals) => {
    await started?.end(signal)
    started = undefined
  }
  owner.after(async () => {
    await end('SIGKILL')
    await remove()
  })
  const spawn = () => {
    started = spawnAgent(owner, home)
    return started
  }
  return {
    spawn,
    async start() {
      const agent = spawn()
      await agent.logged(/\bserving\b/)
      return agent
    },
    end,
  }
}

/** The files that Cinder's own service is started with, and one of ours after them with `more` in it. */
export async function ourHome(more: string, settings: readonly string[] = []) {
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-cinder-'))
  const configFile = path.join(folder, 'agent.conf')
  const stateDir = path.join(folder, 'state')
  const lines = ['[cinder_backup_agent]', `state_dir = ${stateDir}`, ...settings]
  await writeFile(configFile, `${more}${lines.join('\n')}\n`)
  const earlierConfigFiles = services().cinder.configFiles
  const remove = () => rm(folder, { recursive: true, force: true })
  return { folder, configFile, earlierConfigFiles, remove }
}

/** Our agent with such files, started once and not waited for. */
export async function spawnOurs(owner: Owner, more = ''): Promise<AgentProcess> {
  const { remove, ...home } = await ourHome(more)
  const process = spawnAgent(owner, home)
  owner.after(remove) // It has ended by then: hooks run in the order of their making.
  return process
}
