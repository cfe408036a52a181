// What cinder-volume is asked, so that a volume can be attached here and is taken back.

import { AgentError, toAgentError } from '../../domain/errors.ts'
import { isJsonObject, type Json, type JsonObject } from '../../domain/json.ts'
import type { Asking } from '../../ports/block-storage.ts'
import { type CallOptions, call, callUntil, type Target } from './volume-calls.ts'

/** A volume or a snapshot as the methods of cinder-volume name it. */
export type Attachable = {
  readonly kind: 'volume' | 'snapshot'
  readonly id: string
  readonly sizeGib: number
  readonly object: JsonObject
  readonly target: Target
}

/** How a volume is exported. */
export type Connection = { readonly type: string; readonly data: JsonObject }

/**
 * Has it exported to the host of `connector`. Once asked, it is waited for until `answerSignal` aborts: what is taken back
 * while it is still being exported may be exported after that, and nobody knows.
 */
export async function initializeConnection(
  options: CallOptions,
  what: Attachable,
  connector: JsonObject,
  { context }: Asking,
  signal: AbortSignal,
  answerSignal: AbortSignal,
): Promise<Connection> {
  const { kind, id, object } = what
  const isVolume = kind === 'volume'
  const [method, version, args] = isVolume
    ? (['initialize_connection', '3.0', { connector, volume: object }] as const)
    : (['initialize_connection_snapshot', '3.13', { snapshot_id: id, connector }] as const)
  let answer: Json
  try {
    const called = { method, version, args, context }
    answer = await call(options, what.target, called, signal, answerSignal)
    signal.throwIfAborted()
  } catch (error) {
    if (signal.aborted) throw error
    throw attachFailed(what, toAgentError(error).message, error)
  }
  const { driver_volume_type: type, data } = isJsonObject(answer) ? answer : {}
  if (typeof type === 'string' && isJsonObject(data ?? null)) {
    return { type, data: data as JsonObject }
  }
  throw attachFailed(what, 'it answered without driver_volume_type and data')
}

/**
 * Gives it back, by force: nobody else has it by this connector. What is refused is tried again until
 * `deadlineMs`; both methods may be repeated.
 */
export async function takeBack(
  options: CallOptions,
  { kind, id, target }: Attachable,
  connector: JsonObject,
  { context, log }: Asking,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<void> {
  const isVolume = kind === 'volume'
  const version = isVolume ? '3.0' : '3.13'
  const named = isVolume ? { volume_id: id } : { snapshot_id: id }
  const suffix = isVolume ? '' : '_snapshot'
  const errors: unknown[] = []
  const steps = [
    [`terminate_connection${suffix}`, { ...named, connector, force: true }],
    [`remove_export${suffix}`, named],
  ] as const
  for (const [method, args] of steps) {
    const called = { method, version, args, context }
    try {
      await callUntil(deadlineMs, options, target, called, signal)
    } catch (error) {
      log.warn('not detached', { method, error })
      errors.push(error)
    }
  }
  const [first] = errors
  if (first === undefined) return
  throw new AgentError(
    'DETACH_FAILED',
    `cinder-volume does not take ${kind} ${id} back: ${toAgentError(first).message}`,
    { id },
    first,
  )
}

export function attachFailed({ kind, id }: Attachable, why: string, cause?: unknown): AgentError {
  const what = `cinder-volume does not give ${kind} ${id} to this host: ${why}`
  return new AgentError('ATTACH_FAILED', what, { id }, cause)
}
