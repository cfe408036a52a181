import { Buffer } from 'node:buffer'
import fc from 'fast-check'

import { isJsonObject, type Json } from '#src/domain/json.ts'

// Documents that differ from good ones in whatever a stranger may think of. A value is made of JSON alone,
// so that it can be shown and repeated; what JSON.stringify would never write is put in afterwards.

/** Text that becomes itself in the JSON, without quotes. */
const raw = (text: string): string => `@raw:${text}@`
const rawValue = /"@raw:([^@"]*)@"/g
/** A key that is there already. */
const again = '@again'

const hostileTexts = [
  ...['', ' ', '.', '..', '../../../../etc/passwd', '%2e%2e%2f%2e%2e%2fetc', 'a//b', '/etc/shadow'],
  ...[
    '\u0000',
    'a\u0000b',
    'a\r\nX-Auth-Token: stolen',
    '\n\n',
    '\u001b[2J\u001b[31m',
    '\u202egnp.exe',
  ],
  ...['\u2028', '\ud800', '\udfff\ud800', '\ufeff', '\u200e', "'; DROP TABLE jobs; --", '{jndi:x}'],
  ...['__proto__', 'constructor', 'toString', '{{7*7}}', '%s%n', '-1', '1e999', 'NaN', 'true'],
  ...['x'.repeat(257), 'ü'.repeat(129), 'x'.repeat(4096), '../'.repeat(1365), 'a'.repeat(70_000)],
  ...[
    'http://169.254.169.254/latest',
    'https://user:secret-canary@evil.example/',
    'file:///etc/passwd',
  ],
  ...['00000000-0000-0000-0000-000000000000', 'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'],
  ...['2026-13-45T99:99:99Z', '0000-00-00T00:00:00', '9999-12-31T23:59:60+99:99'],
]

const hostileNumbers = [
  ...['0', '-0', '-1', '1.5', '1e308', '1e999', '-1e999', 'NaN', 'Infinity', '-Infinity'],
  ...['9007199254740991', '9007199254740992', '18446744073709551616', '4294967296', '2147483648'],
  ...['9'.repeat(400), `0.${'3'.repeat(400)}`, '5e-324', '512', '65536'],
].map(raw)

const nested = (depth: number, open: string, close: string) =>
  raw(`${open.repeat(depth)}${close.repeat(depth)}`)

const hostileThings: readonly Json[] = [
  ...[null, true, false, [], {}, [[]], [null], [{}], [1, 'a', null]],
  Object.fromEntries([['__proto__', { is_admin: true, status: 'available', polluted: 'yes' }]]),
  { constructor: { prototype: { polluted: 'yes' } } },
  { toString: 'x', valueOf: 'x', hasOwnProperty: 'x', length: -1 },
  ...[30, 33, 1000, 2190, 5000].map((depth) => nested(depth, '[', ']')),
  Array.from({ length: 2000 }, (_, index) => index),
  Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`key ${index}`, index])),
]

/** A text that no name should be. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...hostileTexts),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ maxLength: 40 }),
)

/** Whatever might stand in the place of a value. */
export const hostileValue: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(...hostileTexts),
  fc.constantFrom<Json>(...hostileNumbers),
  fc.constantFrom<Json>(...hostileThings),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.integer(),
)

export type Change = {
  readonly at: number
  readonly how: 'put' | 'leave out' | 'add' | 'repeat' | 'swap' | 'wrap' | 'nudge'
  readonly value: Json
}

/** A change of a document; `values` are those that its makers would mind most. */
export function changeOf(values: fc.Arbitrary<Json>): fc.Arbitrary<Change> {
  return fc.record({
    at: fc.nat(),
    how: fc.constantFrom(
      'put',
      'put',
      'put',
      'leave out',
      'add',
      'repeat',
      'swap',
      'wrap',
      'nudge',
    ),
    value: fc.oneof(values, hostileValue),
  })
}

type Holder = { [key: string]: Json } | Json[]
type Spot = { readonly holder: Holder; readonly key: string }

