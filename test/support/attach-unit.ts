import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { unitAttach } from '#src/adapters/attach/unit-attach.ts'
import { checkout } from './services.ts'

/** The program of cinder-backup-agent-attach.service with the real os-brick, in folders of its own. */
export type AttachUnit = {
  readonly socket: string
  /** Where its device nodes are. */
  readonly nodes: string
  /** What is on record as connected. */
  connected(): readonly string[]
  /** All that it said. */
  said(): string
  /** Ends it, by `SIGKILL` where nothing else is said; begun again only by `start`. */
  kill(by?: NodeJS.Signals): Promise<void>
  start(): Promise<void>
  readonly pid: number
}

export const attachHost = { address: '192.0.2.7', isMultipath: false, scanTries: 3 }

/** Of a host where the unit does not run. */
export const nobodyAttaches = () => unitAttach({ ...attachHost, socket: '/nowhere/at/all/socket' })

const startMsMax = 60_000

type Options = {
  /** Whose requests it answers. */
  readonly user?: string
  /** Words in front of the command, for its folder of socket and records. */
  readonly wordsFor?: (runtime: string) => readonly string[]
}

const inodeOf = (file: string) => statSync(file, { throwIfNoEntry: false })?.ino ?? null

/** Runs until the test ends. Needs root, and /dev that takes device nodes. */
export async function attachUnit(
  t: TestContext,
  { user = 'root', wordsFor = () => [] }: Options = {},
): Promise<AttachUnit> {
  const runtime = mkdtempSync(path.join(tmpdir(), 'cba-attach-'))
  const nodes = mkdtempSync('/dev/cba-attach-')
  const socket = path.join(runtime, 'socket')
  const records = path.join(runtime, 'connections')
  let child: ChildProcess | null = null
  let said = ''

  async function start(): Promise<void> {
    const before = inodeOf(socket)
    const program = ['/usr/bin/python3', '-I', path.join(checkout, 'attach')]
    const args = ['--user', user, '--runtime', runtime, '--nodes', nodes]
    const [command = '', ...rest] = [...wordsFor(runtime), ...program, ...args]
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', PYTHONDONTWRITEBYTECODE: '1' }
    const started = spawn(command, rest, { env, stdio: ['ignore', 'ignore', 'pipe'] })
    child = started
    started.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    for (let waitedMs = 0; [null, before].includes(inodeOf(socket)); waitedMs += 50) {
      if (started.exitCode !== null || waitedMs > startMsMax) {
        throw new Error(`it did not start: ${said}`)
      }
      await sleep(50)
    }
  }

  async function kill(by: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const killed = child
    child = null
    if (killed === null || killed.exitCode !== null) return
    const closed = once(killed, 'close')
    killed.kill(by)
    await closed
  }

  t.after(async () => {
    await kill()
    for (const folder of [runtime, nodes]) rmSync(folder, { recursive: true })
  })
  await start()
  return {
    ...{ socket, nodes, kill, start, said: () => said },
    connected: () => readdirSync(records),
    get pid() {
      return child?.pid ?? 0
    },
  }
}
