import { AgentError } from './errors.ts'
import { isJsonObject, type Json, type JsonObject } from './json.ts'

// JSON as Python's json module writes it, so that our documents can be compared byte for byte.
// Source: Lib/json/encoder.py of Python 3.11.

const depthMax = 32
const shortEscapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\f': '\\f',
  '\b': '\\b',
}

/** A string with everything beyond printable ASCII escaped, astral characters as surrogate pairs. */
export function pythonString(text: string): string {
  const escaped = text.replace(
    /["\\]|[^ -~]/g,
    (unit) => shortEscapes[unit] ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return `"${escaped}"`
}

/** `json.dumps(value)`: one line. Throws ARGUMENT_INVALID where it is nested too deep. */
export function pythonLine(value: Json, depth = 0): string {
  checkDepth(depth)
  if (Array.isArray(value)) {
    return `[${value.map((item: Json) => pythonLine(item, depth + 1)).join(', ')}]`
  }
  if (isJsonObject(value)) {
    const members = Object.entries(value).map(
      ([key, member]) => `${pythonString(key)}: ${pythonLine(member, depth + 1)}`,
    )
    return `{${members.join(', ')}}`
  }
  return scalar(value)
}

/**
 * `json.dumps(value, sort_keys=True, indent=2)` of a value that stands `depth` levels deep in its
 * document. Throws ARGUMENT_INVALID where it is nested too deep.
 */
export function pythonIndented(value: Json, depth = 0): string {
  checkDepth(depth)
  const inner = '  '.repeat(depth + 1)
  const outer = '  '.repeat(depth)
  if (Array.isArray(value)) {
    const items = value.map((item: Json) => `${inner}${pythonIndented(item, depth + 1)}`)
    return items.length === 0 ? '[]' : `[\n${items.join(',\n')}\n${outer}]`
  }
  if (isJsonObject(value)) {
    const members = sortedEntries(value).map(
      ([key, member]) => `${inner}${pythonString(key)}: ${pythonIndented(member, depth + 1)}`,
    )
    return members.length === 0 ? '{}' : `{\n${members.join(',\n')}\n${outer}}`
  }
  return scalar(value)
}

function scalar(value: Json): string {
  return typeof value === 'string' ? pythonString(value) : String(value)
}

/** Python sorts by code points; JavaScript would put astral characters before U+E000. */
function sortedEntries(value: JsonObject): [string, Json][] {
  const points = (text: string) => Array.from(text, (point) => point.codePointAt(0) ?? 0)
  return Object.entries(value).sort(([left], [right]) => {
    const leftPoints = points(left)
    const rightPoints = points(right)
    const differs = leftPoints.findIndex((point, index) => point !== rightPoints[index])
    if (differs < 0) return leftPoints.length - rightPoints.length
    return (leftPoints[differs] ?? 0) - (rightPoints[differs] ?? -1)
  })
}

function checkDepth(depth: number): void {
  if (depth > depthMax) {
    throw new AgentError('ARGUMENT_INVALID', `JSON is nested deeper than ${depthMax} levels`)
  }
}
