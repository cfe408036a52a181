import { AgentError } from '../../domain/errors.ts'
import { orAborted } from '../../lib/aborted.ts'
import { delay, monotonicMs } from '../../lib/clock.ts'
import type { SqlConnection, SqlServer } from './sql-server.ts'

export type PoolOptions = {
  /** Connections at once; those who find none wait in their order. */
  readonly connectionsMax: number
  /** A connection that nobody used for so long is closed. */
  readonly idleMs: number
  /** One older than this is not used again. */
  readonly recycleMs: number
}

export interface SqlPool extends AsyncDisposable {
  /**
   * Runs `work` with a connection, alone. It is kept for the next one where all went well. When
   * `signal` aborts it is closed at once, and the promise rejects with the signal's reason.
   */
  use<T>(signal: AbortSignal, work: (connection: SqlConnection) => Promise<T>): Promise<T>
}

type Held = { readonly connection: SqlConnection; readonly madeMs: number; usedMs: number }

/** A few connections, made when they are needed. */
export function sqlPool(server: SqlServer, options: PoolOptions): SqlPool {
  const stop = new AbortController()
  const idle: Held[] = []
  const turns = turnstile(options.connectionsMax)
  let sweeping: Promise<void> | null = null

  const isFresh = ({ connection, madeMs, usedMs }: Held) => {
    const nowMs = monotonicMs()
    const isYoung = nowMs - madeMs < options.recycleMs && nowMs - usedMs < options.idleMs
    return isYoung && !connection.isClosed
  }
  const closeOld = () => {
    for (const held of idle.splice(0)) {
      if (isFresh(held)) idle.push(held)
      else held.connection.end()
    }
  }
  const sweep = async () => {
    while (idle.length > 0) {
      await delay(options.idleMs / 2, stop.signal)
      closeOld()
    }
  }
  const taken = async (signal: AbortSignal): Promise<Held> => {
    closeOld()
    const held = idle.pop()
    if (held !== undefined) return held
    const connection = await server.connect(signal)
    return { connection, madeMs: monotonicMs(), usedMs: monotonicMs() }
  }
  const keep = (held: Held) => {
    held.usedMs = monotonicMs()
    if (stop.signal.aborted || held.connection.isClosed) return held.connection.end()
    idle.push(held)
    sweeping ??= sweep()
      .catch(() => undefined)
      .finally(() => {
        sweeping = null
      })
  }

  const use = async <T>(signal: AbortSignal, work: (connection: SqlConnection) => Promise<T>) => {
    const either = AbortSignal.any([signal, stop.signal])
    await turns.enter(either)
    try {
      const held = await taken(either)
      const onAbort = () => held.connection.destroy()
      either.addEventListener('abort', onAbort, { once: true })
      try {
        either.throwIfAborted()
        const result = await work(held.connection)
        keep(held)
        return result
      } catch (error) {
        // After a failure nobody knows what it still holds: a transaction, an answer under way.
        held.connection.destroy()
        throw error
      } finally {
        either.removeEventListener('abort', onAbort)
      }
    } catch (error) {
      either.throwIfAborted()
      throw error
    } finally {
      turns.leave()
    }
  }

  return {
    use,
    [Symbol.asyncDispose]: async () => {
      stop.abort(new AgentError('AGENT_STOPPING', 'the connections to the database were closed'))
      for (const { connection } of idle.splice(0)) connection.end()
      await sweeping
    },
  }
}

/** Lets so many in at once; the others wait in their order. */
function turnstile(inUseMax: number) {
  const waiting: (() => void)[] = []
  let inUse = 0
  const leave = () => {
    const next = waiting.shift()
    if (next === undefined) inUse -= 1
    else next() // Its turn, which nobody else gets meanwhile.
  }
  const enter = async (signal: AbortSignal) => {
    signal.throwIfAborted()
    if (inUse < inUseMax) {
      inUse += 1
      return
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    waiting.push(resolve)
    try {
      await orAborted(promise, signal)
    } catch (reason) {
      const place = waiting.indexOf(resolve)
      if (place === -1) leave()
      else waiting.splice(place, 1)
      throw reason
    }
  }
  return { enter, leave }
}
