import { AgentError } from '../../domain/errors.ts'
import { depthOf, stringEnd } from '../../domain/json-text.ts'

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
  const value = parse(text, what)
  return mayHoldProto ? withoutProto(value) : value
}

function parse(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    try {
      return JSON.parse(withoutNonNumbers(text))
    } catch {
      const position = / at position \d+/.exec(String(cause))?.[0] ?? ''
      throw new AgentError('MESSAGE_MALFORMED', `${what} is not JSON${position}`)
    }
  }
}

/**
 * The value with every key `__proto__` taken out, in place. JSON.parse with a reviver does it too, and takes
 * seconds for a million values.
 */
function withoutProto(value: unknown): unknown {
  const pending = [value]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (typeof next !== 'object' || next === null) continue
    if (Object.hasOwn(next, '__proto__')) Reflect.deleteProperty(next, '__proto__')
    for (const inner of Array.isArray(next) ? next : Object.values(next)) {
      if (typeof inner === 'object' && inner !== null) pending.push(inner)
    }
  }
  return value
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
