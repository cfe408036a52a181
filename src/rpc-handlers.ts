import { backupFromPrimitive } from './adapters/rpc/versioned-object.ts'
import { ancestorIds, type BackupRecord, type BackupWithParents } from './domain/backup-record.ts'
import { AgentError, toAgentError } from './domain/errors.ts'
import type { JobRequest, Operation } from './domain/job.ts'
import type { Json, JsonObject } from './domain/json.ts'
import { checkAsked, mergeKnown } from './domain/request-check.ts'
import type { RequestContext } from './domain/request-context.ts'
import { isCompatible } from './domain/rpc-version.ts'
import { isUuid } from './domain/uuid.ts'
import { volumeMetaText } from './domain/volume-meta.ts'
import { refusalEvent } from './operations/job-events.ts'
import type { JobRunner } from './operations/run-jobs.ts'
import type { Acceptance, DeliveryId, Journal } from './ports/journal.ts'
import type { Log } from './ports/log.ts'
import type { Disposition, Publisher, RequestHandler, RpcRequest } from './ports/rpc.ts'

export type HandlerDeps = {
  readonly journal: Journal
  readonly runner: JobRunner
  readonly publisher: Pick<Publisher, 'cast'>
  readonly topic: string
  readonly host: string
  /** Upstream's class path of our driver. */
  readonly service: string
  /** Throws where no store could be opened for the caller. */
  readonly checkStore: (context: RequestContext) => void
  /** Lets the scheduler be told soon of what we can do; nobody waits for it. */
  readonly publishCapabilities: () => void
  /** Keeps a value out of every line of the log from now on. */
  readonly hideSecret: (value: string) => void
  readonly log: Log
  readonly signal: AbortSignal
}

/** What we serve. Source: cinder/backup/manager.py, BackupManager.RPC_API_VERSION of 2023.1 on. */
const servedVersion = '2.4'

type Parameter = { readonly name: string; readonly isRequired: boolean }

type Method = { readonly parameters: readonly Parameter[] } & (
  | { readonly operation: Operation }
  | { readonly answer: (request: RpcRequest, deps: HandlerDeps) => Promise<Json> }
)

const required = (name: string): Parameter => ({ name, isRequired: true })
const optional = (name: string): Parameter => ({ name, isRequired: false })

// The closed list of what can be asked of us (see docs/rpc.md).
const methods: Readonly<Record<string, Method>> = {
  create_backup: {
    operation: 'create',
    parameters: [required('backup'), optional('volume_meta')],
  },
  restore_backup: {
    operation: 'restore',
    parameters: [required('backup'), required('volume_id'), optional('volume_is_new')],
  },
  delete_backup: {
    operation: 'delete',
    parameters: [required('backup'), optional('passed_on')],
  },
  check_support_to_force_delete: {
    parameters: [],
    answer: async ({ context }, { checkStore }) => {
      checkStore(context)
      return true // Every chunked driver can. Source: cinder/backup/chunkeddriver.py.
    },
  },
  publish_service_capabilities: {
    parameters: [],
    answer: async (_request, { publishCapabilities }) => {
      publishCapabilities()
      return null
    },
  },
}

/** Turns a request into a job of the journal or an answer. Rejects as `RequestHandler` says. */
export function requestHandler(deps: HandlerDeps): RequestHandler {
  return async (request) => {
    if (request.context.authToken !== null) deps.hideSecret(request.context.authToken)
    const method = methodOf(request)
    checkArguments(request, method, deps.log)
    if ('answer' in method) {
      return { kind: 'answered', result: await method.answer(request, deps) }
    }
    return acceptJob(request, method.operation, deps)
  }
}

/** The texts are oslo's own. Source: oslo_messaging/rpc/dispatcher.py. */
function methodOf({ method: name, namespace, version }: RpcRequest): Method {
  if (namespace !== null || !isCompatible(servedVersion, version)) {
    throw new AgentError(
      'VERSION_UNSUPPORTED',
      `Endpoint does not support RPC version ${cut(version)}. Attempted method: ${cut(name)}`,
    )
  }
  const method = Object.hasOwn(methods, name) ? methods[name] : undefined
  if (method === undefined) {
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
    jobRequest = jobRequestOf(request, operation, deps)
    if (await isPassedOn(request, jobRequest, deps)) return { kind: 'ignored' }
    checkHands(jobRequest, deps.runner)
    acceptance = accept(request, id, jobRequest, deps)
  } catch (error) {
    if (deps.signal.aborted) {
      throw new AgentError('AGENT_STOPPING', 'the agent is stopping: the request stays queued')
    }
    if (refuse(request, operation, id, toAgentError(error), deps)) throw error
    return { kind: 'ignored' }
  }
  return takeInHand(acceptance, jobRequest, deps)
}

