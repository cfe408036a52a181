import { monotonicMs } from '../../lib/clock.ts'
import type { Log, LogFields } from '../../ports/log.ts'

const windowMs = 60_000

/**
 * A warning that never floods: at most `linesMax` a minute pass, and the next one that does says how
 * many did not.
 */
export function quietWarnings(
  log: Log,
  linesMax: number,
): (message: string, fields: LogFields) => void {
  let passed: number[] = []
  let suppressed = 0
  return (message, fields) => {
    const nowMs = monotonicMs()
    passed = passed.filter((atMs) => nowMs - atMs < windowMs)
    if (passed.length >= linesMax) {
      suppressed += 1
      return
    }
    passed.push(nowMs)
    log.warn(message, suppressed === 0 ? fields : { ...fields, suppressedLines: suppressed })
    suppressed = 0
  }
}
