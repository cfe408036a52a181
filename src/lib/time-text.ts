import { now } from './clock.ts'

/** '2026-11-23 00:20:54.573429': how oslo.messaging stamps a notification. UTC. */
export function osloTimestamp(): string {
  return `${now().toISOString().slice(0, -1).replace('T', ' ')}000`
}

/** '2026-11-23T00:20:54Z': how a versioned object carries a time. */
export function recordTime(): string {
  return `${now().toISOString().slice(0, 19)}Z`
}

/** '20261123002054': the stamp in an object prefix. */
export function prefixStamp(): string {
  return now().toISOString().slice(0, 19).replace(/\D/g, '')
}
