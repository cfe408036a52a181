import { backupFromPrimitive } from './adapters/rpc/versioned-object.ts'
import { ancestorIds, type BackupRecord } from './domain/backup-record.ts'
import { AgentError, failReason, reworded, toAgentError } from './domain/errors.ts'
import type { JobRequest, Operation } from './domain/job.ts'
import type { Json } from './domain/json.ts'
import { isCompatible } from './domain/rpc-version.ts'
import { refusalEvent } from './operations/job-events.ts'
import type { JobRunner } from './operations/run-jobs.ts'
import type { Acceptance, Delivery, DeliveryId, Journal } from './ports/journal.ts'
import type { Log } from './ports/log.ts'
import type { Disposition, Publisher, RequestHandler, RpcRequest } from './ports/rpc.ts'
import { isWantedAnew } from './rpc-anew.ts'
import {
  type AnswerDeps,
  type Answering,
  canForceDelete,
  exportRecord,
  getLogLevels,
  publishCapabilities,
  setLogLevels,
} from './rpc-answers.ts'
import { takeDevice } from './rpc-devices.ts'
import { isImportPassedOn } from './rpc-imports.ts'
import { isCancelPassedOn } from './rpc-pass-on.ts'
import { jobRequestOf, refusedJob } from './rpc-requests.ts'

export type HandlerDeps = AnswerDeps & {
  readonly journal: Journal
  readonly runner: JobRunner
  readonly publisher: Pick<Publisher, 'cast'>
  readonly topic: string
  readonly host: string
  /** Keeps a value out of every line of the log from now on. */
  readonly hideSecret: (value: string) => void
  /** A text as the bus and the journal may have it. */
  readonly maskSecrets: (text: string) => string
  readonly signal: AbortSignal
}

/** What we serve. Source: cinder/backup/manager.py, BackupManager.RPC_API_VERSION of 2023.1 on. */
const servedVersion = '2.4'

const tokenLengthMax = 16_384

type Parameter = { readonly name: string; readonly isRequired: boolean }

type Method = { readonly parameters: readonly Parameter[] } & (
  | { readonly operation: Operation }
  | { readonly answer: Answering }
  | { readonly takes: 'device' }
)

const required = (name: string): Parameter => ({ name, isRequired: true })
const optional = (name: string): Parameter => ({ name, isRequired: false })

// The closed list of what can be asked of us (see docs/rpc.md).
const methods: Readonly<Record<string, Method>> = {
  create_backup: {
    operation: 'create',
    parameters: [required('backup'), optional('volume_meta')],
  },
  continue_backup: {
    takes: 'device',
    parameters: [required('backup'), required('backup_device')],
  },
  restore_backup: {
    operation: 'restore',
    parameters: [required('backup'), required('volume_id'), optional('volume_is_new')],
  },
  delete_backup: {
    operation: 'delete',
    parameters: [required('backup'), optional('passed_on')],
  },
  check_support_to_force_delete: { parameters: [], answer: canForceDelete },
  publish_service_capabilities: { parameters: [], answer: publishCapabilities },
  reset_status: {
    operation: 'reset_status',
    parameters: [required('backup'), required('status'), optional('passed_on')],
  },
  import_record: {
    operation: 'import',
    parameters: [
      ...[required('backup'), required('backup_service'), required('backup_url')],
      optional('backup_hosts'),
    ],
  },
  export_record: { parameters: [required('backup')], answer: exportRecord },
  get_log_levels: { parameters: [required('log_request')], answer: getLogLevels },
  set_log_levels: { parameters: [required('log_request')], answer: setLogLevels },
}

/** Turns a request into a job of the journal or an answer. Rejects as `RequestHandler` says. */
export function requestHandler(deps: HandlerDeps): RequestHandler {
  return async (request) => {
    if (request.context.authToken !== null) hideToken(request.context.authToken, deps)
    deps.log.debug('request received', {
      method: cut(request.method),
      requestId: request.context.requestId,
      source: request.source,
    })
    const method = methodOf(request, deps)
    checkArguments(request, method, deps.log)
    if ('answer' in method) {
      return { kind: 'answered', result: await method.answer(request, deps) }
    }
    if ('takes' in method) return takeDevice(request, deliveryId(request), deps)
    return acceptJob(request, method.operation, deps)
  }
}

/**
 * The log keeps the last thousand tokens to hide them: a few megabytes of each would be gigabytes. No service
 * takes such a token, for it would not fit into a header.
 */
function hideToken(token: string, { hideSecret }: HandlerDeps): void {
  if (token.length > tokenLengthMax) {
    throw new AgentError(
      'ARGUMENT_INVALID',
      `the request's auth_token has ${token.length} characters, ${tokenLengthMax} at most are taken`,
    )
  }
  hideSecret(token)
}

