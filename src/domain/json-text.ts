// What can be told of a JSON text before it is parsed.

const quote = 0x22
const backslash = 0x5c

/**
 * The deepest nesting of brackets outside strings. JSON.parse takes any depth, JSON.stringify and whoever
 * else follows a value down do not.
 */
export function depthOf(text: string): number {
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
export function stringEnd(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code === backslash) index += 1
    else if (code === quote) return index
  }
  return text.length
}
