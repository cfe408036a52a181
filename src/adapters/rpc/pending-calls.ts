import { toAgentError } from '../../domain/errors.ts'
import type { Json } from '../../domain/json.ts'
import { callFailed, type RemoteFailure } from '../../domain/remote-failure.ts'
import { monotonicMs } from '../../lib/clock.ts'
import type { Log } from '../../ports/log.ts'
import type { IncomingProperties } from './oslo-envelope.ts'
import { type OpenedReply, openReply } from './oslo-reply.ts'
import { quietWarnings } from './quiet-log.ts'

/** How many messages are known again; a copy comes right after a broken connection. */
const knownIdsMax = 256
const idCharactersMax = 64

/** A call that is waited for, until disposed. */
export type PendingCall = Disposable & {
  /** Rejects with CALL_FAILED. */
  readonly answer: Promise<Json>
  /** When the service last said something; when the call began where it did not. */
  readonly lastSignMs: number
}

/** The calls of one client, and what becomes of the messages in its reply queue. */
export type PendingCalls = {
  begin(msgId: string, what: string): PendingCall
  /** Takes any message; what nobody waits for and what cannot be read is dropped and told. */
  take(body: Uint8Array, properties: IncomingProperties): void
}

type Waiting = { take(reply: OpenedReply): void }

/** Source: oslo_messaging/_drivers/amqpdriver.py, `ReplyWaiter`. */
export function pendingCalls(messageBytesMax: number, log: Log): PendingCalls {
  const waiting = new Map<string, Waiting>()
  const isCopy = copies()
  const warn = quietWarnings(log, 3)
  return {
    begin(msgId, what) {
      const { promise, resolve, reject } = Promise.withResolvers<Json>()
      promise.catch(() => {}) // Whoever gave up waits no more.
      let lastSignMs = monotonicMs()
      let part: { readonly result: Json; readonly failure: RemoteFailure | null } | null = null
      waiting.set(msgId, {
        take: ({ result, failure, ending }) => {
          lastSignMs = monotonicMs()
          // Services of long ago sent the result first, and the end in a message of its own.
          if (result !== null || failure !== null) part = { result, failure }
          if (!ending) return
          const { result: whole, failure: failed } = part ?? { result, failure }
          if (failed === null) resolve(whole)
          else reject(callFailed(what, failed))
        },
      })
      return {
        answer: promise,
        get lastSignMs() {
          return lastSignMs
        },
        [Symbol.dispose]: () => void waiting.delete(msgId),
      }
    },
    take(body, properties) {
      let reply: OpenedReply
      try {
        reply = openReply(body, properties, messageBytesMax)
      } catch (cause) {
        warn('an answer that cannot be read was dropped', { error: toAgentError(cause) })
        return
      }
      if (isCopy(reply.uniqueId)) return
      const call = waiting.get(reply.msgId)
      if (call !== undefined) call.take(reply)
      else if (reply.ending) {
        const msgId = reply.msgId.slice(0, idCharactersMax)
        warn('an answer came for a call that nobody waits for any more', { msgId })
      }
    },
  }
}

/** Tells whether an id was there before; remembers the last ones. */
function copies(): (uniqueId: string | null) => boolean {
  const known = new Set<string>()
  return (uniqueId) => {
    if (uniqueId === null || uniqueId.length > idCharactersMax) return false
    if (known.has(uniqueId)) return true
    known.add(uniqueId)
    const [oldest] = known
    if (known.size > knownIdsMax && oldest !== undefined) known.delete(oldest)
    return false
  }
}