/** Every place where a value stands, the outermost ones first. */
function spotsOf(document: Json): Spot[] {
  const spots: Spot[] = []
  const pending: Json[] = [document]
  for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
    if (typeof next !== 'object' || next === null) continue
    const holder = next as Holder
    for (const key of Object.keys(holder).slice(0, 300)) {
      spots.push({ holder, key })
      pending.push(Reflect.get(holder, key) as Json)
    }
  }
  return spots
}

const set = (holder: Holder, key: string, value: Json) =>
  Object.defineProperty(holder, key, {
    value,
    enumerable: true,
    configurable: true,
    writable: true,
  })

/** The document with the changes made one after the other; the given one stays as it is. */
export function changed(document: Json, changes: readonly Change[]): Json {
  const copy = structuredClone(document)
  for (const { at, how, value: given } of changes) {
    const value = structuredClone(given) // A later change may be within it.
    const spots = spotsOf(copy)
    const spot = spots[at % spots.length]
    if (spot === undefined) continue
    const { holder, key } = spot
    const before = Reflect.get(holder, key) as Json
    if (how === 'put') set(holder, key, value)
    else if (how === 'wrap') set(holder, key, [before])
    else if (how === 'leave out') Reflect.deleteProperty(holder, key)
    else if (how === 'add') set(holder, typeof value === 'string' ? value : 'extra', value)
    else if (how === 'repeat') set(holder, Array.isArray(holder) ? key : `${key}${again}`, value)
    else if (how === 'nudge') set(holder, key, nudged(before, at))
    else swap(spot, spots[(at * 31 + 7) % spots.length] ?? spot)
  }
  return copy
}

/** Nearly what it was. */
function nudged(value: Json, by: number): Json {
  if (typeof value === 'number') return value + ((by % 5) - 2) * 512
  if (typeof value === 'boolean') return !value
  if (typeof value !== 'string' || value === '') return value
  const at = by % value.length
  return `${value.slice(0, at)}${String.fromCharCode(value.charCodeAt(at) ^ 1)}${value.slice(at + 1)}`
}

function swap(one: Spot, other: Spot): void {
  const [left, right] = [one, other].map(({ holder, key }) =>
    structuredClone(Reflect.get(holder, key) as Json),
  )
  set(one.holder, one.key, right ?? null)
  set(other.holder, other.key, left ?? null)
}

/** The text of a changed document. */
export function textOf(document: Json): string {
  return JSON.stringify(document).replace(rawValue, '$1').replaceAll(again, '')
}

export type ByteChange = {
  readonly at: number
  readonly how: 'flip' | 'put' | 'cut' | 'end' | 'double'
  readonly byte: number
}

export const byteChange: fc.Arbitrary<ByteChange> = fc.record({
  at: fc.nat(),
  how: fc.constantFrom('flip', 'flip', 'put', 'cut', 'end', 'double'),
  byte: fc.integer({ min: 0, max: 255 }),
})

/** The bytes with the changes made one after the other. */
export function changedBytes(bytes: Uint8Array, changes: readonly ByteChange[]): Buffer {
  let now = Buffer.from(bytes)
  for (const { at: wish, how, byte } of changes) {
    if (now.byteLength === 0) return now
    const at = wish % now.byteLength
    const [before, after] = [now.subarray(0, at), now.subarray(at)]
    const count = 1 + (byte % 16)
    if (how === 'flip') now.writeUInt8(now.readUInt8(at) ^ (1 << (byte & 7)), at)
    else if (how === 'put') now = Buffer.concat([before, Buffer.from([byte]), after])
    else if (how === 'cut') now = Buffer.concat([before, after.subarray(count)])
    else if (how === 'end') now = Buffer.from(before)
    else now = Buffer.concat([before, after.subarray(0, count * 8), after])
  }
  return now
}

/** Whether any object of the process was given a property by what was read. */
export function isPolluted(): boolean {
  const probe: unknown = {}
  return isJsonObject(probe) && ('polluted' in probe || 'is_admin' in probe || 'status' in probe)
}
