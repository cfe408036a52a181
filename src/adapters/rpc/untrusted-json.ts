import { AgentError } from '../../domain/errors.ts'

/**
 * How deep a message may nest. A backup with a thousand ancestors, each a versioned object in a
 * versioned object's data, needs 2,000 and a few.
 */
const depthMax = 2_200

/**
 * JSON from a stranger: bounded in depth, keys named `__proto__` left out, so that no copy of it can
 * be given another prototype. `NaN` and `Infinity`, which Python writes, are read as null. Rejects
 * with MESSAGE_MALFORMED; the message quotes nothing of the text, which may hold a token.
 */
export function parseUntrusted(text: string, what: string): unknown {
  const depth = depthOf(text)
  if (depth > depthMax) {
    throw new AgentError('MESSAGE_MALFORMED', `${what} nests deeper than ${depthMax} levels`)
  }
  // Any letter of the key may be escaped, which no writer does; only then is the slow way taken.
  const mayHoldProto = text.includes('__proto__') || /\\u00(?:5f|6f|7[024])/i.test(text)
  const revive = mayHoldProto
    ? (key: string, value: unknown) => (key === '__proto__' ? undefined : value)
    : undefined
  try {
    return JSON.parse(text, revive)
  } catch (cause) {
    try {
      return JSON.parse(withoutNonNumbers(text), revive)
    } catch {
      const position = / at position \d+/.exec(String(cause))?.[0] ?? ''
      throw new AgentError('MESSAGE_MALFORMED', `${what} is not JSON${position}`)
    }
  }
}

const quote = 0x22
const backslash = 0x5c

/** The deepest nesting of brackets outside strings. */
function depthOf(text: string): number {
  let depth = 0
  let deepest = 0
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code === quote) {
      index = stringEnd(text, index)
    } else if (code === 0x7b || code === 0x5b) {
      depth += 1
      if (depth > deepest) deepest = depth
    } else if (code === 0x7d || code === 0x5d) {
      depth -= 1
    }
  }
  return deepest
}

/** Where the string that begins at `start` has its closing quote; the end of the text if nowhere. */
function stringEnd(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code === backslash) index += 1
    else if (code === quote) return index
  }
  return text.length
}

function withoutNonNumbers(text: string): string {
  const parts: string[] = []
  let from = 0
  while (from < text.length) {
    const start = text.indexOf('"', from)
    const until = start === -1 ? text.length : start
    parts.push(text.slice(from, until).replace(/-?\b(?:NaN|Infinity)\b/g, 'null'))
    if (start === -1) break
    const end = stringEnd(text, start) + 1
    parts.push(text.slice(start, end))
    from = end
  }
  return parts.join('')
}
