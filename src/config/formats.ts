// What the text of an option may look like, as formats of convict; and one function for each format
// that makes an option of the schema. Source of the texts oslo takes: oslo_config/types.py.

import convict from 'convict'

import { isHostAddress } from './host-address.ts'
import { readFloat, readInteger, strip, textOfValue } from './python-text.ts'
import { isUri } from './uri.ts'

type FormatName = 'text' | 'uri' | 'address' | 'boolean' | 'integer' | 'number' | 'bytes' | 'list'

/** One option of the schema; `T` is the type of its value. */
export type Option<T> = {
  readonly doc: string
  readonly format: FormatName
  readonly default: T
  /** null is a value of it: nothing is set. */
  readonly nullable: boolean
  /** The default in words, where it depends on the machine or on other options. */
  readonly defaultText?: string
  readonly unit?: string
  /** Nobody may see it: the `whole` value, or the `password` of the URL that it is. */
  readonly sensitive?: 'whole' | 'password'
  /** The values it may have; `ignoreCase` compares them in lower case. */
  readonly choices?: readonly string[]
  readonly ignoreCase?: boolean
  readonly minimum?: number
  readonly maximum?: number
  /** Every line of the files adds a value, and none replaces another. */
  readonly multi?: boolean
  /** Older names, `option` in the same section or `section.option`. */
  readonly deprecatedNames?: readonly string[]
}

type Extra = Partial<Omit<Option<unknown>, 'doc' | 'format' | 'default' | 'nullable'>>

export function text(fallback: string, doc: string, extra: Extra = {}): Option<string> {
  return { doc, format: 'text', default: fallback, nullable: false, ...extra }
}

export function optionalText(doc: string, extra: Extra = {}): Option<string | null> {
  return { doc, format: 'text', default: null, nullable: true, ...extra }
}

export function optionalUrl(doc: string, extra: Extra = {}): Option<string | null> {
  return { doc, format: 'uri', default: null, nullable: true, ...extra }
}

export function address(fallback: string, doc: string, extra: Extra = {}): Option<string> {
  return { doc, format: 'address', default: fallback, nullable: false, ...extra }
}

export function choice<const T extends string>(
  fallback: NoInfer<T>,
  choices: readonly T[],
  doc: string,
  extra: Extra = {},
): Option<T> {
  return { doc, format: 'text', default: fallback, nullable: false, choices, ...extra }
}

export function flag(fallback: boolean, doc: string, extra: Extra = {}): Option<boolean> {
  return { doc, format: 'boolean', default: fallback, nullable: false, ...extra }
}

export function integer(fallback: number, doc: string, extra: Extra = {}): Option<number> {
  return { doc, format: 'integer', default: fallback, nullable: false, ...extra }
}

export function decimal(fallback: number, doc: string, extra: Extra = {}): Option<number> {
  return { doc, format: 'number', default: fallback, nullable: false, ...extra }
}

export function bytes(fallback: number, doc: string, extra: Extra = {}): Option<number> {
  return { doc, format: 'bytes', default: fallback, nullable: false, unit: 'bytes', ...extra }
}

export function list(
  fallback: readonly string[],
  doc: string,
  extra: Extra = {},
): Option<readonly string[]> {
  return { doc, format: 'list', default: fallback, nullable: false, ...extra }
}

const booleans: ReadonlyMap<string, boolean> = new Map([
  ...['true', '1', 'on', 'yes'].map((text) => [text, true] as const),
  ...['false', '0', 'off', 'no'].map((text) => [text, false] as const),
])

const sizeUnits: ReadonlyMap<string, number> = new Map([
  ['b', 1],
  ['kib', 2 ** 10],
  ['mib', 2 ** 20],
  ['gib', 2 ** 30],
  ['tib', 2 ** 40],
])

function toInteger(value: string): number | string {
  return readInteger(value) ?? value
}

function toNumber(value: string): number | string {
  return readFloat(value) ?? value
}

