import { randomUUID } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import process from 'node:process'

import { loginFromEnvironment } from '../adapters/identity/user-login.ts'
import { winstonLog } from '../adapters/log/winston-log.ts'
import { connectScheduler, type SchedulerBus } from '../adapters/rpc/rabbit-scheduler.ts'
import { backupFromPrimitive, backupToPrimitive } from '../adapters/rpc/versioned-object.ts'
import { loadConfig } from '../config.ts'
import type { BackupRecord, BackupWithParents } from '../domain/backup-record.ts'
import { AgentError, errorCodes } from '../domain/errors.ts'
import type { Operation } from '../domain/job.ts'
import { isJsonObject, type Json, type JsonObject } from '../domain/json.ts'
import type { RequestContext } from '../domain/request-context.ts'
import { recordTime } from '../lib/time-text.ts'
import { exitCodeOf } from './exit-codes.ts'
import { type Heard, heard, isEndedWell, recordIn } from './follow-events.ts'
import { jsonScreen, plainScreen, type Screen } from './send-screen.ts'

const backupTopic = 'cinder-backup'

/** How and where a request is sent. */
export type SendOptions = {
  readonly configFiles: readonly string[]
  readonly configDirs: readonly string[]
  /** The agent's `host`; null: whoever serves the shared topic. */
  readonly host: string | null
  readonly json: boolean
  readonly wait: boolean
  /** Seconds; null: as long as it takes. */
  readonly timeout: number | null
}

/** What is sent. `recordFile` is written from each event that carries the record. */
export type SendRequest = {
  readonly method: string
  readonly args: (context: RequestContext) => JsonObject
  readonly operation: Operation | null
  readonly backupId: string | null
  readonly recordFile: string | null
}

export type CreateOptions = {
  readonly volumeId: string
  readonly backupId: string | null
  readonly snapshotId: string | null
  readonly parentFile: string | null
  readonly container: string | null
  readonly size: number | null
  readonly recordFile: string
}

/** How long an agent may take to say that it has the request. */
const acceptanceSeconds = 60

export function createRequest(options: CreateOptions): SendRequest {
  const backupId = options.backupId ?? randomUUID()
  const parent = options.parentFile === null ? null : readRecord(options.parentFile)
  return {
    method: 'create_backup',
    operation: 'create',
    backupId,
    recordFile: options.recordFile,
    args: (context) => ({
      backup: backupToPrimitive({ record: newRecord(backupId, options, context, parent), parent }),
    }),
  }
}

export function restoreRequest(
  recordFile: string,
  volumeId: string,
  volumeIsNew: boolean,
): SendRequest {
  const { record, parent } = readRecord(recordFile)
  const backup: BackupWithParents = { record: { ...record, status: 'restoring' }, parent }
  return {
    method: 'restore_backup',
    operation: 'restore',
    backupId: backup.record.id,
    recordFile,
    args: () => ({
      backup: backupToPrimitive(backup),
      volume_id: volumeId,
      volume_is_new: volumeIsNew,
    }),
  }
}

/** The record keeps its status: one that is `creating` or `restoring` makes the delete a cancel. */
export function deleteRequest(recordFile: string): SendRequest {
  const backup = readRecord(recordFile)
  return {
    method: 'delete_backup',
    operation: 'delete',
    backupId: backup.record.id,
    recordFile,
    args: () => ({ backup: backupToPrimitive(backup) }),
  }
}

/** Any method with any arguments. Throws ARGUMENT_INVALID where they are no JSON object. */
export function plainRequest(method: string, argsText: string): SendRequest {
  let args: unknown
  try {
    args = JSON.parse(argsText)
  } catch (error) {
    throw new AgentError('ARGUMENT_INVALID', `--args is not JSON: ${(error as Error).message}`)
  }
  if (!isJsonObject(args)) throw new AgentError('ARGUMENT_INVALID', '--args is not a JSON object')
  const known = args
  return { method, operation: null, backupId: null, recordFile: null, args: () => known }
}

/**
 * Sends a request as a scheduler would and, unless told not to wait, follows its notifications to the
 * end. Resolves to the exit code: 0 only where it ended well.
 */
