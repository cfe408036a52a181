import { type HttpHead, HttpHeadReader } from './http-head.ts'
import type { Take } from './swift-exchange.ts'
import type { Wire, WireListener } from './swift-wire.ts'

/** `head`: with the empty line behind it. `body`: as many bytes as the head announces, or null. */
export type WireRequest = { readonly head: string; readonly body: Uint8Array | null }

/**
 * One request on a wire: the head of its answer, then as many bytes of body as it announces. Every end,
 * good or bad, leaves the wire at rest or closed, and nothing running.
 */
export class Download implements WireListener {
  readonly #wire: Wire
  readonly #signal: AbortSignal
  readonly #reader = new HttpHeadReader()
  readonly #head = Promise.withResolvers<HttpHead>()
  readonly #ended = Promise.withResolvers<void>()
  readonly #onAbort = () => this.#fail(this.#signal.reason)
  #isKept = false
  /** The body ends with the connection: for errors, of which the beginning says enough. */
  #isOpenEnded = false
  /** Body that came with the head, until it is poured. */
  #rest: Buffer = Buffer.alloc(0)
  /** Bytes of body that are still to come. */
  #left = 0
  #lengthBytes = 0
  #isHeard = false
  #hasHead = false
  #isOver = false
  #take: Take | null = null
  #taking: Promise<void> | null = null

  constructor(wire: Wire, { head, body }: WireRequest, signal: AbortSignal) {
    this.#wire = wire
    this.#signal = signal
    this.#ended.promise.catch(() => {}) // Whoever pours learns of it.
    this.#head.promise.catch(() => {})
    signal.addEventListener('abort', this.#onAbort, { once: true })
    if (signal.aborted) this.#onAbort()
    else wire.ask(head, body, this)
  }

  /** Rejects with the signal's reason, or with an Error on what became of the connection. */
  get head(): Promise<HttpHead> {
    return this.#head.promise
  }

  /** Whether not a byte of an answer came. */
  get isUnheard(): boolean {
    return !this.#isHeard
  }

  /** Hands the body to `take`. Rejects as `head` does, or with what `take` rejected with. */
  pour(take: Take): Promise<void> {
    if (this.#isOver) return this.#ended.promise
    this.#take = take
    const rest = this.#rest
    this.#rest = Buffer.alloc(0)
    if (this.#pass(rest) && !this.#isOver) this.#wire.resume()
    return this.#ended.promise
  }

  /** Nobody wants the rest: the connection is closed. */
  drop(): void {
    this.#fail(new Error('the answer was not wanted'))
  }

  onBytes(bytes: Buffer): boolean {
    this.#isHeard = true
    if (this.#hasHead) return this.#pass(bytes)
    let rest = bytes
    try {
      // 1xx: an answer is still to come.
      for (let found = this.#reader.take(rest); found !== null; found = this.#reader.take(rest)) {
        rest = found.rest
        if (found.head.status < 200) continue
        this.#begin(found.head, rest)
        return false // Until someone pours.
      }
    } catch (error) {
      this.#fail(error)
      return false
    }
    return true
  }

  onClosed(reason: Error): void {
    if (this.#isOpenEnded) {
      this.#left = 0
      this.#goesOn()
      return
    }
    const got = this.#lengthBytes - this.#left
    const where = this.#hasHead ? ` after ${got} of ${this.#lengthBytes} bytes` : ''
    this.#fail(where === '' ? reason : new Error(`${reason.message}${where}`, { cause: reason }))
  }

  #begin(head: HttpHead, rest: Buffer): void {
    this.#hasHead = true
    this.#isKept = head.isKept && head.bodyBytes !== null
    this.#isOpenEnded = head.bodyBytes === null
    this.#lengthBytes = head.bodyBytes ?? Number.POSITIVE_INFINITY
    this.#left = this.#lengthBytes
    this.#rest = rest
    this.#head.resolve(head)
  }

  /** Takes what came of the body; resolves to whether to read on. */
  #pass(bytes: Buffer): boolean {
    const piece = bytes.byteLength > this.#left ? bytes.subarray(0, this.#left) : bytes
    if (piece.byteLength < bytes.byteLength) this.#isKept = false // More than was announced.
    this.#left -= piece.byteLength
    if (piece.byteLength === 0 || this.#take === null) return this.#goesOn()
    let taken: void | Promise<void>
    try {
      taken = this.#take(piece)
    } catch (error) {
      this.#fail(error)
      return false
    }
    if (taken === undefined) return this.#goesOn()
    this.#taking = taken
    taken.then(
      () => {
        this.#taking = null
        if (this.#goesOn() && !this.#isOver) this.#wire.resume()
      },
      (error: unknown) => this.#fail(error),
    )
    return false
  }

  /** False where it has ended, which it does here when nothing is left. */
  #goesOn(): boolean {
    if (this.#isOver) return false
    if (this.#left > 0) return true
    this.#end()
    if (this.#isKept) this.#wire.rest()
    else this.#wire.close(new Error('the connection is not kept'))
    this.#ended.resolve()
    return this.#isKept
  }

  #fail(error: unknown): void {
    if (this.#isOver) return
    this.#end()
    this.#wire.close(new Error('the request has ended'))
    this.#head.reject(error)
    // Nothing may go on after the rejection; what `take` itself says comes first.
    const taken = Promise.resolve().then(() => this.#taking) // It may be `take` that aborts.
    taken.then(() => this.#ended.reject(error), this.#ended.reject)
  }

  #end(): void {
    this.#isOver = true
    this.#signal.removeEventListener('abort', this.#onAbort)
  }
}
