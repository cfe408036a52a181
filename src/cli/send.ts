import { randomUUID } from 'node:crypto'
import { renameSync, writeFileSync } from 'node:fs'
import process from 'node:process'

import { loginFromEnvironment } from '../adapters/identity/user-login.ts'
import { winstonLog } from '../adapters/log/winston-log.ts'
import { connectScheduler, type SchedulerBus } from '../adapters/rpc/rabbit-scheduler.ts'
import { loadConfig } from '../config.ts'
import { AgentError, errorCodes } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import type { RequestContext } from '../domain/request-context.ts'
import { exitCodeOf } from './exit-codes.ts'
import { type Heard, heard, isEndedWell, recordIn } from './follow-events.ts'
import type { SendRequest } from './send-requests.ts'
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

/** How long an agent may take to say that it has the request. */
const acceptanceSeconds = 60

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