export async function send(request: SendRequest, options: SendOptions): Promise<number> {
  const { configFiles: files, configDirs: dirs } = options
  const { config } = loadConfig({ files, dirs, env: process.env })
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => stop.abort(new AgentError('OPERATION_CANCELLED', 'interrupted')))
  }
  const context = await contextFor(stop.signal)
  await using bus = await connectScheduler(
    {
      transportUrl: config.transport.url,
      rabbit: config.rabbit,
      declare: config.declare,
      controlExchange: config.transport.controlExchange,
      notificationTopics: config.notifications.topics,
    },
    winstonLog({ ...config.log, level: 'error' }),
    stop.signal,
  )
  const screen = options.json ? jsonScreen() : plainScreen()
  const end = endOf(request, bus, screen)

  const { method, backupId, operation } = request
  const answer = await bus.request(
    { topic: backupTopic, server: options.host },
    { method, args: request.args(context), context },
    AbortSignal.any([stop.signal, deadline(acceptanceSeconds, 'no agent answered')]),
  )
  screen.accepted(method, backupId, answer)
  if (operation === null || !options.wait) return 0
  const last = await orAbort(
    end,
    AbortSignal.any([
      stop.signal,
      deadline(options.timeout, 'the operation has not ended (it goes on)'),
    ]),
  )
  const isWell = isEndedWell(last, operation)
  screen.done(last, isWell)
  if (isWell) return 0
  const { code } = last.payload
  return exitCodeOf(errorCodes.find((known) => known === code) ?? 'OPERATION_CANCELLED')
}

/** Resolves with the event that ends the operation; shows what comes before and keeps the record. */
function endOf(
  { operation, backupId, recordFile }: SendRequest,
  bus: SchedulerBus,
  screen: Screen,
): Promise<Heard> {
  const { promise, resolve, reject } = Promise.withResolvers<Heard>()
  promise.catch(() => undefined) // Whoever does not wait for it does not want its failure either.
  bus.listen((event) => {
    if (operation === null || backupId === null) return
    const news = heard(event, operation, backupId)
    if (news === null) return
    screen.heard(news)
    const record = recordIn(news.payload)
    if (record !== null && recordFile !== null) writeRecord(recordFile, record)
    if (news.kind === 'ended' || news.kind === 'failed') resolve(news)
  }, reject)
  return promise
}

async function contextFor(signal: AbortSignal): Promise<RequestContext> {
  const login = await loginFromEnvironment(process.env, signal)
  return {
    requestId: `req-${randomUUID()}`,
    globalRequestId: null,
    userId: login?.userId ?? null,
    projectId: login?.projectId ?? null,
    isAdmin: login === null,
    authToken: login?.token ?? null,
    serviceCatalog: login?.catalog ?? [],
    values: { roles: login === null ? ['admin'] : ['member'], read_deleted: 'no' },
  }
}

function newRecord(
  id: string,
  options: CreateOptions,
  { userId, projectId }: RequestContext,
  parent: BackupWithParents | null,
): BackupRecord {
  const now = recordTime()
  return {
    id,
    user_id: userId,
    project_id: projectId,
    volume_id: options.volumeId,
    host: null,
    availability_zone: null,
    container: options.container,
    parent_id: parent?.record.id ?? null,
    status: 'creating',
    fail_reason: null,
    size: options.size,
    display_name: null,
    display_description: null,
    service_metadata: null,
    service: null,
    object_count: 0,
    temp_volume_id: null,
    temp_snapshot_id: null,
    num_dependent_backups: 0,
    snapshot_id: options.snapshotId,
    data_timestamp: now,
    restore_volume_id: null,
    metadata: {},
    encryption_key_id: null,
    created_at: now,
    updated_at: null,
    deleted_at: null,
    deleted: false,
  }
}

function readRecord(file: string): BackupWithParents {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new AgentError('BACKUP_NOT_FOUND', `cannot read the record: ${(error as Error).message}`)
  }
  let json: Json
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new AgentError('ARGUMENT_INVALID', `${file} is not JSON: ${(error as Error).message}`)
  }
  return backupFromPrimitive(json, file)
}

/** Written aside and renamed: a record is never half there. */
function writeRecord(file: string, record: JsonObject): void {
  const aside = `${file}.${process.pid}.tmp`
  writeFileSync(aside, `${JSON.stringify(record, null, 2)}\n`)
  renameSync(aside, file)
}

function deadline(seconds: number | null, what: string): AbortSignal {
  const stop = new AbortController()
  if (seconds === null) return stop.signal
  const timeout = AbortSignal.timeout(seconds * 1000)
  timeout.addEventListener('abort', () =>
    stop.abort(new AgentError('BROKER_UNAVAILABLE', `${what} after ${seconds} s`)),
  )
  return stop.signal
}

function orAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