function accept(
  { context, replyTo }: RpcRequest,
  id: DeliveryId,
  request: JobRequest,
  { journal, log }: HandlerDeps,
): Acceptance {
  const acceptance = journal.accept({
    id,
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

function jobRequestOf(
  { args, context }: RpcRequest,
  operation: Operation,
  { journal, service }: HandlerDeps,
): JobRequest {
  const asked = backupFromPrimitive(args['backup'] ?? null)
  const known = journal.record(asked.record.id)
  checkAsked({ operation, asked: asked.record, known, context, service })
  const targetVolumeId = operation === 'restore' ? uuidArgument(args, 'volume_id') : null
  const merged = mergeKnown(operation, asked.record, known)
  const backup: BackupWithParents = {
    ...asked,
    // Cinder's API notes it; so that the events of two restores can be told apart, so do we.
    record: targetVolumeId === null ? merged : { ...merged, restore_volume_id: targetVolumeId },
  }
  return {
    operation,
    backup,
    targetVolumeId,
    volumeIsNew: operation === 'restore' && booleanArgument(args, 'volume_is_new'),
    volumeMeta: operation === 'create' ? volumeMetaText(args['volume_meta'] ?? null) : null,
  }
}

function uuidArgument(args: JsonObject, name: string): string {
  const value = args[name]
  if (isUuid(value)) return value.toLowerCase()
  throw new AgentError(
    'ARGUMENT_INVALID',
    `${name} must be a uuid, got ${JSON.stringify(value ?? null).slice(0, 80)}`,
  )
}

function booleanArgument(args: JsonObject, name: string): boolean {
  const value = args[name] ?? false
  if (typeof value === 'boolean') return value
  throw new AgentError(
    'ARGUMENT_INVALID',
    `${name} must be true or false, got ${JSON.stringify(value).slice(0, 80)}`,
  )
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
  const own = runner.inHand(id).find(({ request }) => request.operation !== operation)
  if (own !== undefined) {
    throw inHand(
      id,
      `cannot ${operation} backup ${id}: its ${own.request.operation} is in hand here`,
    )
  }
  for (const ancestorId of ancestorIds(backup)) {
    const other = runner.inHand(ancestorId).find(({ request }) => request.operation !== 'restore')
    if (other === undefined) continue
    throw inHand(
      id,
      `cannot ${operation} backup ${id}: the ${other.request.operation} of backup ${ancestorId}, on which it builds, is in hand here`,
    )
  }
}

function inHand(backupId: string, what: string): AgentError {
  const message = `${what}; ask again when that has ended`
  return new AgentError('BACKUP_INVALID_STATE', message, { backupId })
}

/** A broker that takes no messages must not keep a delivery here: others may have it then. */
const passOnMsMax = 10_000

/**
 * Decision D23: a cancel that came by the shared topic goes to the host that does the work. Where
 * that host takes no messages, it is done here.
 */
async function isPassedOn(
  request: RpcRequest,
  { operation, backup }: JobRequest,
  deps: HandlerDeps,
): Promise<boolean> {
  const { host, topic, runner, publisher, signal, log } = deps
  const { record } = backup
  if (operation !== 'delete' || request.source !== 'topic') return false
  if (record.status !== 'creating' && record.status !== 'restoring') return false
  if (record.host === null || record.host === host || request.args['passed_on'] === true)
    return false
  if (runner.inHand(record.id).length > 0) return false
  const { method, version, args, context, replyTo, uniqueId, bodySha256 } = request
  const cast = {
    method,
    version,
    args: { ...args, passed_on: true },
    context,
    replyTo,
    uniqueId: uniqueId ?? bodySha256.slice(0, 32), // The same again where this is delivered again.
  }
  const tooLong = AbortSignal.timeout(passOnMsMax)
  const isTaken = await publisher
    .cast({ topic, server: record.host }, cast, AbortSignal.any([signal, tooLong]))
    .catch((error: unknown) => {
      if (!tooLong.aborted) throw error
      throw new AgentError(
        'BROKER_UNAVAILABLE',
        `cannot pass the cancel of backup ${record.id} on to ${record.host}: no confirm in ${passOnMsMax / 1000} s; it is put back into the queue`,
      )
    })
  const fields = { backup_id: record.id, to: record.host, request_id: context.requestId }
  if (isTaken) log.info('cancel passed on', fields)
  else log.warn('cancel done here: the host that has the backup takes no messages', fields)
  return isTaken
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
  const record = readableRecord(args['backup'] ?? null, journal)
  const event =
    record === null
      ? null
      : refusalEvent(operation, { ...record, host: record.host ?? host }, context, error)
  return journal.refuse(id, event)
}

/** The record that a refusal speaks of: as the journal has it, else as it was sent, if it can be read. */
function readableRecord(backup: Json, journal: Journal): BackupRecord | null {
  try {
    const { record } = backupFromPrimitive(backup)
    return journal.record(record.id) ?? record
  } catch {
    return null
  }
}
