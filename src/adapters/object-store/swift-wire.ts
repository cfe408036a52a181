import { connect, type Socket } from 'node:net'

import { idleError } from './swift-failures.ts'

export type WireOptions = {
  readonly connectMs: number
  /** How long a request may go without a byte in either direction. */
  readonly idleMs: number
  /** How long a connection without a request is kept. */
  readonly keepMs: number
}

/** Who gets what comes over a wire while it asks. */
export type WireListener = {
  /** `bytes` are valid until it returns, or while it holds the wire: false stops the reading. */
  onBytes(bytes: Buffer): boolean
  /** The connection is gone. */
  onClosed(reason: Error): void
}

/** Who keeps the wire. */
export type WireOwner = {
  /** It waits for the next request. */
  onRest(): void
  onClose(): void
}

// One for each connection, reused for every read: what makes this cheaper than a stream. Larger ones
// gain nothing (docs/decisions/0012).
const bufferBytes = 512 * 1024

/** One TCP connection, kept alive between requests. What comes while nobody asked closes it. */
export class Wire {
  readonly #socket: Socket
  readonly #options: WireOptions
  readonly #owner: WireOwner
  #listener: WireListener | null = null
  #isHeld = false
  #isSending = false
  #isTimedOut = false
  #reason: Error | null = null

  constructor(origin: string, options: WireOptions, owner: WireOwner) {
    const { hostname, port } = new URL(origin)
    this.#options = options
    this.#owner = owner
    this.#socket = connect({
      host: hostname.replace(/^\[(.*)\]$/, '$1'), // IPv6
      port: Number(port === '' ? 80 : port),
      noDelay: true,
      keepAlive: true,
      onread: {
        buffer: Buffer.allocUnsafeSlow(bufferBytes),
        callback: (count, buffer) =>
          this.#read(Buffer.from(buffer.buffer, buffer.byteOffset, count)),
      },
    })
    this.#socket
      .setTimeout(options.connectMs)
      .on('connect', () => this.#socket.setTimeout(options.idleMs))
      .on('timeout', () => this.#timedOut())
      .on('error', (error) => this.close(error))
      .on('end', () => this.close(new Error('the other side closed the connection')))
      .on('close', () => this.close(new Error('the connection closed')))
  }

  /** Whether it was closed because nothing came. */
  get isTimedOut(): boolean {
    return this.#isTimedOut
  }

  /**
   * Sends a request; `listener` gets what comes until `rest` or `close`. `body` is not copied: it must
   * stay as it is until then.
   */
  ask(head: string, body: Uint8Array | null, listener: WireListener): void {
    this.#listener = listener
    if (!this.#socket.connecting) this.#socket.setTimeout(this.#options.idleMs)
    this.#socket.cork()
    this.#socket.write(head, 'latin1')
    if (body !== null) {
      this.#isSending = true
      this.#socket.write(body, () => {
        this.#isSending = false
      })
    }
    this.#socket.uncork()
  }

  /** Reads on after a listener held the wire. */
  resume(): void {
    this.#isHeld = false
    this.#socket.setTimeout(this.#options.idleMs)
    this.#socket.resume()
  }

  /** Nobody asks any more; the connection waits for the next one who does. */
  rest(): void {
    // Who answers before all of a request has come may never read the rest of it.
    if (this.#isSending) {
      this.close(new Error('it was answered before it was sent'))
      return
    }
    this.#listener = null
    this.#isHeld = false
    this.#socket.setTimeout(this.#options.keepMs)
    this.#socket.resume() // To learn of its end.
    this.#owner.onRest()
  }

  close(reason: Error): void {
    if (this.#reason !== null) return
    this.#reason = reason
    this.#socket.destroy()
    const listener = this.#listener
    this.#listener = null
    this.#owner.onClose()
    listener?.onClosed(reason)
  }

  #read(bytes: Buffer): boolean {
    if (this.#listener === null) {
      this.close(new Error('bytes came that nobody asked for'))
      return false
    }
    const goesOn = this.#listener.onBytes(bytes)
    // Whoever held it may have let go of it meanwhile.
    this.#isHeld = !goesOn && this.#listener !== null
    return goesOn
  }

  #timedOut(): void {
    const { connectMs, idleMs, keepMs } = this.#options
    this.#isTimedOut = !this.#isHeld
    if (this.#socket.connecting) {
      this.close(new Error(`no connection within ${connectMs} ms`))
    } else if (this.#listener === null) {
      this.close(new Error(`no request for ${keepMs} ms`))
    } else if (this.#isHeld) {
      this.#socket.setTimeout(idleMs) // What waits for us is no fault of the other side's.
    } else {
      this.close(idleError(idleMs))
    }
  }
}
