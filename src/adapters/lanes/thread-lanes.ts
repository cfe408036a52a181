import { AgentError, toAgentError } from '../../domain/errors.ts'
import type { ExtentResult, WindowResult } from '../../domain/lane-tasks.ts'
import { monotonicMs } from '../../lib/clock.ts'
import { every } from '../../lib/every.ts'
import type { StoreAccess } from '../../ports/identity.ts'
import type { LaneJob, Lanes, LaneUse } from '../../ports/lanes.ts'
import type { Log } from '../../ports/log.ts'
import { fairQueue, type QueuePlace } from './fair-queue.ts'
import { bytesAllowed, bytesNeeded, bytesServed } from './lane-memory.ts'
import {
  type FromLane,
  type LaneQuestion,
  type LaneTask,
  type LaneTaskResult,
  packError,
  unpackError,
} from './lane-messages.ts'
import { laneTarget } from './lane-target.ts'
import { type LaneThread, laneThread } from './lane-thread.ts'
import { machineIdle } from './machine-idle.ts'

export type ThreadLanesOptions = {
  /** The module that a lane runs, and the plain data that it builds its parts from. */
  readonly entry: URL
  readonly data: unknown
  /** As many lanes as there are cores to keep busy. */
  readonly workers: number
  /** What the buffers of all lanes may take. */
  readonly memoryMax: number
  readonly log: Log
}

/** After so long without work a lane and its buffers are given back. */
const idleMsMax = 60_000
const reapMs = 5_000

/** Requests of one job that are on their way outside of a lane's buffers. */
const movedMax = 32

/** A task whose lane died is given to another one, once. */
const triesMax = 2

type Place = QueuePlace<Item>

type JobState = {
  readonly job: LaneJob
  readonly place: Place
  /** Tasks that hold a lane, and those that have left its buffers. */
  heavy: number
  moved: number
  readonly running: Set<Promise<unknown>>
}

type Item = {
  readonly id: number
  readonly state: JobState
  readonly task: LaneTask
  readonly numbers: (count: number) => number
  readonly signal: AbortSignal
  readonly settle: PromiseWithResolvers<LaneTaskResult>
  tries: number
  /** Bytes that it holds outside of its lane's buffers, once it has left them. */
  movedBytes: number | null
}

type Lane = {
  readonly thread: LaneThread
  readonly items: Map<number, Item>
  /** The task that has the buffers. */
  current: Item | null
  bufferBytes: number
  idleSinceMs: number
}

/** Lanes in threads of their own, begun when there is work. Their volumes must be shared ones. */
export function threadLanes(options: ThreadLanesOptions): Lanes {
  const pool = new LanePool(options)
  return {
    open: (job) => pool.open(job),
    [Symbol.asyncDispose]: () => pool.end(),
  }
}

class LanePool {
  readonly #options: ThreadLanesOptions
  readonly #queue = fairQueue<Item>()
  readonly #lanes = new Set<Lane>()
  /** All that were asked for and have not ended. */
  readonly #items = new Set<Item>()
  readonly #ended = new AbortController()
  readonly #target
  /** Taken from the queue, and waiting for memory: nobody goes before it. */
  #next: Item | null = null
  #movedBytes = 0
  #ids = 0

