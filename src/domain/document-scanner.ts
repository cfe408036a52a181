import { AgentError } from './errors.ts'
import type { Json } from './json.ts'

// A reader of one large JSON object, as its bytes come. It only finds where values begin and end;
// JSON.parse judges each of them. Python's reader takes the last of repeated keys; at the top level,
// where it would have to be undone, a repeated key is refused here.

const depthMax = 32
const keysMax = 100
const elementBytesMax = 65_536
const memberBytesMax = 4_194_304

export type DocumentHandler = {
  /** A member of the document, but for the streamed one. */
  readonly member: (key: string, value: Json) => void
  /** The streamed array begins. */
  readonly list: () => void
  /** An element of the streamed array: its text is `bytes` from `start` to `end`. */
  readonly element: (bytes: Uint8Array, start: number, end: number) => void
}

export type DocumentScanner = {
  /** Takes the next bytes of the document; throws MANIFEST_INVALID. */
  readonly write: (piece: Uint8Array) => void
  /** Throws MANIFEST_INVALID where the document is not complete. */
  readonly end: () => void
}

/** A failure of the stored document `document`. */
export function manifestInvalid(document: string, why: string, cause?: unknown): AgentError {
  return new AgentError('MANIFEST_INVALID', `${document}: ${why}`, { object: document }, cause)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Parses the JSON text of one value; throws MANIFEST_INVALID. */
export function parseValue(document: string, bytes: Uint8Array, start: number, end: number): Json {
  try {
    return JSON.parse(utf8.decode(bytes.subarray(start, end)))
  } catch (cause) {
    throw manifestInvalid(document, 'is not JSON', cause)
  }
}

const byte = {
  quote: 0x22,
  comma: 0x2c,
  colon: 0x3a,
  openBracket: 0x5b,
  backslash: 0x5c,
  closeBracket: 0x5d,
  openBrace: 0x7b,
  closeBrace: 0x7d,
} as const

function isSpace(char: number): boolean {
  return char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09
}

type Place =
  | 'start'
  | 'first-key'
  | 'key'
  | 'colon'
  | 'value'
  | 'after-value'
  | 'first-element'
  | 'element'
  | 'after-element'
  | 'done'

type Rule = { readonly after: Readonly<Record<number, Place>>; readonly otherwise: string }

/** Where each character leads that stands between values, and what its absence is called. */
const places: Readonly<Record<Place, Rule>> = {
  start: { after: { [byte.openBrace]: 'first-key' }, otherwise: 'is no JSON object' },
  'first-key': { after: { [byte.closeBrace]: 'done' }, otherwise: 'has no key where one must be' },
  key: { after: {}, otherwise: 'has no key where one must be' },
  colon: { after: { [byte.colon]: 'value' }, otherwise: 'has a key without a colon' },
  value: {
    after: { [byte.openBracket]: 'first-element' },
    otherwise: 'has no list where one must be',
  },
  'after-value': {
    after: { [byte.comma]: 'key', [byte.closeBrace]: 'done' },
    otherwise: 'has a member without a comma',
  },
  'first-element': {
    after: { [byte.closeBracket]: 'after-value' },
    otherwise: 'has a broken list',
  },
  element: { after: {}, otherwise: 'has a broken list' },
  'after-element': {
    after: { [byte.comma]: 'element', [byte.closeBracket]: 'after-value' },
    otherwise: 'has a list without a comma',
  },
  done: { after: {}, otherwise: 'goes on after its end' },
}

/** Reads the object `document`, handing out the array under `streamedKey` element by element. */
export function documentScanner(
  document: string,
  streamedKey: string,
  handler: DocumentHandler,
): DocumentScanner {
  const fail = (why: string): never => {
    throw manifestInvalid(document, why)
  }
  const keys = new Set<string>()
  const token = valueToken(fail)
  let place: Place = 'start'
  let key = ''

  function takeKey(name: Json): void {
    key = String(name)
    if (keys.has(key)) fail(`names ${JSON.stringify(key.slice(0, 50))} twice`)
    if (keys.size === keysMax) fail(`has more than ${keysMax} keys`)
    keys.add(key)
    place = 'colon'
  }

  /** What a complete value means depends on where it stands. */
  function takeValue(bytes: Uint8Array, start: number, end: number): void {
    if (place === 'element' || place === 'first-element') {
      place = 'after-element'
      handler.element(bytes, start, end)
    } else if (place === 'value') {
      place = 'after-value'
      handler.member(key, parseValue(document, bytes, start, end))
    } else {
      takeKey(parseValue(document, bytes, start, end))
    }
  }

  /** One character that is neither space nor inside a value; true where a value begins with it. */
  function takeCharacter(char: number): boolean {
    const isKey = (place === 'key' || place === 'first-key') && char === byte.quote
    const isElement =
      place === 'element' || (place === 'first-element' && char !== byte.closeBracket)
    if (isKey || isElement || (place === 'value' && key !== streamedKey)) return true
    const next = places[place].after[char] ?? fail(places[place].otherwise)
    if (next === 'first-element') handler.list()
    place = next
    return false
  }

  return {
    write(piece) {
      let at = 0
      while (at < piece.byteLength) {
        if (token.isOpen()) {
          at = token.take(piece, at, takeValue)
        } else {
          const char = piece[at] as number
          if (isSpace(char) || !takeCharacter(char)) at++
          else token.open(place === 'element' || place === 'first-element')
        }
      }
    },
    end() {
      if (place !== 'done') fail('ends too early')
    },
  }
}

type ValueToken = {
  readonly isOpen: () => boolean
  readonly open: (isElement: boolean) => void
  /** Reads on at `at`; returns where it stopped, having called `done` if the value is complete. */
  readonly take: (
    piece: Uint8Array,
    at: number,
    done: (bytes: Uint8Array, start: number, end: number) => void,
  ) => number
}

type KeptBytes = {
  readonly add: (piece: Uint8Array, start: number, end: number, bytesMax: number) => void
  readonly clear: () => void
  readonly isEmpty: () => boolean
  readonly bytes: () => Uint8Array
}

/** The beginning of a value whose end is in a later piece. */
function keptBytes(fail: (why: string) => never): KeptBytes {
  let kept = new Uint8Array(256)
  let length = 0
  return {
    add(piece, start, end, bytesMax) {
      const bytes = length + end - start
      if (bytes > bytesMax) fail(`has a value of more than ${bytesMax} bytes`)
      if (bytes > kept.byteLength) {
        const grown = new Uint8Array(Math.max(bytes, 2 * kept.byteLength))
        grown.set(kept.subarray(0, length))
        kept = grown
      }
      kept.set(piece.subarray(start, end), length)
      length = bytes
    },
    clear() {
      length = 0
    },
    isEmpty: () => length === 0,
    bytes: () => kept.subarray(0, length),
  }
}

/** One value, however it is spread over pieces. */
function valueToken(fail: (why: string) => never): ValueToken {
  const kept = keptBytes(fail)
  let isOpen = false
  let bytesMax = 0
  let depth = 0
  let isInString = false
  let isEscaped = false
  let isScalar = false

  /** Where the string that we are in ends, just after its quote; -1 where it goes on. */
  function endOfString(piece: Uint8Array, from: number): number {
    for (let at = from; at < piece.byteLength; at++) {
      const char = piece[at]
      if (isEscaped) isEscaped = false
      else if (char === byte.backslash) isEscaped = true
      else if (char === byte.quote) return at + 1
    }
    return -1
  }

  /** Where the value ends; -1 where it goes on in the next piece. */
  function endOfValue(piece: Uint8Array, from: number): number {
    let at = from
    while (at < piece.byteLength) {
      if (isInString) {
        at = endOfString(piece, at)
        if (at < 0) return -1
        isInString = false
        if (depth === 0) return at
        continue
      }
      const char = piece[at] as number
      const isCloser = char === byte.closeBrace || char === byte.closeBracket
      if (depth === 0 && isScalar && (isCloser || char === byte.comma || isSpace(char))) return at
      at++
      if (char === byte.quote) {
        if (isScalar) fail('is not JSON')
        isInString = true
      } else if (char === byte.openBrace || char === byte.openBracket) {
        if (isScalar || ++depth >= depthMax) fail(`is nested deeper than ${depthMax} levels`)
      } else if (isCloser) {
        if (--depth <= 0) return at
      } else if (depth === 0) {
        isScalar = true
      }
    }
    return -1
  }

  return {
    isOpen: () => isOpen,
    open(isElement) {
      isOpen = true
      bytesMax = isElement ? elementBytesMax : memberBytesMax
      depth = 0
      isInString = false
      isEscaped = false
      isScalar = false
      kept.clear()
    },
    take(piece, at, done) {
      const end = endOfValue(piece, at)
      if (end < 0) {
        kept.add(piece, at, piece.byteLength, bytesMax)
        return piece.byteLength
      }
      isOpen = false
      if (kept.isEmpty()) {
        if (end - at > bytesMax) fail(`has a value of more than ${bytesMax} bytes`)
        done(piece, at, end)
      } else {
        kept.add(piece, at, end, bytesMax)
        done(kept.bytes(), 0, kept.bytes().byteLength)
      }
      return end
    },
  }
}
