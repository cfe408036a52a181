import { createHash } from 'node:crypto'

import { type AgentError, hasCode, toAgentError } from '../../domain/errors.ts'
import { isCompatible } from '../../domain/rpc-version.ts'
import type { Log } from '../../ports/log.ts'
import type {
  Answer,
  Disposition,
  Publisher,
  ReplyAddress,
  RequestHandler,
  RequestSource,
  RpcRequest,
} from '../../ports/rpc.ts'
import { type IncomingProperties, openBody } from './oslo-envelope.ts'
import { lacksReplyQueue, replyAddressOf, requestOf, uniqueIdOf } from './oslo-request.ts'

/** How many settled `_unique_id`s are remembered; oslo keeps 16. */
const rememberedMax = 10_000

/** Source: oslo_messaging/rpc/server.py, `PingEndpoint` of version 1.0. */
const pingMethod = 'oslo_rpc_server_ping'
const pingVersion = '1.0'

export type IntakeOptions = {
  /** Larger bodies are rejected unparsed. */
  readonly messageBytesMax: number
  readonly rpcPingEnabled: boolean
}

/** A delivery, whatever bus it came by. */
export type Incoming = {
  readonly body: Uint8Array
  readonly properties: IncomingProperties
  readonly redelivered: boolean
  readonly source: RequestSource
}

/** What the bus is to do with a delivery. `pause`: put it back, and deliver nothing for a while. */
export type Settlement = 'ack' | 'reject' | 'requeue' | 'pause'

export type Intake = {
  /** Hands a delivery to the handler, before it returns; resolves to how it is to be settled. */
  readonly take: (incoming: Incoming) => Promise<Settlement>
  /** Resolves when no delivery is in hand. */
  readonly idle: () => Promise<void>
  /** Whether none is. */
  readonly isIdle: () => boolean
  /** Resolves when no answer is on its way. */
  readonly answered: () => Promise<void>
}

/**
 * What becomes of a delivery: opened, handed to the handler once, answered. A delivery is done with
 * when the handler has resolved or refused; what cannot be read is rejected for good. Answers are not
 * waited for, so that a blocked publisher holds up no acknowledgement; `signal` ends them.
 */
export function requestIntake(
  options: IntakeOptions,
  handler: RequestHandler,
  publisher: Publisher,
  log: Log,
  signal: AbortSignal,
): Intake {
  const settled = new Set<string>()
  const inHandById = new Map<string, Promise<Settlement>>()
  const inHand = new Set<Promise<Settlement>>()
  const answers = new Set<Promise<unknown>>()

  const answer = (to: ReplyAddress | null, content: Answer): void => {
    if (to === null) return
    const sending = publisher.reply(to, content, signal).catch((error: unknown) => {
      if (!signal.aborted) log.error('the answer could not be sent', { error })
    })
    answers.add(sending)
    void sending.then(() => answers.delete(sending))
  }
  const handle = async (request: RpcRequest): Promise<Settlement> => {
    try {
      const disposition = isPing(request, options)
        ? ({ kind: 'answered', result: 'pong' } as const)
        : await handler(request)
      answerDisposition(request.replyTo, disposition, answer)
    } catch (cause) {
      const error = toAgentError(cause)
      if (error.code === 'JOURNAL_UNAVAILABLE') return 'pause'
      if (hasCode(error, 'AGENT_STOPPING') || hasCode(error, 'BROKER_UNAVAILABLE')) return 'requeue'
      logRefusal(request, error, log)
      answer(request.replyTo, { failure: error })
    }
    if (request.uniqueId !== null) remember(settled, request.uniqueId)
    return 'ack'
  }
  const takeRequest = (incoming: Incoming): Promise<Settlement> | Settlement => {
    const { body, properties, redelivered, source } = incoming
    const { message, enveloped } = openBody(body, properties, options.messageBytesMax)
    const uniqueId = uniqueIdOf(message)
    if (uniqueId !== null && settled.has(uniqueId)) return 'ack'
    const same = uniqueId === null ? undefined : inHandById.get(uniqueId)
    if (same !== undefined) return same
    const replyTo = replyAddressOf(message, properties, enveloped)
    if (lacksReplyQueue(message)) log.warn('a call names no queue for its answer', { uniqueId })
    let request: RpcRequest
    try {
      request = requestOf({ message, body, redelivered, source, replyTo })
    } catch (error) {
      answer(replyTo, { failure: toAgentError(error) })
      throw error
    }
    const settling = handle(request)
    if (uniqueId !== null) {
      inHandById.set(uniqueId, settling)
      void settling.then(() => inHandById.delete(uniqueId))
    }
    return settling
  }
  return {
    take: async (incoming) => {
      const settling = Promise.try(takeRequest, incoming).catch((error: unknown): Settlement => {
        logPoison(incoming, toAgentError(error), log)
        return 'reject'
      })
      inHand.add(settling)
      return settling.finally(() => inHand.delete(settling))
    },
    idle: async () => {
      while (inHand.size > 0) await Promise.allSettled(inHand)
    },
    isIdle: () => inHand.size === 0,
    answered: async () => {
      await Promise.all(answers)
    },
  }
}

function isPing(request: RpcRequest, { rpcPingEnabled }: IntakeOptions): boolean {
  const { method, namespace, version } = request
  return (
    rpcPingEnabled &&
    method === pingMethod &&
    namespace === null &&
    isCompatible(pingVersion, version)
  )
}

function answerDisposition(
  to: ReplyAddress | null,
  disposition: Disposition,
  answer: (to: ReplyAddress | null, content: Answer) => void,
): void {
  if (disposition.kind === 'answered') answer(to, { result: disposition.result })
  // An oslo caller waits for the end; any other learns now that its request is safe.
  if (disposition.kind === 'accepted' && to?.kind === 'amqp') {
    answer(to, { result: { accepted: true, backup_id: disposition.backupId } })
  }
}

function remember(settled: Set<string>, uniqueId: string): void {
  settled.add(uniqueId)
  if (settled.size <= rememberedMax) return
  for (const oldest of settled) {
    settled.delete(oldest)
    return
  }
}

/** Here the error stops travelling: a caster is told nothing, so the log is. */
function logRefusal(request: RpcRequest, error: AgentError, log: Log): void {
  const fields = {
    method: request.method.slice(0, 80),
    requestId: request.context.requestId,
    error,
  }
  if (error.kind === 'defect') log.error('the request failed', fields)
  else log.warn('the request was refused', fields)
}

/** At most 1 KiB: what it was, how it begins, and nothing that may be a secret. */
function logPoison({ body, source }: Incoming, error: AgentError, log: Log): void {
  if (!hasCode(error, 'MESSAGE_MALFORMED') && !hasCode(error, 'MESSAGE_TOO_LARGE')) {
    log.error('a message could not be taken', { source, error })
    return
  }
  log.warn('a message was rejected', {
    source,
    code: error.code,
    reason: error.message.slice(0, 300),
    bodyBytes: body.byteLength,
    bodySha256: createHash('sha256').update(body).digest('hex'),
    begins: harmlessHead(body),
  })
}

function harmlessHead(body: Uint8Array): string {
  const head = Buffer.from(body.subarray(0, 120)).toString('latin1')
  const secret = head.search(/token|secret|passw|auth|cred|[_-]key|:\/\/|[\w+/=]{24,}/i)
  return JSON.stringify(secret === -1 ? head : head.slice(0, secret))
}
