import type { buildConnector as Connectors, Dispatcher } from 'undici'
import request from 'undici/lib/api/api-request.js'
import buildConnector from 'undici/lib/core/connect.js'
import Agent from 'undici/lib/dispatcher/agent.js'

import type { SwiftAction } from './swift-answers.ts'
import { checkPlain, type SwiftConnection, type SwiftReply } from './swift-exchange.ts'
import { connectionError, idleError } from './swift-failures.ts'
import { trusted } from './swift-trust.ts'

export type SwiftConnectionOptions = {
  /** Certificates to trust instead of Node's and the system's; null: those. */
  readonly caFile: string | null
  /** Whether to trust any certificate. */
  readonly insecure: boolean
  readonly connectMs: number
  /** How long a request may go without a byte in either direction. */
  readonly idleMs: number
}

/** Pooled connections to every proxy of the cluster. Disposing breaks what is still under way. */
export function openSwiftConnection(options: SwiftConnectionOptions): SwiftConnection {
  const agent = new Agent({
    connect: idleWatchingConnector(options),
    // The connector's own watch replaces both: undici counts the sending of a whole Buffer as
    // waiting for headers, so that a slow but moving upload would be cut.
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveMaxTimeout: 30_000,
  })

  return {
    send: async (action, asked, signal) => {
      checkPlain(action, asked)
      const { method, origin, path, headers, body } = asked
      try {
        const answer = await request.call(agent, { origin, path, method, headers, body, signal })
        return {
          status: answer.statusCode,
          headers: firstValues(answer.headers),
          ...bodyOf(answer, action, signal),
        }
      } catch (error) {
        signal.throwIfAborted()
        throw connectionError(action, error)
      }
    },
    [Symbol.asyncDispose]: () => agent.destroy(),
  }
}

/** The body of `answer`, as its reader sees it. */
function bodyOf(
  { body }: Dispatcher.ResponseData,
  action: SwiftAction,
  signal: AbortSignal,
): Pick<SwiftReply, 'pour' | 'drop'> {
  body.on('error', () => {}) // Whoever pours it learns of it; until then no one listens.
  return {
    drop: () => void body.destroy(),
    pour: (take) =>
      new Promise((resolve, reject) => {
        let taking: Promise<void> = Promise.resolve()
        const fail = (error: unknown) => {
          body.destroy()
          reject(error)
        }
        const onBroken = (error: unknown) => {
          const reason = signal.aborted ? signal.reason : connectionError(action, error)
          taking.then(() => reject(reason), reject)
        }
        if (body.errored !== null) return onBroken(body.errored)

        body.on('error', onBroken)
        body.on('end', () => taking.then(resolve, reject))
        body.on('data', (piece: Buffer) => {
          try {
            const taken = take(piece)
            if (taken === undefined) return
            body.pause()
            taking = taken
            taken.then(() => body.resume(), fail)
          } catch (error) {
            fail(error)
          }
        })
      }),
  }
}

/**
 * A connector whose sockets break after `idleMs` without progress. Node counts what the kernel took
 * of a long write as progress.
 */
function idleWatchingConnector(options: SwiftConnectionOptions): Connectors.connector {
  const { caFile, insecure, connectMs, idleMs } = options
  const tcp = buildConnector({ timeout: connectMs, allowH2: false })
  let tls: Connectors.connector | null = null // Reading the system's certificates takes a while.
  const openTls = () =>
    buildConnector({
      timeout: connectMs,
      allowH2: false,
      ca: trusted(caFile),
      rejectUnauthorized: !insecure,
    })
  if (caFile !== null) tls = openTls()

  return (target, callback) => {
    if (target.protocol === 'https:') tls ??= openTls()
    const connect = target.protocol === 'https:' && tls !== null ? tls : tcp
    connect(target, (...result) => {
      const [, socket] = result
      socket?.setTimeout(idleMs).on('timeout', () => {
        // Bytes that wait for us are no fault of the other side's: our sink is slow.
        if (socket.readableLength > 0) socket.setTimeout(idleMs)
        else socket.destroy(idleError(idleMs))
      })
      callback(...result)
    })
  }
}

function firstValues(headers: Dispatcher.ResponseData['headers']): Record<string, string> {
  const values: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    const first = Array.isArray(value) ? value[0] : value
    if (first !== undefined) values[name] = first
  }
  return values
}
