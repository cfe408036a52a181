import type { Readable } from 'node:stream'

import { AgentError } from '../../domain/errors.ts'
import { describe, type SwiftAction } from './swift-answers.ts'

export type SwiftRequest = {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  readonly origin: string
  /** Path and query, quoted. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | Readable | null
}

/** Takes a piece of a body, which is valid until what it returns has resolved. */
export type Take = (piece: Buffer) => void | Promise<void>

/** An answer whose headers are there. Its body must be poured or dropped; `textOf` pours. */
export interface SwiftReply {
  readonly status: number
  /** Lower-case names; the first value of each. */
  readonly headers: Readonly<Record<string, string>>
  /**
   * Hands every piece of the body to `take`, one at a time. Rejects with STORE_UNAVAILABLE where the
   * connection breaks, and with what `take` itself rejects with; `take` has ended by then.
   */
  pour(take: Take): Promise<void>
  /** Ends the transfer. */
  drop(): void
}

export interface SwiftConnection extends AsyncDisposable {
  /**
   * Sends one request and resolves when the headers of its answer are there. Redirects are answers
   * like others. Rejects with STORE_UNAVAILABLE, or STORE_REFUSED where TLS says no.
   */
  send(action: SwiftAction, request: SwiftRequest, signal: AbortSignal): Promise<SwiftReply>
}

const plainPath = /^\/[\x21-\x7e]*$/
const plainName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const plainValue = /^[\t\x20-\x7e]*$/

/** Throws STORE_REFUSED, before a byte of it is sent, where a request would not stay one request. */
export function checkPlain(action: SwiftAction, { path, headers }: SwiftRequest): void {
  const areHeadersPlain = Object.entries(headers).every(
    ([name, value]) => plainName.test(name) && plainValue.test(value),
  )
  if (plainPath.test(path) && areHeadersPlain) return
  throw new AgentError(
    'STORE_REFUSED',
    `${describe(action)}: its path or token has characters that no request may have`,
    { container: action.container, name: action.name },
  )
}

// An error page worth reading is shorter.
const textBytesMax = 64 * 1024

/** The text of a body, or the beginning of it where it is longer than `bytesMax`. */
export async function textOf(reply: SwiftReply, bytesMax = textBytesMax): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  const enough = new Error('enough')
  const collect = (piece: Buffer) => {
    pieces.push(Buffer.from(piece))
    bytes += piece.byteLength
    if (bytes > bytesMax) throw enough
  }
  await reply.pour(collect).catch((error: unknown) => {
    if (error !== enough) throw error
  })
  return Buffer.concat(pieces).toString('utf8')
}
