import { randomUUID } from 'node:crypto'
import { accessSync, constants, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'

import { loginFromEnvironment } from '../adapters/identity/user-login.ts'
import { winstonLog } from '../adapters/log/winston-log.ts'
import { connectScheduler, type SchedulerBus } from '../adapters/rpc/rabbit-scheduler.ts'
import type { ConfigPath } from '../config/read-files.ts'
import { loadConfig } from '../config.ts'
import { AgentError, errorCodes } from '../domain/errors.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import type { RequestContext } from '../domain/request-context.ts'
import { orAborted } from '../lib/aborted.ts'
import { delay } from '../lib/clock.ts'
import { backupTopic, callAgent } from './call-agent.ts'
import { exitCodeOf } from './exit-codes.ts'
import { type Heard, heard, isEndedWell, recordIn } from './follow-events.ts'
import type { SendRequest } from './send-requests.ts'
import { jsonScreen, plainScreen, type Screen } from './send-screen.ts'

/** How and where a request is sent. */
export type SendOptions = {
  readonly configPaths: readonly ConfigPath[]
  /** The agent's `host`; null: whoever serves the shared topic. */
  readonly host: string | null
  readonly json: boolean
  readonly wait: boolean
  /** Seconds; null: as long as it takes. */
  readonly timeout: number | null
}

/** How long an answer may take that needs no job. */
const answerSeconds = 60

/** A job waits in the queue until an agent has room for it; after this, that is told. */
const queuedMs = 10_000

/**
 * Sends a request as a scheduler would and, unless told not to wait, follows its notifications to the
 * end. Resolves to the exit code: 0 only where it ended well.
 */
export async function send(request: SendRequest, options: SendOptions): Promise<number> {
  const { config } = loadConfig({ paths: options.configPaths, env: process.env })
  if (request.recordFile !== null) checkRecordFile(request.recordFile)
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => stop.abort(new AgentError('OPERATION_CANCELLED', 'interrupted')))
  }
  const context = await contextFor(stop.signal)
  await using log = winstonLog({ ...config.log, level: 'error', file: null })
  using screen = options.json ? jsonScreen() : plainScreen()
  if (request.operation === null && options.wait) {
    const answer = await callAgent(request, options, config, context, log, stop.signal)
    screen.accepted(request.method, null, answer)
    return 0
  }
  await using bus = await connectScheduler(
    {
      transportUrl: config.transport.url,
      rabbit: config.rabbit,
      declare: config.declare,
      controlExchange: config.transport.controlExchange,
      notificationTopics: config.notifications.topics,
    },
    log,
    stop.signal,
  )
  const signal = AbortSignal.any([stop.signal, deadline(request, options.timeout)])
  const end = endOf(request, bus, screen)
  const answer = await answered(request, context, options.host, bus, screen, signal)
  screen.accepted(request.method, request.backupId, answer)

  const { operation } = request
  if (operation === null || !options.wait) return 0
  const last = await orAborted(end, signal)
  const isWell = isEndedWell(last, operation)
  screen.done(last, isWell)
  if (isWell) return 0
  const { code } = last.payload
  return exitCodeOf(errorCodes.find((known) => known === code) ?? 'OPERATION_CANCELLED')
}

/** Sends, and resolves to the answer: of a job method, that an agent has it in its journal. */
async function answered(
  { method, args, operation }: SendRequest,
  context: RequestContext,
  host: string | null,
  bus: SchedulerBus,
  screen: Screen,
  signal: AbortSignal,
): Promise<Json> {
  const isAnswered = new AbortController()
  if (operation !== null) {
    delay(queuedMs, isAnswered.signal).then(
      () => screen.queued(),
      () => {}, // Answered in time.
    )
  }
  try {
    const to = { topic: backupTopic, server: host }
    return await bus.request(to, { method, args: args(context), context }, signal)
  } finally {
    isAnswered.abort()
  }
}

/** Resolves with the event that ends the operation; shows what comes before and keeps the record. */
function endOf(request: SendRequest, bus: SchedulerBus, screen: Screen): Promise<Heard> {
  const { operation, backupId, targetVolumeId, recordFile } = request
  const { promise, resolve, reject } = Promise.withResolvers<Heard>()
  promise.catch(() => undefined) // Whoever does not wait for it does not want its failure either.
  const lost = ({ message }: AgentError) => {
    const text = `the connection to the broker was lost (${message}): the agent goes on; a create or delete that is sent again joins it, or hears its end once more`
    reject(new AgentError('BROKER_UNAVAILABLE', text))
  }
  let run: Json = null
  bus.listen((event) => {
    if (operation === null || backupId === null) return
    const news = heard(event, { operation, backupId, targetVolumeId, run })
    if (news === null) return
    screen.heard(news)
    if (news.kind === 'started') run = news.payload['run'] ?? null
    // A failed import tells of an empty row; the file may hold the only record there is.
    const isKept = operation !== 'import' || isEndedWell(news, operation)
    const record = isKept ? recordIn(news.payload) : null
    try {
      if (record !== null && recordFile !== null) writeRecord(recordFile, record)
    } catch (error) {
      reject(recordError(recordFile, error))
    }
    if (news.kind === 'ended' || news.kind === 'failed') resolve(news)
  }, lost)
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

/** Throws where the record could not be kept: better before the backup is made than after. */
function checkRecordFile(file: string): void {
  try {
    accessSync(path.dirname(file), constants.W_OK | constants.X_OK)
  } catch (error) {
    throw recordError(file, error)
  }
}

/** Written aside and renamed: a record is never half there. */
function writeRecord(file: string, record: JsonObject): void {
  const aside = `${file}.${process.pid}.tmp`
  writeFileSync(aside, `${JSON.stringify(record, null, 2)}\n`)
  renameSync(aside, file)
}

function recordError(file: string | null, error: unknown): AgentError {
  const text = `cannot write the record ${file}: ${(error as Error).message}`
  return new AgentError('ARGUMENT_INVALID', text, {}, error)
}

/** Aborts when the time to wait is over: of a job method its user's, of another one a minute. */
function deadline({ operation }: SendRequest, timeout: number | null): AbortSignal {
  const stop = new AbortController()
  const seconds = timeout ?? (operation === null ? answerSeconds : null)
  if (seconds === null) return stop.signal
  const what =
    operation === null
      ? `no agent answered in ${seconds} s`
      : `the ${operation} has not ended in ${seconds} s; it goes on, or waits in the queue for an agent`
  AbortSignal.timeout(seconds * 1000).addEventListener('abort', () =>
    stop.abort(new AgentError('BROKER_UNAVAILABLE', what)),
  )
  return stop.signal
}
