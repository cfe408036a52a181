import { isDeepStrictEqual } from 'node:util'

import type { Sources } from '../config/read-files.ts'
import { namedOptions, type Settings } from '../config/schema.ts'
import { settingOf } from '../config/secret-values.ts'
import { inspectConfig, problemText } from '../config.ts'
import { toAgentError } from '../domain/errors.ts'
import type { StoreRates } from '../lane-stores.ts'
import type { Log } from '../ports/log.ts'

/** What a running agent takes on at once. */
export type LiveSettings = {
  readonly rates: StoreRates
  /** Whether the log has what only a developer wants to see. */
  readonly setDebug: (isDebug: boolean) => void
}

type Setter = (value: unknown) => void

/**
 * Reads the configuration again, for SIGHUP. The rates of the store and the level of the log change at
 * once; other options that have changed since the start are named in one warning. Where the
 * configuration cannot be used, nothing changes. Never throws.
 */
export function reloader(
  sources: Sources,
  started: Settings,
  { rates, setDebug }: LiveSettings,
  log: Log,
): () => void {
  const live = new Map<string, Setter>([
    ['cinder_backup_agent.bandwidth_max', (value) => rates.bandwidth.set(Number(value))],
    ['cinder_backup_agent.requests_max', (value) => rates.requests.set(Number(value))],
    ['DEFAULT.debug', (value) => setDebug(value === true)],
  ])
  let current = started

  return () => {
    const settings = usable(sources, log)
    if (settings === null) return
    const needRestart: string[] = []
    let count = 0
    for (const { name, section, option } of namedOptions) {
      const value = settingOf(settings, section, option)
      const set = live.get(name)
      const before = settingOf(set === undefined ? started : current, section, option)
      if (isDeepStrictEqual(value, before)) continue
      if (set === undefined) {
        needRestart.push(name)
        continue
      }
      log.info(`${option} changed`, { from: before, to: value })
      set(value)
      count += 1
    }
    current = settings
    if (needRestart.length > 0) {
      log.warn('options that changed need a restart', { options: needRestart })
    }
    log.info('configuration read again', { changed: count })
  }
}

/** Null where there is a mistake, which the log has then. */
function usable(sources: Sources, log: Log): Settings | null {
  const failed = 'configuration not read again, the old one stays'
  try {
    const { settings, problems } = inspectConfig(sources)
    if (problems.length === 0) return settings
    log.error(failed, { problems: problems.map(problemText) })
  } catch (error) {
    log.error(failed, { error: toAgentError(error) })
  }
  return null
}
