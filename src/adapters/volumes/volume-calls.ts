// How cinder-volume is called: it may be starting again, and the bus may be away.

import { randomUUID } from 'node:crypto'

import { AgentError, hasCode } from '../../domain/errors.ts'
import type { Json, JsonObject } from '../../domain/json.ts'
import { remoteFailureIn } from '../../domain/remote-failure.ts'
import { delay, monotonicMs } from '../../lib/clock.ts'
import type { Asking } from '../../ports/block-storage.ts'
import type { Publisher } from '../../ports/rpc.ts'
import type { RpcClient } from '../../ports/rpc-client.ts'

export type CallOptions = {
  readonly client: RpcClient
  readonly publisher: Pick<Publisher, 'cast'>
  /** How long one call may take, `rpc_response_timeout`. */
  readonly timeoutMs: number
}

/** The topic and server of a volume's backend. */
export type Target = { readonly topic: string; readonly server: string }

/** A service that starts again declares its queue anew. */
const unroutableRetryMs = 1_000

/** A cinder-volume that is without its database for a moment answers with an error. */
const stumbleRetryMs = 2_000

/** A database that is away for longer than this is the operator's to mend; the job then says so. */
const databaseAwayMs = 600_000

type Called = {
  readonly method: string
  readonly version: string
  readonly args: JsonObject
  readonly context: Asking['context']
}

/**
 * A call of a method that may be repeated. Where nobody listens, the service may be starting again; a bus
 * that is away comes back; what a broker lost is asked for again; and a service without its database
 * has it again some time. A call that is out is waited for until `answerSignal` aborts, and none is made once
 * `signal` has.
 */
export async function call(
  { client, timeoutMs }: CallOptions,
  target: Target,
  called: Called,
  signal: AbortSignal,
  answerSignal = signal,
): Promise<Json> {
  signal.throwIfAborted()
  let deadlineMs = monotonicMs() + timeoutMs
  let awaySinceMs: number | null = null
  while (true) {
    let waitMs = unroutableRetryMs
    try {
      const leftMs = Math.max(1, deadlineMs - monotonicMs())
      const options = { timeoutMs: leftMs, monitorMs: null }
      return await client.call(target, { ...called, namespace: null }, options, answerSignal)
    } catch (error) {
      const isDatabase = isDatabaseAway(error)
      if (isDatabase) {
        awaySinceMs ??= monotonicMs()
        waitMs = stumbleRetryMs
        if (monotonicMs() - awaySinceMs > databaseAwayMs) throw error
      }
      const isUnheard = isDatabase || hasCode(error, 'BROKER_UNAVAILABLE') || wasLost(error)
      if (isUnheard) deadlineMs = monotonicMs() + timeoutMs
      const isLast = monotonicMs() + unroutableRetryMs > deadlineMs
      if (!isUnheard && (!hasCode(error, 'CALL_UNROUTABLE') || isLast)) throw error
    }
    await delay(waitMs, signal)
  }
}

/** Cinder's queues are not durable: a broker that is restarted forgets what waited in them. */
function wasLost(error: unknown): boolean {
  return hasCode(error, 'CALL_TIMED_OUT') && error.context['broker_lost'] === true
}

/**
 * What cinder-volume says when it cannot reach its database: by the class, or in the words of what
 * wraps it. Source: oslo_db/sqlalchemy/exc_filters.py.
 */
function isDatabaseAway(error: unknown): boolean {
  const failure = error instanceof AgentError ? remoteFailureIn(error) : null
  if (failure === null) return false
  return /\b(DBConnectionError|OperationalError)\b/.test(
    `${failure.remoteClass}: ${failure.remoteMessage}`,
  )
}

/** A call that is made again while it fails, until `deadlineMs`. */
export async function callUntil(
  deadlineMs: number,
  options: CallOptions,
  target: Target,
  called: Called,
  signal: AbortSignal,
): Promise<void> {
  while (true) {
    try {
      await call(options, target, called, signal)
      return
    } catch (error) {
      if (signal.aborted || monotonicMs() + stumbleRetryMs > deadlineMs) throw error
    }
    await delay(stumbleRetryMs, signal)
  }
}

/** Casts that wait for a service that is starting again. */
export function castsOf({ publisher, timeoutMs }: CallOptions) {
  return async (
    target: Target,
    method: string,
    version: string,
    { context }: Asking,
    signal: AbortSignal,
    args: JsonObject,
  ): Promise<void> => {
    const uniqueId = randomUUID().replaceAll('-', '')
    const cast = { method, version, args, context, uniqueId, replyTo: null }
    const deadlineMs = monotonicMs() + timeoutMs
    while (!(await publisher.cast(target, cast, signal))) {
      if (monotonicMs() + unroutableRetryMs > deadlineMs) {
        throw new AgentError(
          'CALL_UNROUTABLE',
          `${method} reaches nobody: no cinder-volume takes messages at ${target.topic}.${target.server}`,
          { ...target },
        )
      }
      await delay(unroutableRetryMs, signal)
    }
  }
}
