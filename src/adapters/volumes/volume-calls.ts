// How cinder-volume is called: it may be starting again, and the bus may be away.

import { randomUUID } from 'node:crypto'

import { AgentError, hasCode } from '../../domain/errors.ts'
import type { Json, JsonObject } from '../../domain/json.ts'
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
const detachRetryMs = 2_000

type Called = {
  readonly method: string
  readonly version: string
  readonly args: JsonObject
  readonly context: Asking['context']
}

/** A call; where nobody listens, the service may be starting again, and a bus that is away comes back. */
export async function call(
  { client, timeoutMs }: CallOptions,
  target: Target,
  called: Called,
  signal: AbortSignal,
): Promise<Json> {
  let deadlineMs = monotonicMs() + timeoutMs
  while (true) {
    try {
      const leftMs = Math.max(1, deadlineMs - monotonicMs())
      const options = { timeoutMs: leftMs, monitorMs: null }
      return await client.call(target, { ...called, namespace: null }, options, signal)
    } catch (error) {
      const isAway = hasCode(error, 'BROKER_UNAVAILABLE')
      if (isAway) deadlineMs = monotonicMs() + timeoutMs // Nobody has heard it.
      const isLast = monotonicMs() + unroutableRetryMs > deadlineMs
      if (!isAway && (!hasCode(error, 'CALL_UNROUTABLE') || isLast)) throw error
    }
    await delay(unroutableRetryMs, signal)
  }
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
      if (signal.aborted || monotonicMs() + detachRetryMs > deadlineMs) throw error
    }
    await delay(detachRetryMs, signal)
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
