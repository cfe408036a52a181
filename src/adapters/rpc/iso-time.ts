const pattern =
  /^(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?$/i

/**
 * Any ISO 8601 time of day as `2026-11-22T10:11:12Z`, with its fraction and offset where it has one;
 * without a zone it means UTC. Null for what is no time.
 * Source: oslo_versionedobjects/fields.py, DateTime, and iso8601's parser beneath it.
 */
export function isoTime(text: string): string | null {
  const match = pattern.exec(text)
  if (match === null) return null
  const [, year, month, day, hour = '00', minute = '00', second = '00', fraction, zone] = match
  const point = fraction === undefined ? '' : `.${fraction}`
  const time = `${year}-${month}-${day}T${hour}:${minute}:${second}${point}${zoneOf(zone)}`
  return Number.isNaN(Date.parse(time)) ? null : time
}

function zoneOf(zone: string | undefined): string {
  if (zone === undefined || /^(?:Z|[+-]00(?::?00)?)$/i.test(zone)) return 'Z'
  return `${zone.slice(0, 3)}:${zone.slice(3).replace(':', '') || '00'}`
}
