import type { MessagePort } from 'node:worker_threads'

import { AgentError } from '../../domain/errors.ts'
import type { ExtentTask, WindowTask } from '../../domain/lane-tasks.ts'
import { delay } from '../../lib/clock.ts'
import type { AccessSource, StoreAccess } from '../../ports/identity.ts'
import type { LogFields } from '../../ports/log.ts'
import type { ObjectStore } from '../../ports/object-store.ts'
import type { SharedVolume, VolumeReader, VolumeWriter } from '../../ports/volumes.ts'
import {
  type FromLane,
  type LaneQuestion,
  type LaneTaskResult,
  packError,
  type ToLane,
  unpackError,
} from './lane-messages.ts'

/** A call to the store that is tried again. */
export type Retrying = { readonly fields: LogFields; readonly isThrottled: boolean }

/** What a lane is made of; the engine's two functions with their tools among it. */
export type LaneParts = {
  readonly openStore: (
    access: AccessSource | null,
    onRetry: (retrying: Retrying) => void,
  ) => ObjectStore
  readonly openReader: (shared: SharedVolume) => VolumeReader
  readonly openWriter: (shared: SharedVolume) => VolumeWriter
  readonly storeWindow: (
    task: WindowTask,
    bench: {
      readonly volume: VolumeReader
      readonly store: ObjectStore
      readonly numbers: (count: number) => Promise<number>
      readonly free: (heldBytes: number) => void
    },
    signal: AbortSignal,
  ) => Promise<LaneTaskResult>
  readonly restoreExtent: (
    task: ExtentTask,
    bench: { readonly volume: VolumeWriter; readonly store: ObjectStore },
    signal: AbortSignal,
  ) => Promise<LaneTaskResult>
  /** Called when there was nothing to do for a while. */
  readonly rest: () => void
  /** The part of the time since the last call that this thread waited: 0 to 1. */
  readonly idleShare: () => number
}

/** How long a lane without work keeps what its buffers hold. */
const restMs = 2000

type Task = Extract<ToLane, { kind: 'task' }>

/** Does in this thread what comes through `port`, until it is closed. */
export function laneWork(port: MessagePort, parts: LaneParts): void {
  const running = new Map<number, AbortController>()
  const say: Say = (message, transfer = []) => port.postMessage(message, [...transfer])
  const questions = questionsTo(say)
  const rest = restAfterWork(() => running.size === 0, parts.rest)

  async function run(task: Task): Promise<void> {
    const { id } = task
    const cancel = new AbortController()
    running.set(id, cancel)
    rest.put(false)
    try {
      const result = await doTask(task, parts, questions, say, cancel.signal)
      const transfer = 'digests' in result ? [result.digests.buffer as ArrayBuffer] : []
      say({ kind: 'done', id, result, idleShare: parts.idleShare() }, transfer)
    } catch (error) {
      say({ kind: 'failed', id, error: packError(error) })
    } finally {
      running.delete(id)
      if (running.size === 0) rest.put(true)
    }
  }

  port.on('message', (message: ToLane) => {
    switch (message.kind) {
      case 'task':
        return void run(message)
      case 'cancel':
        return running.get(message.id)?.abort(new AgentError('OPERATION_CANCELLED', 'told to stop'))
      case 'answer':
        return questions.settle(message.ask, ({ resolve }) => resolve(message.value))
      case 'refusal':
        return questions.settle(message.ask, ({ reject }) => reject(unpackError(message.error)))
    }
  })
}

type Say = (message: FromLane, transfer?: readonly ArrayBuffer[]) => void

function doTask(
  { id, task, volume, needsAccess }: Task,
  parts: LaneParts,
  questions: Questions,
  say: Say,
  signal: AbortSignal,
): Promise<LaneTaskResult> {
  const access = needsAccess ? accessOf(id, questions) : null
  const store = parts.openStore(access, (retrying) => say({ kind: 'retrying', id, ...retrying }))
  if (task.kind === 'extent') {
    const bench = { volume: parts.openWriter(volume), store }
    return parts.restoreExtent(task.extent, bench, signal)
  }
  const bench = {
    volume: parts.openReader(volume),
    store,
    numbers: (count: number) => questions.ask(id, { kind: 'numbers', count }) as Promise<number>,
    free: (heldBytes: number) => say({ kind: 'freed', id, heldBytes }),
  }
  return parts.storeWindow(task.window, bench, signal)
}

function accessOf(id: number, { ask }: Questions): AccessSource {
  return {
    access: () => ask(id, { kind: 'access' }) as Promise<StoreAccess>,
    renew: (refused) => ask(id, { kind: 'renew', refused }) as Promise<StoreAccess>,
  }
}

type Questions = ReturnType<typeof questionsTo>

/** What was asked of the main thread, and is not answered yet. */
function questionsTo(say: Say) {
  const open = new Map<number, PromiseWithResolvers<unknown>>()
  let asked = 0
  return {
    ask(id: number, question: LaneQuestion): Promise<unknown> {
      asked += 1
      const answer = Promise.withResolvers<unknown>()
      open.set(asked, answer)
      say({ kind: 'ask', id, ask: asked, question })
      return answer.promise
    },
    settle(number: number, how: (answer: PromiseWithResolvers<unknown>) => void): void {
      const answer = open.get(number)
      open.delete(number)
      if (answer !== undefined) how(answer)
    },
  }
}

/** What buffers hold is dear to take anew, but only once a job: without work it is soon given back. */
function restAfterWork(isIdle: () => boolean, rest: () => void) {
  let waiting = new AbortController()
  return {
    put(mayRest: boolean): void {
      waiting.abort()
      if (!mayRest) return
      waiting = new AbortController()
      const { signal } = waiting
      delay(restMs, signal).then(
        () => isIdle() && rest(),
        () => undefined,
      )
    },
  }
}