/** The texts are oslo's own. Source: oslo_messaging/rpc/dispatcher.py. */
function methodOf(
  { method: name, namespace, version }: RpcRequest,
  { rows }: Pick<HandlerDeps, 'rows'>,
): Method {
  if (namespace !== null || !isCompatible(servedVersion, version)) {
    throw new AgentError(
      'VERSION_UNSUPPORTED',
      `Endpoint does not support RPC version ${cut(version)}. Attempted method: ${cut(name)}`,
    )
  }
  const method = Object.hasOwn(methods, name) ? methods[name] : undefined
  // Nobody who keeps records with requests was ever asked for a device.
  const isServed = method !== undefined && (rows !== null || !('takes' in method))
  if (!isServed) {
    throw new AgentError('METHOD_UNKNOWN', `Endpoint does not support RPC method ${cut(name)}`)
  }
  return method
}

/** A name from a stranger, as far as a log line needs it. */
function cut(name: string): string {
  return name.length > 80 ? `${name.slice(0, 80)}…` : name
}

function checkArguments({ method: name, args }: RpcRequest, { parameters }: Method, log: Log) {
  for (const { name: parameter, isRequired } of parameters) {
    if (!isRequired || Object.hasOwn(args, parameter)) continue
    throw new AgentError(
      'ARGUMENT_MISSING',
      `${name}() missing 1 required positional argument: '${parameter}'`,
    )
  }
  const known = parameters.map((parameter) => parameter.name)
  const unknown = Object.keys(args).filter((argument) => !known.includes(argument))
  if (unknown.length === 0) return
  log.warn('unknown arguments ignored', { method: name, arguments: unknown.slice(0, 8).map(cut) })
}

async function acceptJob(
  request: RpcRequest,
  operation: Operation,
  deps: HandlerDeps,
): Promise<Disposition> {
  const id = deliveryId(request)
  let jobRequest: JobRequest
  let acceptance: Acceptance
  try {
    const asked = await judge(request, operation, deps)
    if ('kind' in asked) return asked
    jobRequest = asked
    const isAnew = await isWantedAnew(jobRequest, deps)
    acceptance = accept(request, { id, isAnew }, jobRequest, deps)
  } catch (thrown) {
    if (deps.signal.aborted) {
      throw new AgentError('AGENT_STOPPING', 'the agent is stopping: the request stays queued')
    }
    const error = reworded(toAgentError(thrown), deps.maskSecrets)
    if (refuse(request, operation, id, error, deps)) throw error
    return { kind: 'ignored' }
  }
  return takeInHand(acceptance, jobRequest, deps)
}

/**
 * The job that is asked for, or what became of the request instead. Rejects where it is refused; where
 * rows wait for an answer it becomes a job that fails, so that they get it.
 */
async function judge(
  request: RpcRequest,
  operation: Operation,
  deps: HandlerDeps,
): Promise<JobRequest | Disposition> {
  try {
    if (operation === 'import' && (await isImportPassedOn(request, deps))) {
      return { kind: 'ignored' }
    }
    const jobRequest = jobRequestOf(request, operation, deps)
    if (await isCancelPassedOn(request, jobRequest, deps)) return { kind: 'ignored' }
    if (isNothingToReset(jobRequest, deps)) return { kind: 'answered', result: null }
    if (operation === 'reset_status') checkReset(jobRequest, deps.runner)
    // What is available by its row may have its last writes in the journal before it: who asks then waits for them.
    else if (deps.rows === null || operation === 'delete') checkHands(jobRequest, deps.runner)
    return jobRequest
  } catch (thrown) {
    const error = reworded(toAgentError(thrown), deps.maskSecrets)
    const isFinal = error.code !== 'BROKER_UNAVAILABLE' && error.code !== 'JOURNAL_UNAVAILABLE'
    const hasRow = deps.rows !== null && operation !== 'reset_status'
    const failing = hasRow && isFinal ? refusedJob(request, operation, error) : null
    if (failing === null || deps.signal.aborted) throw error
    return failing
  }
}

function accept(
  { context, replyTo }: RpcRequest,
  known: Pick<Delivery, 'id' | 'isAnew'>,
  request: JobRequest,
  { journal, log }: HandlerDeps,
): Acceptance {
  const acceptance = journal.accept({
    ...known,
    request,
    context,
    replyTo: replyTo?.kind === 'oslo' ? replyTo : null,
  })
  const { record } = request.backup
  if (acceptance.kind === 'exists') {
    throw new AgentError(
      'BACKUP_INVALID_STATE',
      `cannot create backup ${record.id}: it is available already; delete it first, or choose another id`,
      { backupId: record.id },
    )
  }
  log.info('request accepted', {
    request_id: context.requestId,
    backup_id: record.id,
    volume_id: request.targetVolumeId ?? record.volume_id,
    operation: request.operation,
    as: acceptance.kind,
  })
  return acceptance
}

