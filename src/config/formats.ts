// What the text of an option may look like, as formats of convict; and one function for each format
// that makes an option of the schema. Source of the texts oslo takes: oslo_config/types.py.

import convict from 'convict'

type FormatName = 'text' | 'boolean' | 'integer' | 'number' | 'bytes' | 'list'

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
  readonly sensitive?: boolean
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

const booleans: Readonly<Record<string, boolean>> = {
  true: true,
  '1': true,
  on: true,
  yes: true,
  false: false,
  '0': false,
  off: false,
  no: false,
}

const sizeUnits: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
}

/** The number that Python's int() would read, or the text itself where it would not. */
function toInteger(value: string): number | string {
  return /^[+-]?\d+(_\d+)*$/.test(value.trim()) ? Number(value.replaceAll('_', '')) : value
}

function toNumber(value: string): number | string {
  const isNumber = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value.trim())
  return isNumber ? Number(value) : value
}

function toBytes(value: string): number | string {
  const [, digits, unit = ''] = /^\s*(\d+)\s*([a-z]*)\s*$/i.exec(value) ?? []
  const factor = sizeUnits[unit.toLowerCase()]
  return digits === undefined || factor === undefined ? toInteger(value) : Number(digits) * factor
}

/** Items between commas, blanks around them taken off; commas at the end count for nothing. */
function toList(value: string): readonly string[] {
  const items = value.trim().replace(/,+$/, '')
  return items === '' ? [] : items.split(',').map((item) => item.trim())
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

// A text that cannot be read stays a text, so that `validate` finds it and convict lists it with
// the others.
convict.addFormats({
  text: { validate: checkText as (value: unknown) => void },
  boolean: {
    coerce: (value: string) => booleans[value.toLowerCase()] ?? value,
    validate: (value: unknown) => {
      if (typeof value !== 'boolean') throw new Error('must be true or false')
    },
  },
  integer: {
    coerce: toInteger,
    validate: (value: unknown, option: unknown) => {
      checkNumber(value, option as Option<unknown>, 'a whole number')
      if (!Number.isSafeInteger(value)) throw new Error('must be a whole number')
    },
  },
  number: {
    coerce: toNumber,
    validate: (value: unknown, option: unknown) =>
      checkNumber(value, option as Option<unknown>, 'a number'),
  },
  bytes: {
    coerce: toBytes,
    validate: (value: unknown, option: unknown) =>
      checkNumber(value, option as Option<unknown>, 'a size: bytes, or a number with KiB to TiB'),
  },
  list: { coerce: toList, validate: () => undefined },
})
