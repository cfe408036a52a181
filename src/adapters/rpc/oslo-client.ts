import { AgentError } from '../../domain/errors.ts'
import { orAborted } from '../../lib/aborted.ts'
import { delay, monotonicMs } from '../../lib/clock.ts'
import type { CallOptions, RpcClient } from '../../ports/rpc-client.ts'
import { newUniqueId, type PublishLink, publishToServer } from './oslo-publisher.ts'
import { encodeCall, routingKeyOf } from './oslo-request.ts'
import type { PendingCall, PendingCalls } from './pending-calls.ts'

/** Where answers come in. */
export type ReplyQueue = {
  readonly name: string
  /** Resolves once it is consumed; waits for the broker, and rejects as `signal` says. */
  ready(signal: AbortSignal): Promise<void>
  /** Why it is not consumed, where that is known. */
  whyNot(): AgentError | null
  /** How often its connection was lost. */
  readonly losses: number
}

/** What a client needs of a bus. */
export type ClientLines = { readonly link: PublishLink; readonly replies: ReplyQueue }

/**
 * What oslo's RPC client does, over lines that know nothing of it: `connect` makes them when they are
 * first needed, `close` ends them. Unlike oslo's its calls are mandatory, so that one to a service
 * that never ran fails at once; the receiver sees no difference.
 * Source: oslo_messaging/_drivers/amqpdriver.py, `_send`.
 */
export function osloClient(
  connect: () => ClientLines,
  calls: PendingCalls,
  controlExchange: string,
  close: () => Promise<void>,
): RpcClient {
  const closing = new AbortController()
  return {
    call: async (target, call, options, signal) => {
      closing.signal.throwIfAborted()
      signal.throwIfAborted()
      const { link, replies } = connect()
      const what = `${call.method} of ${routingKeyOf(target)}`
      const msgId = newUniqueId()
      using pending = calls.begin(msgId, what)
      const limits = callLimits(what, options, replies)
      const until = AbortSignal.any([signal, closing.signal, limits.signal])
      const send = async () => {
        await replies.ready(until) // An answer must find its queue.
        limits.begins()
        const message = encodeCall(controlExchange, target, call, {
          replyTo: { kind: 'oslo', queue: replies.name, msgId, monitorSeconds: secondsOf(options) },
          uniqueId: newUniqueId(),
          lifeMs: limits.leftMs(),
        })
        if (!(await publishToServer(link, message, until))) throw unroutable(target)
        limits.sent(pending)
        return pending.answer
      }
      try {
        // The answer may be faster than the broker's confirm.
        return await orAborted(Promise.race([pending.answer, send()]), until)
      } finally {
        limits.end()
      }
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort(new AgentError('AGENT_STOPPING', 'the RPC client was closed'))
      await close()
    },
  }
}

/** Aborts with what to say when the time of a call is over. */
function callLimits(what: string, { timeoutMs, monitorMs }: CallOptions, replies: ReplyQueue) {
  const over = new AbortController()
  const endMs = monotonicMs() + timeoutMs
  let isSent = false
  let lossesBefore = replies.losses
  const fail = (code: 'CALL_TIMED_OUT' | 'BROKER_UNAVAILABLE', text: string) =>
    over.abort(new AgentError(code, text, { broker_lost: replies.losses > lossesBefore }))

  delay(timeoutMs, over.signal).then(
    () => {
      const seconds = timeoutMs / 1000
      if (isSent) {
        fail('CALL_TIMED_OUT', `${what} was not answered in ${seconds} s`)
      } else {
        const why = replies.whyNot()?.message ?? 'the broker did not confirm it'
        fail('BROKER_UNAVAILABLE', `${what} could not be sent in ${seconds} s: ${why}`)
      }
    },
    () => {}, // The call has ended.
  )
  const watch = async (pending: PendingCall, ms: number): Promise<void> => {
    const sentAtMs = monotonicMs()
    try {
      while (true) {
        const leftMs = Math.max(pending.lastSignMs, sentAtMs) + ms - monotonicMs()
        if (leftMs <= 0) break
        await delay(leftMs, over.signal)
      }
      fail('CALL_TIMED_OUT', `${what} gave no sign of life for ${ms / 1000} s`)
    } catch {
      // The call has ended.
    }
  }
  return {
    signal: over.signal,
    leftMs: () => endMs - monotonicMs(),
    begins: () => {
      lossesBefore = replies.losses
    },
    sent: (pending: PendingCall) => {
      isSent = true
      if (monitorMs !== null) void watch(pending, monitorMs)
    },
    end: () => over.abort(new AgentError('OPERATION_CANCELLED', `${what} has ended`)),
  }
}

function unroutable(target: Parameters<typeof routingKeyOf>[0]): AgentError {
  const key = routingKeyOf(target)
  return new AgentError(
    'CALL_UNROUTABLE',
    `nobody takes messages at ${key}: has the service ever run, and is that its host?`,
    { routingKey: key },
  )
}

/** oslo's own unit is whole seconds; a part of one would get no heartbeats at all. */
function secondsOf({ monitorMs }: CallOptions): number | null {
  return monitorMs === null ? null : Math.ceil(monitorMs / 1000)
}
