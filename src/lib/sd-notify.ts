import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import process from 'node:process'

import { delay, monotonicMs } from './clock.ts'

/**
 * Tells the service manager how we are. Nothing here ever fails or delays the agent: without
 * NOTIFY_SOCKET, or without the program `systemd-notify`, it does nothing. Disposing it waits for
 * what is on its way.
 */
export interface SdNotify extends AsyncDisposable {
  /** The agent takes requests. */
  ready(): void
  /** What `systemctl status` shows; said at most every ten seconds, and then the last text. */
  status(text: string): void
  stopping(): void
  /** The agent makes progress; to be called more often than WatchdogSec. */
  watchdog(): void
  /** How often that is due; null where nobody waits for it. */
  readonly watchdogMs: number | null
}

// Node has no unix datagram sockets, so the program that comes with systemd speaks for us; its unit
// says NotifyAccess=all. Looked up at fixed places, for PATH may be anybody's.
const programs = ['/usr/bin/systemd-notify', '/bin/systemd-notify']
const timeoutMs = 5000

type Environment = Readonly<Record<string, string | undefined>>

export function sdNotify(env: Environment, statusIntervalMs = 10_000): SdNotify {
  const socket = env['NOTIFY_SOCKET']
  const program = socket ? programs.find(isExecutable) : undefined
  const stop = new AbortController()
  let saying: Promise<void> = Promise.resolve()
  let waiting: Promise<void> | null = null
  let nextStatus: string | null = null
  let statusMs = Number.NEGATIVE_INFINITY

  /** In order: a later word must not be overtaken by an earlier one. */
  const say = (word: string) => {
    if (program === undefined) return
    saying = saying.then(() => run(program, word, { NOTIFY_SOCKET: socket }))
  }
  const sayStatuses = async () => {
    while (nextStatus !== null) {
      try {
        await delay(Math.max(0, statusMs + statusIntervalMs - monotonicMs()), stop.signal)
      } catch {
        return // Disposed: nobody needs the status any more.
      }
      say(`STATUS=${nextStatus}`)
      nextStatus = null
      statusMs = monotonicMs()
      await saying
    }
    waiting = null
  }

  return {
    ready: () => say('READY=1'),
    stopping: () => say('STOPPING=1'),
    watchdog: () => say('WATCHDOG=1'),
    watchdogMs: program === undefined ? null : watchdogMs(env),
    status(text) {
      if (program === undefined) return
      nextStatus = oneLine(text)
      waiting ??= sayStatuses()
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await waiting
      await saying
    },
  }
}

/** Three times in the time that is allowed. Source: sd_watchdog_enabled(3). */
function watchdogMs({ WATCHDOG_USEC: us = '', WATCHDOG_PID: pid }: Environment): number | null {
  if (pid !== undefined && pid !== String(process.pid)) return null
  return /^[1-9]\d*$/.test(us) ? Math.ceil(Number(us) / 3000) : null
}

/** A line break would begin another assignment. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').slice(0, 500)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function run(program: string, word: string, env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve) => {
    // Whether it was heard changes nothing for us.
    execFile(program, [word], { env, timeout: timeoutMs }, () => resolve())
  })
}
