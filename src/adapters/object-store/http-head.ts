/** Status line and headers of an answer. */
export type HttpHead = {
  readonly status: number
  /** Lower-case names; the first value of each. */
  readonly headers: Readonly<Record<string, string>>
  /** Bytes of the body; null where only its end will tell. */
  readonly bodyBytes: number | null
  /** Whether another request may follow on the same connection. */
  readonly isKept: boolean
}

const headBytesMax = 64 * 1024
const headEnd = Buffer.from('\r\n\r\n')
const fieldLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: They are what is looked for.
const controls = /[\u0000-\u0008\u000a-\u001f\u007f]/

/** Collects an answer's head from pieces as they come. */
export class HttpHeadReader {
  #pieces: Buffer = Buffer.alloc(0)

  /**
   * Takes bytes; resolves to the head once it is whole, with what of `bytes` lies behind it. Throws
   * an Error where it is none, or longer than 64 KiB.
   */
  take(bytes: Buffer): { readonly head: HttpHead; readonly rest: Buffer } | null {
    const before = this.#pieces.byteLength
    const seen = before === 0 ? bytes : Buffer.concat([this.#pieces, bytes])
    const end = seen.subarray(0, headBytesMax).indexOf(headEnd)
    if (end === -1) {
      if (seen.byteLength >= headBytesMax)
        throw new Error(`its head has more than ${headBytesMax} bytes`)
      this.#pieces = Buffer.from(seen) // What was given is not ours to keep.
      return null
    }
    this.#pieces = Buffer.alloc(0)
    const head = parsedHead(seen.toString('latin1', 0, end))
    return { head, rest: bytes.subarray(end + headEnd.byteLength - before) }
  }
}

function parsedHead(text: string): HttpHead {
  const [statusLine = '', ...lines] = text.split('\r\n')
  const [, minor, status] = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: .*)?$/.exec(statusLine) ?? []
  if (status === undefined) throw new Error('it is no answer of HTTP/1')
  const headers: Record<string, string> = Object.create(null)
  const lengths = new Set<string>()
  const tokens: string[] = []
  for (const line of lines) {
    const [, name, value] = fieldLine.exec(line) ?? []
    if (name === undefined || value === undefined || controls.test(value)) {
      throw new Error('its head has a line that is no header')
    }
    const key = name.toLowerCase()
    headers[key] ??= value
    if (key === 'content-length') lengths.add(value)
    if (key === 'connection') tokens.push(...value.toLowerCase().split(/[ \t]*,[ \t]*/))
  }
  return {
    status: Number(status),
    headers,
    bodyBytes: bodyBytesOf(Number(status), headers, lengths),
    isKept: minor === '1' ? !tokens.includes('close') : tokens.includes('keep-alive'),
  }
}

/** Source: RFC 9112 6.3, for an answer to GET. */
function bodyBytesOf(
  status: number,
  headers: Readonly<Record<string, string>>,
  lengths: ReadonlySet<string>,
): number | null {
  if (status < 200 || status === 204 || status === 304) return 0
  if ('transfer-encoding' in headers || lengths.size === 0) return null
  const [length = ''] = lengths
  if (lengths.size > 1 || !/^\d{1,15}$/.test(length)) {
    throw new Error('its Content-Length is no number')
  }
  return Number(length)
}
