import { isDeepStrictEqual } from 'node:util'

import type { Sources } from '../config/read-files.ts'
import { namedOptions, type Settings } from '../config/schema.ts'
import { inspectConfig, problemText } from '../config.ts'
import { toAgentError } from '../domain/errors.ts'
import type { StoreRates } from '../lane-stores.ts'
import type { SharedRate } from '../lib/shared-rate.ts'
import type { Log } from '../ports/log.ts'

/**
 * Reads the configuration again, for SIGHUP. The rates of the store change at once; other options that
 * have changed since the start are named in one warning. Where the configuration cannot be used,
 * nothing changes. Never throws.
 */
export function reloader(
  sources: Sources,
  started: Settings,
  rates: StoreRates,
  log: Log,
): () => void {
  const live = new Map<string, SharedRate>([
    ['cinder_backup_agent.bandwidth_max', rates.bandwidth],
    ['cinder_backup_agent.requests_max', rates.requests],
  ])

  return () => {
    const settings = usable(sources, log)
    if (settings === null) return
    const needRestart: string[] = []
    let count = 0
    for (const { name, section, option } of namedOptions) {
      const value = settingOf(settings, section, option)
      const rate = live.get(name)
      if (rate === undefined) {
        if (!isDeepStrictEqual(value, settingOf(started, section, option))) needRestart.push(name)
      } else if (typeof value === 'number' && value !== rate.perSecond) {
        log.info(`${option} changed`, { from: rate.perSecond, to: value })
        rate.set(value)
        count += 1
      }
    }
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

function settingOf(settings: Settings, section: string, option: string): unknown {
  const ofSection = Object.getOwnPropertyDescriptor(settings, section)?.value
  return Object.getOwnPropertyDescriptor(ofSection, option)?.value
}