function toBytes(value: string): number | string {
  const [, digits, unit = ''] = /^[ \t]*(\d+)[ \t]*([a-z]+)[ \t]*$/i.exec(value) ?? []
  const factor = sizeUnits.get(unit.toLowerCase())
  return digits === undefined || factor === undefined ? toInteger(value) : Number(digits) * factor
}

/** Items between commas, blanks around them taken off; commas at the end count for nothing. */
function toList(value: string): readonly string[] {
  const items = strip(value).replace(/,+$/, '')
  return items === '' ? [] : items.split(',').map(strip)
}

function checkNumber(value: unknown, option: Option<unknown>, what: string): void {
  const { minimum = Number.NEGATIVE_INFINITY, maximum = Number.POSITIVE_INFINITY } = option
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new Error(`must be ${what}`)
  if (value < minimum) throw new Error(`must be ${minimum} or more`)
  if (value > maximum) throw new Error(`must be ${maximum} or less`)
}

function checkText(value: unknown, { choices }: Option<unknown>): void {
  if (typeof value !== 'string') throw new Error('must be a text')
  if (choices !== undefined && !choices.includes(value)) {
    throw new Error(`must be one of ${choices.join(', ')}`)
  }
}

function checkUri(value: unknown): void {
  if (value === null || isUri(String(value))) return
  throw new Error('must be a URL such as https://host:8080/v1; leave the line out to set none')
}

function checkAddress(value: unknown): void {
  if (isHostAddress(String(value))) return
  throw new Error('must be an IP address or a host name; leave the line out to set none')
}

type Format = {
  readonly coerce?: (text: string) => unknown
  readonly check: (value: unknown, option: Option<unknown>) => void
}

// A text that cannot be read stays a text, so that `validate` finds it and convict lists it with
// the others.
const formats: Readonly<Record<FormatName, Format>> = {
  text: { check: checkText },
  uri: { check: checkUri },
  address: { check: checkAddress },
  boolean: {
    coerce: (text) => booleans.get(text.toLowerCase()) ?? text,
    check: (value) => {
      if (typeof value !== 'boolean') throw new Error('must be true or false')
    },
  },
  integer: {
    coerce: toInteger,
    check: (value, option) => {
      checkNumber(value, option, 'a whole number')
      if (!Number.isSafeInteger(value)) throw new Error('must be a whole number')
    },
  },
  number: { coerce: toNumber, check: (value, option) => checkNumber(value, option, 'a number') },
  bytes: {
    coerce: toBytes,
    check: (value, option) =>
      checkNumber(value, option, 'a size: bytes, or a number with KiB to TiB'),
  },
  list: { coerce: toList, check: () => undefined },
}

for (const [name, { coerce, check }] of Object.entries(formats)) {
  const validate = check as (value: unknown, option: unknown) => void
  convict.addFormat({ name, validate, ...(coerce && { coerce }) })
}

/** No text of these is empty. */
const full: readonly FormatName[] = ['uri', 'address']

const numeric: readonly FormatName[] = ['integer', 'number', 'bytes']

/** Whether a text says that an option is not set. */
export function isUnset({ format, nullable, default: fallback }: Option<unknown>, text: string) {
  if (numeric.includes(format)) return strip(text) === ''
  return text === '' && !full.includes(format) && (nullable || fallback === '')
}

/**
 * What a reference to an option puts in its place: Python's text of the value that `texts` make, not
 * what was written. Throws where they make none.
 */
export function referredText(option: Option<unknown>, texts: readonly string[]): string {
  const [text = ''] = texts
  if (option.multi === true) return textOfValue(texts, false)
  if (isUnset(option, text)) return ''
  const { coerce, check } = formats[option.format]
  const value = coerce === undefined ? text : coerce(text)
  check(option.ignoreCase === true ? text.toLowerCase() : value, option)
  return textOfValue(value, option.format === 'number')
}

/** The same of a default. */
export function referredDefault({ format }: Option<unknown>, value: unknown): string {
  return textOfValue(value, format === 'number')
}
