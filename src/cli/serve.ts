import process from 'node:process'

import { winstonLog } from '../adapters/log/winston-log.ts'
import { runAgent } from '../agent.ts'
import { loadConfig, problemText } from '../config.ts'
import { AgentError, toAgentError } from '../domain/errors.ts'
import { sdNotify } from '../lib/sd-notify.ts'
import { exitCodeOf } from './exit-codes.ts'

/** Which configuration a verb reads. */
export type ConfigSources = {
  readonly configFiles: readonly string[]
  readonly configDirs: readonly string[]
}

/**
 * Runs the agent until SIGTERM or SIGINT; a second one ends it at once, and its work goes on at the
 * next start all the same. Resolves to the exit code. Throws CONFIGURATION_INVALID.
 */
export async function serve({ configFiles, configDirs }: ConfigSources): Promise<number> {
  const { config, warnings } = loadConfig({
    files: configFiles,
    dirs: configDirs,
    env: process.env,
  })
  await using log = winstonLog(config.log)
  await using supervisor = sdNotify(process.env)
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(1)
      log.info('stopping', { signal: name })
      stop.abort(new AgentError('AGENT_STOPPING', `the agent got ${name}`))
    })
  }
  for (const warning of warnings) log.warn('configuration', { warning: problemText(warning) })
  try {
    await runAgent(config, log, supervisor, stop.signal)
    return 0
  } catch (error) {
    log.error('the agent cannot run', { error })
    return exitCodeOf(toAgentError(error).code)
  }
}
