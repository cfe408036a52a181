import { dateOf, now, wallClockMs } from './clock.ts'

/** '2026-11-23 00:20:54.573429': how oslo.messaging stamps a notification. UTC. */
export function osloTimestamp(): string {
  return `${now().toISOString().slice(0, -1).replace('T', ' ')}000`
}

/** '2026-11-23T00:20:54Z': how a versioned object carries a time. */
export function recordTime(): string {
  return `${now().toISOString().slice(0, 19)}Z`
}

/** The same, `seconds` from now. */
export function recordTimeIn(seconds: number): string {
  return `${dateOf(wallClockMs() + seconds * 1000)
    .toISOString()
    .slice(0, 19)}Z`
}

/** '2026-11-23T01:20:54.5+01:00' → '2026-11-23T00:20:54Z'; no zone means UTC. Null for what is no time. */
export function utcTime(text: string): string | null {
  const zoned = /(Z|[+-]\d\d:?\d\d)$/i.test(text) ? text : `${text.trim().replace(' ', 'T')}Z`
  const ms = Date.parse(zoned)
  return Number.isNaN(ms) ? null : `${dateOf(ms).toISOString().slice(0, 19)}Z`
}

/** '20261123002054': the stamp in an object prefix. */
export function prefixStamp(): string {
  return now().toISOString().slice(0, 19).replace(/\D/g, '')
}