  constructor(options: ThreadLanesOptions) {
    this.#options = options
    this.#target = laneTarget(options.workers, machineIdle())
    void every(reapMs, this.#ended.signal, () => this.#reap())
  }

  open(job: LaneJob): LaneUse {
    const rank = job.kind === 'restore' ? 0 : 1
    const place = this.#queue.join({ project: job.projectId ?? '', rank })
    const state: JobState = { job, place, heavy: 0, moved: 0, running: new Set() }
    return {
      storeWindow: (window, numbers, signal) =>
        this.#run(state, { kind: 'window', window }, numbers, signal) as Promise<WindowResult>,
      restoreExtent: (extent, signal) =>
        this.#run(state, { kind: 'extent', extent }, () => 0, signal) as Promise<ExtentResult>,
      async [Symbol.asyncDispose]() {
        await Promise.allSettled(state.running)
        place.leave()
      },
    }
  }

  async end(): Promise<void> {
    this.#ended.abort()
    const lanes = [...this.#lanes]
    this.#lanes.clear()
    await Promise.all(lanes.map(({ thread }) => thread.end()))
    for (const { settle } of this.#items) settle.reject(lanesEnded())
  }

  #run(
    state: JobState,
    task: LaneTask,
    numbers: Item['numbers'],
    signal: AbortSignal,
  ): Promise<LaneTaskResult> {
    this.#ids += 1
    const settle = Promise.withResolvers<LaneTaskResult>()
    const item: Item = {
      id: this.#ids,
      state,
      task,
      numbers,
      signal,
      settle,
      tries: 0,
      movedBytes: null,
    }
    const onAbort = () => this.#abort(item)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#items.add(item)
    const done = settle.promise.finally(() => {
      this.#items.delete(item)
      signal.removeEventListener('abort', onAbort)
      state.running.delete(done)
    })
    state.running.add(done)
    done.catch(() => {}) // Whoever asked is told.
    if (signal.aborted) settle.reject(signal.reason)
    else if (this.#ended.signal.aborted) settle.reject(lanesEnded())
    else state.place.add(item)
    this.#startWhatCan()
    return done
  }

  #abort(item: Item): void {
    const lane = [...this.#lanes].find(({ items }) => items.has(item.id))
    if (lane !== undefined) {
      lane.thread.send({ kind: 'cancel', id: item.id })
      return
    }
    if (this.#next === item) this.#next = null
    item.state.place.remove(item)
    item.settle.reject(item.signal.reason)
    this.#startWhatCan()
  }

  #startWhatCan(): void {
    while (!this.#ended.signal.aborted && this.#working().length < this.#target.count) {
      this.#next ??= this.#queue.take((_, { state }) => mayRun(state))
      const item = this.#next
      if (item === null) return
      const lane = this.#laneFor(bytesNeeded(item.task))
      if (lane === null) return
      this.#next = null
      this.#start(item, lane)
    }
  }

  #working(): readonly Lane[] {
    return [...this.#lanes].filter(({ current }) => current !== null)
  }

  /** A lane that nobody works in, the largest first, or a new one; null where the memory is taken. */
  #laneFor(bytes: number): Lane | null {
    const free = [...this.#lanes].filter(({ current }) => current === null)
    const best = free.toSorted((a, b) => b.bufferBytes - a.bufferBytes)[0] ?? null
    const bufferBytes = Math.max(bytes, best?.bufferBytes ?? 0)
    if (!this.#makeRoom(best, bufferBytes)) return null
    const lane = best ?? this.#begin()
    lane.bufferBytes = bufferBytes
    return lane
  }

  /**
   * Whether a lane, or a new one, may have so many bytes; lanes without work give theirs back first.
   */
  #makeRoom(lane: Lane | null, bytes: number): boolean {
    const { memoryMax, workers } = this.#options
    const limitBytes = bytesAllowed(memoryMax, this.#working().length, workers)
    const others = () =>
      this.#movedBytes +
      [...this.#lanes].reduce((sum, one) => sum + (one === lane ? 0 : one.bufferBytes), 0)
    if (others() + bytes > limitBytes) {
      for (const one of this.#lanes) if (one !== lane && one.items.size === 0) this.#drop(one)
    }
    return others() === 0 || others() + bytes <= limitBytes
  }

  #start(item: Item, lane: Lane): void {
    const { id, state, task } = item
    const { volume, access } = state.job
    if (volume.shared === null) {
      item.settle.reject(new AgentError('ASSERTION_FAILED', `${volume.path} is not shared`))
      return
    }
    lane.items.set(id, item)
    lane.current = item
    item.tries += 1
    item.movedBytes = null
    state.heavy += 1
    state.place.serve(bytesServed(task))
    const needsAccess = access !== null
    lane.thread.send({ kind: 'task', id, task, volume: volume.shared, needsAccess })
  }

  #begin(): Lane {
    const { entry, data, log } = this.#options
    const thread = laneThread({
      entry,
      data,
      onMessage: (message) => this.#hear(lane, message),
      onLost: (reason) => {
        log.error('a lane died; what it had in hand is done by another one', { error: reason })
        this.#lost(lane)
      },
    })
    const idleSinceMs = monotonicMs()
    const lane: Lane = { thread, items: new Map(), current: null, bufferBytes: 0, idleSinceMs }
    this.#lanes.add(lane)
    return lane
  }

  #hear(lane: Lane, message: FromLane): void {
    const item = lane.items.get(message.id)
    if (item === undefined) return
    switch (message.kind) {
      case 'freed':
        this.#freed(lane, item, message.heldBytes)
        break
      case 'done':
        this.#leave(lane, item)
        this.#target.taskDone(message.idleShare, this.#queue.length > 0)
        if (item.signal.aborted) item.settle.reject(item.signal.reason)
        else item.settle.resolve(message.result)
        break
      case 'failed':
        this.#leave(lane, item)
        item.settle.reject(item.signal.aborted ? item.signal.reason : unpackError(message.error))
        break
      case 'ask':
        void this.#answer(lane, item, message.ask, message.question)
        break
      case 'retrying':
        if (message.isThrottled) this.#target.throttled()
        item.state.job.log.warn('store call failed, trying again', message.fields)
    }
    this.#startWhatCan()
  }

  /** The task needs its lane's buffers no more: the next one may have them. */
  #freed(lane: Lane, item: Item, heldBytes: number): void {
    if (lane.current !== item) return
    lane.current = null
    item.movedBytes = heldBytes
    this.#movedBytes += heldBytes
    item.state.heavy -= 1
    item.state.moved += 1
  }

  #leave(lane: Lane, item: Item): void {
    lane.items.delete(item.id)
    lane.idleSinceMs = monotonicMs()
    if (lane.current === item) {
      lane.current = null
      item.state.heavy -= 1
    } else {
      this.#movedBytes -= item.movedBytes ?? 0
      item.state.moved -= 1
    }
  }

  async #answer(lane: Lane, item: Item, ask: number, question: LaneQuestion): Promise<void> {
    try {
      const value = await answerTo(question, item)
      if (this.#lanes.has(lane)) lane.thread.send({ kind: 'answer', ask, value })
    } catch (error) {
      const refusal = { kind: 'refusal', ask, error: packError(toAgentError(error)) } as const
      if (this.#lanes.has(lane)) lane.thread.send(refusal)
    }
  }

  #lost(lane: Lane): void {
    this.#lanes.delete(lane)
    for (const item of [...lane.items.values()]) {
      this.#leave(lane, item)
      if (item.signal.aborted) item.settle.reject(item.signal.reason)
      else if (item.tries < triesMax) item.state.place.add(item)
      else item.settle.reject(new AgentError('ASSERTION_FAILED', 'the lane of a task died twice'))
    }
    this.#startWhatCan()
  }

  #drop(lane: Lane): void {
    this.#lanes.delete(lane)
    void lane.thread.end()
  }

  #reap(): void {
    const nowMs = monotonicMs()
    for (const lane of this.#lanes) {
      if (lane.items.size === 0 && nowMs - lane.idleSinceMs > idleMsMax) this.#drop(lane)
    }
  }
}

function lanesEnded(): AgentError {
  return new AgentError('AGENT_STOPPING', 'the lanes have ended')
}

function mayRun({ job, heavy, moved }: JobState): boolean {
  return heavy < job.chunksMax && moved < movedMax
}

async function answerTo(question: LaneQuestion, item: Item): Promise<StoreAccess | number> {
  const { numbers, signal, state } = item
  if (question.kind === 'numbers') return numbers(question.count)
  const { access } = state.job
  if (access === null) throw new AgentError('ASSERTION_FAILED', 'the job has no access')
  return question.kind === 'access' ? access.access(signal) : access.renew(question.refused, signal)
}
