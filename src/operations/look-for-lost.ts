import type { BackupRecord } from '../domain/backup-record.ts'
import { monotonicMs } from '../lib/clock.ts'
import { every } from '../lib/every.ts'
import type { Log } from '../ports/log.ts'
import type { RpcServer } from '../ports/rpc.ts'

type Deps = {
  readonly server: Pick<RpcServer, 'session' | 'isDrained'>
  readonly left: (signal: AbortSignal) => Promise<readonly BackupRecord[]>
  readonly sweep: (left: readonly BackupRecord[], signal: AbortSignal) => Promise<void>
  /**
   * By then whoever asked has sent its request. `soonMs` holds for what the API itself sends to this host, at
   * the start; `lateMs` for a create, which a scheduler sends on, and wherever the broker was away.
   */
  readonly soonMs: number
  readonly lateMs: number
  readonly lookMs: number
  /** A first connection after that (`monotonicMs`) says that the broker was away at the start. */
  readonly promptUntilMs: number
  readonly log: Log
}

/**
 * Cinder's queues are not durable, and what is sent while they are not there is dropped: a broker that is
 * restarted loses requests whose rows say that this host works on them; so does a service that dies after it
 * took one. Of each connection that takes requests the rows are read once, when it takes them. What is still so
 * after the grace time, of the same connection, with nothing waiting in the queue or in hand at two looks, has
 * no request any more, and is ended. Where any of that is not so, the rows are left alone.
 */
export async function lookForLost(deps: Deps, signal: AbortSignal): Promise<void> {
  const { server, lookMs, log } = deps
  let seen: Seen | null = null
  await every(lookMs, signal, async () => {
    const { session } = server
    if (session === null) return
    try {
      if (seen?.session === session) await lookAgain(seen, deps, signal)
      else {
        const isPrompt = seen === null && monotonicMs() < deps.promptUntilMs
        const left = await deps.left(signal)
        seen = { session, isPrompt, sinceMs: monotonicMs(), left, wasDrained: false }
      }
    } catch (error) {
      if (!signal.aborted) log.error('the look for lost requests failed', { error })
    }
  })
}

type Seen = {
  readonly session: number
  /** Taken at the start, with no outage before it that is known of. */
  readonly isPrompt: boolean
  readonly sinceMs: number
  left: readonly BackupRecord[]
  wasDrained: boolean
}

async function lookAgain(seen: Seen, deps: Deps, signal: AbortSignal): Promise<void> {
  const { server, sweep, soonMs, lateMs } = deps
  const waitedMs = monotonicMs() - seen.sinceMs
  const isDue = ({ status }: BackupRecord) =>
    waitedMs >= (seen.isPrompt && status !== 'creating' ? soonMs : lateMs)
  const due = seen.left.filter(isDue)
  if (due.length === 0) return
  const isDrained = await server.isDrained()
  const isSure = isDrained && seen.wasDrained && server.session === seen.session
  seen.wasDrained = isDrained
  if (!isSure) return
  await sweep(due, signal)
  seen.left = seen.left.filter((row) => !due.includes(row))
}