function takeInHand(
  acceptance: Acceptance,
  { backup }: JobRequest,
  { runner }: HandlerDeps,
): Disposition {
  const accepted = (jobId: string): Disposition => {
    return { kind: 'accepted', jobId, backupId: backup.record.id }
  }
  switch (acceptance.kind) {
    case 'exists':
      return { kind: 'ignored' }
    case 'repeated': // Whoever sent it may have missed the answer.
      return acceptance.jobId === null ? { kind: 'ignored' } : accepted(acceptance.jobId)
    case 'ended-well':
      return accepted(acceptance.jobId)
    case 'joined':
      runner.watch(acceptance.job.id)
      runner.renew(acceptance.job.id)
      return accepted(acceptance.job.id)
    case 'new':
      runner.take(acceptance.job)
      return accepted(acceptance.job.id)
  }
}

/** A body without `_unique_id` is known again only where the broker says that it redelivers. */
function deliveryId({ uniqueId, bodySha256, redelivered }: RpcRequest): DeliveryId {
  return uniqueId === null
    ? { key: `sha256:${bodySha256}`, identifies: redelivered }
    : { key: uniqueId, identifies: true }
}

/**
 * One backup cannot be made, restored and deleted at once; a delete cancels the others. What others
 * in hand build on is not deleted, and nothing is built on what comes or goes.
 */
function checkHands({ operation, backup }: JobRequest, runner: JobRunner): void {
  const { id } = backup.record
  if (operation === 'delete') {
    const [other] = runner.buildingOn(id)
    if (other === undefined) return
    const { request } = other
    throw inHand(
      id,
      `cannot delete backup ${id}: the ${request.operation} of backup ${request.backup.record.id}, which builds on it, is in hand here`,
    )
  }
  const own = runner
    .inHand(id)
    .find(({ request: other }) => ![operation, 'reset_status'].includes(other.operation))
  if (own !== undefined) {
    throw inHand(
      id,
      `cannot ${operation} backup ${id}: its ${own.request.operation} is in hand here`,
    )
  }
  for (const ancestorId of ancestorIds(backup)) {
    const other = runner
      .inHand(ancestorId)
      .find(({ request: { operation: its } }) => its !== 'restore' && its !== 'reset_status')
    if (other === undefined) continue
    throw inHand(
      id,
      `cannot ${operation} backup ${id}: the ${other.request.operation} of backup ${ancestorId}, on which it builds, is in hand here`,
    )
  }
}

/** A delete goes on to its end, and what is made or imported is not available by a word. */
function checkReset({ backup, newStatus }: JobRequest, runner: JobRunner): void {
  const { id } = backup.record
  const other = runner.inHand(id).find(({ request: { operation } }) => {
    return operation === 'delete' || (newStatus === 'available' && isMaking(operation))
  })
  if (other === undefined) return
  const { operation } = other.request
  throw inHand(
    id,
    `cannot reset the status of backup ${id} to ${newStatus}: its ${operation} is in hand here`,
  )
}

function isMaking(operation: Operation): boolean {
  return operation === 'create' || operation === 'import'
}

/** A record that names no driver has nothing here, and Cinder leaves it alone. Source: cinder/backup/manager.py. */
function isNothingToReset(
  { operation, backup }: JobRequest,
  { runner, log }: HandlerDeps,
): boolean {
  const { id, service } = backup.record
  if (operation !== 'reset_status' || service !== null || runner.inHand(id).length > 0) return false
  log.warn('status not reset: the record names no backup service', { backup_id: id })
  return true
}

function inHand(backupId: string, what: string): AgentError {
  const message = `${what}; ask again when that has ended`
  return new AgentError('BACKUP_INVALID_STATE', message, { backupId })
}

/** Notes a refusal with its event, once; false where this very delivery was accepted before. */
function refuse(
  { args, context }: RpcRequest,
  operation: Operation,
  id: DeliveryId,
  error: AgentError,
  { journal, host }: HandlerDeps,
): boolean {
  if (error.code === 'JOURNAL_UNAVAILABLE' || error.code === 'BROKER_UNAVAILABLE') return true
  const asked = readableRecord(args['backup'] ?? null)
  if (asked === null) return journal.refuse(id, null)
  // Of an import the sender's new record has failed, as in Cinder; what we know of that backup has not.
  const isNew = operation === 'import' && error.code !== 'BACKUP_INVALID_STATE'
  const record = isNew
    ? { ...asked, status: 'error' as const, fail_reason: failReason(error) }
    : (journal.record(asked.id) ?? asked)
  const told = { ...record, host: record.host ?? host }
  return journal.refuse(id, refusalEvent(operation, told, context, error))
}

/** The record as it was sent, if it can be read. */
function readableRecord(backup: Json): BackupRecord | null {
  try {
    return backupFromPrimitive(backup).record
  } catch {
    return null
  }
}
