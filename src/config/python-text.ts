// How Python reads and writes the texts of values, as far as JavaScript does it otherwise.

// What str.strip takes for white space; trim differs in a few characters.
const blank = '[\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]'
const leadingBlanks = new RegExp(`^${blank}+`)
const trailingBlanks = new RegExp(`${blank}+$`)

export function stripStart(text: string): string {
  return text.replace(leadingBlanks, '')
}

export function stripEnd(text: string): string {
  return text.replace(trailingBlanks, '')
}

export function strip(text: string): string {
  return stripEnd(stripStart(text))
}

const mathematicalDigits = { first: 0x1d7ce, last: 0x1d7ff }

/** The value of a decimal digit of any script; each script has its ten side by side, in order. */
function digitValue(digit: string): number {
  const code = digit.codePointAt(0) ?? 0
  // The one place where several sets of ten lie side by side.
  const { first, last } = mathematicalDigits
  if (code >= first && code <= last) return (code - first) % 10
  let zero = code
  while (/\p{Nd}/u.test(String.fromCodePoint(zero - 1))) zero -= 1
  return code - zero
}

// int() and float() leave the four separators \x1c to \x1f where they are, unlike str.strip.
const blanksOfNumbers = new RegExp(
  `^${blank.replace('\\x1c- ', ' ')}+|${blank.replace('\\x1c- ', ' ')}+$`,
  'g',
)

function withAsciiDigits(text: string): string {
  return text.replace(/\p{Nd}/gu, (digit) => String(digitValue(digit)))
}

/** The number that int() reads, or null where it reads none. */
export function readInteger(text: string): number | null {
  const digits = withAsciiDigits(text.replace(blanksOfNumbers, ''))
  return /^[+-]?\d+(_\d+)*$/.test(digits) ? Number(digits.replaceAll('_', '')) : null
}

/** The number that float() reads, or null where it reads none. */
export function readFloat(text: string): number | null {
  const digits = withAsciiDigits(text.replace(blanksOfNumbers, ''))
  const group = '\\d+(?:_\\d+)*'
  const form = new RegExp(
    `^[+-]?(?:${group}\\.?(?:${group})?|\\.${group})(?:e[+-]?${group})?$`,
    'i',
  )
  if (form.test(digits)) return Number(digits.replaceAll('_', ''))
  const [, sign, name] = /^([+-]?)(inf|infinity|nan)$/i.exec(digits) ?? []
  if (name === undefined) return null
  if (name.toLowerCase() === 'nan') return Number.NaN
  return sign === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const names: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }
  const inside = text
    .replaceAll('\\', '\\\\')
    .replaceAll(quote, `\\${quote}`)
    // What Python calls unprintable: controls, format characters, blanks other than the space.
    .replace(/[\p{C}\p{Z}]/gu, (character) => {
      if (character === ' ') return character
      const code = character.codePointAt(0) ?? 0
      const digits = code.toString(16)
      const escaped =
        code < 0x100
          ? `\\x${digits.padStart(2, '0')}`
          : code < 0x10000
            ? `\\u${digits.padStart(4, '0')}`
            : `\\U${digits.padStart(8, '0')}`
      return names[character] ?? escaped
    })
  return `${quote}${inside}${quote}`
}

function floatText(value: number): string {
  if (!Number.isFinite(value)) return String(value).replace('Infinity', 'inf')
  const size = Math.abs(value)
  if (size >= 1e16 || (size < 1e-4 && size > 0)) {
    return value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2')
  }
  return Number.isInteger(value) ? `${Object.is(value, -0) ? '-0' : value}.0` : String(value)
}

/** What str() makes of a value; `isFloat` where Python keeps it as a float. Nothing is empty. */
export function textOfValue(value: unknown, isFloat: boolean): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'number' && isFloat) return floatText(value)
  if (Array.isArray(value)) return `[${value.map((item) => quoted(String(item))).join(', ')}]`
  return String(value)
}
