import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'

import { checkout } from './services.ts'

type Owner = { after(end: () => unknown): void }

/** Options by section, as they stand in the file. */
export type AgentSettings = Readonly<Record<string, Readonly<Record<string, string | number>>>>

export type AgentHome = {
  readonly folder: string
  readonly configFile: string
  readonly host: string
  /** Files that are read before that one. */
  readonly earlierConfigFiles?: readonly string[]
  /** More words for `serve`. */
  readonly serveOptions?: readonly string[]
  /** Where `volume-<id>` files lie. */
  readonly volumes: string
  /** The POSIX store's root. */
  readonly store: string
  readonly stateDir: string
}

let hosts = 0

/** The agents that were started, by their home's folder. */
const running = new Map<string, readonly ChildProcess[]>()

/**
 * A folder with a configuration for an agent of one test: POSIX store, volumes as files, a host name
 * of its own. `settings` wins.
 */
export async function agentHome(
  owner: Owner,
  transportUrl: string,
  settings: AgentSettings = {},
): Promise<AgentHome> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-agent-'))
  // Hooks run in the order of their making: whoever still writes there must be gone first.
  owner.after(async () => {
    for (const child of running.get(folder) ?? []) await endChild(child, 'SIGKILL')
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  })
  hosts += 1
  const host = settings['DEFAULT']?.['host'] ?? `host-${process.pid}-${hosts}`
  const home = {
    folder,
    configFile: path.join(folder, 'agent.conf'),
    host: String(host),
    volumes: path.join(folder, 'volumes'),
    store: path.join(folder, 'store'),
    stateDir: path.join(folder, 'state'),
  }
  for (const dir of [home.volumes, home.store]) await mkdir(dir)
  const defaults: AgentSettings = {
    DEFAULT: {
      host,
      transport_url: transportUrl,
      backup_driver: 'cinder.backup.drivers.posix.PosixBackupDriver',
      backup_posix_path: home.store,
    },
    oslo_messaging_notifications: { driver: 'messagingv2' },
    cinder_backup_agent: {
      state_dir: home.stateDir,
      volume_paths: path.join(home.volumes, 'volume-{volume_id}'),
      snapshot_paths: path.join(home.volumes, 'snapshot-{snapshot_id}'),
    },
  }
  writeFileSync(home.configFile, iniOf(defaults, settings))
  return home
}

function iniOf(defaults: AgentSettings, settings: AgentSettings): string {
  const sections = new Set([...Object.keys(defaults), ...Object.keys(settings)])
  const lines = [...sections].flatMap((section) => [
    `[${section}]`,
    ...Object.entries({ ...defaults[section], ...settings[section] }).map(
      ([option, value]) => `${option} = ${value}`,
    ),
  ])
  return `${lines.join('\n')}\n`
}

export type AgentProcess = {
  readonly pid: number
  /** Everything it logged so far. */
  log(): string
  /** Resolves when the log has a match; rejects when the agent ends before, or after `seconds`. */
  logged(pattern: RegExp, seconds?: number): Promise<void>
  /** Sends the signal and resolves to the exit code (null: killed) when the process is gone. */
  end(signal: NodeJS.Signals): Promise<number | null>
  /** Resolves to the exit code when the process has ended by itself. */
  ended(): Promise<number | null>
  readonly exitCode: number | null
}

export const agentCommand = path.join(checkout, 'bin/cinder-backup-agent')

/** Starts an agent as a process; resolves once it consumes. It is killed after the test. */
export async function startAgent(owner: Owner, home: AgentHome): Promise<AgentProcess> {
  const agent = spawnAgent(owner, home)
  await agent.logged(/\bserving\b/)
  return agent
}

type SpawnedHome = Pick<AgentHome, 'folder' | 'configFile' | 'earlierConfigFiles' | 'serveOptions'>

/** The same without waiting for it to consume. `command` is another agent, or what starts it. */
export function spawnAgent(
  owner: Owner,
  { folder, configFile, earlierConfigFiles = [], serveOptions = [] }: SpawnedHome,
  env: NodeJS.ProcessEnv = {},
  [command = agentCommand, ...args]: readonly string[] = [],
): AgentProcess {
  const logFile = path.join(folder, `agent-${process.hrtime.bigint()}.log`)
  const output = openSync(logFile, 'w')
  const files = [...earlierConfigFiles, configFile].flatMap((file) => ['--config-file', file])
  const child = spawn(command, [...args, 'serve', ...serveOptions, ...files], {
    stdio: ['ignore', output, output],
    env: { ...process.env, ...env },
  })
  closeSync(output)
  owner.after(() => endChild(child, 'SIGKILL'))
  running.set(folder, [...(running.get(folder) ?? []), child])
  const log = () => readFileSync(logFile, 'utf8')

  return {
    pid: child.pid ?? -1,
    log,
    async logged(pattern, seconds = 30) {
      const deadline = performance.now() + seconds * 1000
      while (!pattern.test(log())) {
        const why =
          child.exitCode !== null || child.signalCode !== null
            ? `ended with ${child.exitCode ?? child.signalCode}`
            : performance.now() > deadline
              ? `did not log it in ${seconds} s`
              : null
        if (why !== null) throw new Error(`agent ${why}: ${pattern}\n${log().slice(-4000)}`)
        await sleep(20)
      }
    },
    end: (signal) => endChild(child, signal),
    async ended() {
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      return child.exitCode
    },
    get exitCode() {
      return child.exitCode
    },
  }
}

async function endChild(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal)
    await once(child, 'exit')
  }
  return child.exitCode
}
