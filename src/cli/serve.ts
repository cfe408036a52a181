import process from 'node:process'

import { winstonLog } from '../adapters/log/winston-log.ts'
import { runAgent } from '../agent.ts'
import { loadConfig, problemText } from '../config.ts'
import { AgentError, toAgentError } from '../domain/errors.ts'
import { storeRates } from '../lane-stores.ts'
import { delay } from '../lib/clock.ts'
import { sdNotify } from '../lib/sd-notify.ts'
import type { Log } from '../ports/log.ts'
import { exitCodeOf, exitCodes } from './exit-codes.ts'
import { reloader } from './reload.ts'
import type { ConfigSources } from './verb.ts'

/** What has not stopped by then hangs: a disk, a device, a thread. */
const stopMsMax = 8_500
const lastWordMs = 300

/**
 * Runs the agent until SIGTERM or SIGINT; a second one, or a stop that hangs, ends it at once, and its
 * work goes on at the next start all the same. SIGHUP reads the configuration again. Resolves to the exit code. Throws
 * CONFIGURATION_INVALID.
 */
export async function serve(sources: ConfigSources, isTakeOver: boolean): Promise<number> {
  const ended = new AbortController()
  try {
    return await serveUntilTold(sources, isTakeOver, ended.signal)
  } finally {
    ended.abort()
  }
}

async function serveUntilTold(
  { configPaths }: ConfigSources,
  isTakeOver: boolean,
  ended: AbortSignal,
): Promise<number> {
  const files = { paths: configPaths, env: process.env }
  const { config, warnings, settings } = loadConfig(files)
  const rates = storeRates(config)
  await using log = winstonLog(config.log)
  await using supervisor = sdNotify(process.env)
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) endAtOnce()
      log.info('stopping', { signal: name })
      stop.abort(new AgentError('AGENT_STOPPING', `the agent got ${name}`))
      void endWhereStopHangs(log, ended)
    })
  }
  process.on('uncaughtException', crasher(log))
  const setDebug = (isDebug: boolean) => log.setLevel(() => true, isDebug ? 'debug' : 'info')
  process.on('SIGHUP', reloader(files, settings, { rates, setDebug }, log))
  for (const warning of warnings) log.warn('configuration', { warning: problemText(warning) })
  try {
    await runAgent(config, { rates, isTakeOver }, log, supervisor, stop.signal)
    return 0
  } catch (error) {
    log.error('the agent cannot run', { error })
    return exitCodeOf(toAgentError(error).code)
  }
}

/** The last words of a defect that nobody caught go through the log, which knows what must not be read. */
function crasher(log: Log): (error: unknown) => void {
  return (error) => {
    log.error('the agent crashes: a defect; its jobs go on at the next start', { error })
    process.exit(exitCodes.failed.number) // What the log still holds is written then.
  }
}

async function endWhereStopHangs(log: Log, ended: AbortSignal): Promise<void> {
  try {
    await delay(stopMsMax, ended)
  } catch {
    return // It stopped in time.
  }
  log.error('the stop hangs, on a disk or device that does not answer: the agent ends at once')
  await delay(lastWordMs, new AbortController().signal)
  endAtOnce()
}

/** An exit in order would wait for threads that hang; the kernel does not. */
function endAtOnce(): void {
  process.kill(process.pid, 'SIGKILL')
}
