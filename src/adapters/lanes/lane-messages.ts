import { AgentError, type ErrorCode, toAgentError } from '../../domain/errors.ts'
import type { ExtentResult, ExtentTask, WindowResult, WindowTask } from '../../domain/lane-tasks.ts'
import type { StoreAccess } from '../../ports/identity.ts'
import type { LogFields } from '../../ports/log.ts'
import type { SharedVolume } from '../../ports/volumes.ts'

export type LaneTask =
  | { readonly kind: 'window'; readonly window: WindowTask }
  | { readonly kind: 'extent'; readonly extent: ExtentTask }

export type LaneTaskResult = WindowResult | ExtentResult

/** What a lane wants to know of the one who gave it a task. */
export type LaneQuestion =
  | { readonly kind: 'numbers'; readonly count: number }
  | { readonly kind: 'access' }
  | { readonly kind: 'renew'; readonly refused: StoreAccess }

/** From the main thread to a lane. `id` is a task's, `ask` a question's. */
export type ToLane =
  | {
      readonly kind: 'task'
      readonly id: number
      readonly task: LaneTask
      readonly volume: SharedVolume
      /** Whether the store wants a token, which the lane then asks for. */
      readonly needsAccess: boolean
    }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'answer'; readonly ask: number; readonly value: unknown }
  | { readonly kind: 'refusal'; readonly ask: number; readonly error: PackedError }

export type FromLane =
  /** The buffers may serve another task; `heldBytes` of others are still on their way. */
  | { readonly kind: 'freed'; readonly id: number; readonly heldBytes: number }
  | {
      readonly kind: 'done'
      readonly id: number
      readonly result: LaneTaskResult
      /** The part of its time that the lane waited, since it last said so: 0 to 1. */
      readonly idleShare: number
    }
  | { readonly kind: 'failed'; readonly id: number; readonly error: PackedError }
  | {
      readonly kind: 'ask'
      readonly id: number
      readonly ask: number
      readonly question: LaneQuestion
    }
  | {
      readonly kind: 'retrying'
      readonly id: number
      readonly fields: LogFields
      /** The store said that it is asked too much. */
      readonly isThrottled: boolean
    }

/** An error as it crosses threads, its causes as texts. */
export type PackedError = {
  readonly code: ErrorCode
  readonly message: string
  readonly contextJson: string
  readonly stack: string | null
}

export function packError(thrown: unknown): PackedError {
  const { code, message, context, cause, stack } = toAgentError(thrown)
  const cause_ = cause instanceof Error ? (cause.stack ?? cause.message) : null
  return {
    code,
    message,
    contextJson: JSON.stringify(context),
    stack: cause_ ?? (code === 'ASSERTION_FAILED' ? (stack ?? null) : null),
  }
}

export function unpackError({ code, message, contextJson, stack }: PackedError): AgentError {
  let cause: Error | undefined
  if (stack !== null) {
    cause = new Error(stack.split('\n')[0])
    cause.stack = stack
  }
  return new AgentError(code, message, JSON.parse(contextJson), cause)
}
