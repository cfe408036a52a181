import { monotonicMs } from '../../lib/clock.ts'
import type { Log, LogFields } from '../../ports/log.ts'

const windowMs = 60_000

/**
 * A warning that never floods: at most `linesMax` a minute pass, and the next one that does says how
 * many did not. Returns whether this one did.
 */
export function quietWarnings(
  log: Log,
  linesMax: number,
): (message: string, fields: LogFields) => boolean {
  let passed: number[] = []
  let suppressed = 0
  return (message, fields) => {
    const nowMs = monotonicMs()
    passed = passed.filter((atMs) => nowMs - atMs < windowMs)
    if (passed.length >= linesMax) {
      suppressed += 1
      return false
    }
    passed.push(nowMs)
    log.warn(message, suppressed === 0 ? fields : { ...fields, suppressedLines: suppressed })
    suppressed = 0
    return true
  }
}
