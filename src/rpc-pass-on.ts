import type { BackupRecord } from './domain/backup-record.ts'
import { AgentError } from './domain/errors.ts'
import type { JobRequest } from './domain/job.ts'
import type { JsonObject } from './domain/json.ts'
import type { JobRunner } from './operations/run-jobs.ts'
import type { Log } from './ports/log.ts'
import type { Publisher, RpcRequest } from './ports/rpc.ts'

// Requests that another agent is to serve go to that agent's own queue, as they came.

export type PassOnDeps = {
  readonly publisher: Pick<Publisher, 'cast'>
  readonly topic: string
  readonly host: string
  readonly runner: Pick<JobRunner, 'inHand'>
  readonly log: Log
  readonly signal: AbortSignal
}

/** A broker that takes no messages must not keep a delivery here: others may have it then. */
const passOnMsMax = 10_000

/**
 * Decision D23: a cancel that came by the shared topic goes to the host that does the work. Where
 * that host takes no messages, it is done here.
 */
export async function isCancelPassedOn(
  request: RpcRequest,
  { operation, backup }: JobRequest,
  deps: PassOnDeps,
): Promise<boolean> {
  const { host, runner, log } = deps
  const { record } = backup
  const isCancel = operation === 'delete' || operation === 'reset_status'
  if (!isCancel || request.source !== 'topic') return false
  if (record.status !== 'creating' && record.status !== 'restoring') return false
  if (record.host === null || record.host === host || request.args['passed_on'] === true)
    return false
  if (runner.inHand(record.id).length > 0) return false
  const args = { ...request.args, passed_on: true }
  const isTaken = await passOn(request, record, record.host, args, deps)
  const { requestId } = request.context
  const fields = { backup_id: record.id, to: record.host, request_id: requestId }
  if (isTaken) log.info('cancel passed on', fields)
  else log.warn('cancel done here: the host that has the backup takes no messages', fields)
  return isTaken
}

/** Casts to a host; resolves to whether it takes messages. Rejects with BROKER_UNAVAILABLE. */
export async function passOn(
  { method, version, context, replyTo, uniqueId, bodySha256 }: RpcRequest,
  { id }: Pick<BackupRecord, 'id'>,
  to: string,
  args: JsonObject,
  { publisher, topic, signal }: Pick<PassOnDeps, 'publisher' | 'topic' | 'signal'>,
): Promise<boolean> {
  const cast = {
    ...{ method, version, args, context, replyTo },
    uniqueId: uniqueId ?? bodySha256.slice(0, 32), // The same again where this is delivered again.
  }
  const tooLong = AbortSignal.timeout(passOnMsMax)
  try {
    return await publisher.cast({ topic, server: to }, cast, AbortSignal.any([signal, tooLong]))
  } catch (error) {
    if (!tooLong.aborted) throw error
    throw new AgentError(
      'BROKER_UNAVAILABLE',
      `cannot pass the ${method} of backup ${id} on to ${to}: no confirm in ${passOnMsMax / 1000} s; it is put back into the queue`,
    )
  }
}
