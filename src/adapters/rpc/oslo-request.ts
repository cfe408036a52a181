import { createHash } from 'node:crypto'

import { AgentError } from '../../domain/errors.ts'
import { isJsonObject, type Json, type JsonObject } from '../../domain/json.ts'
import type { CatalogEntry, RequestContext } from '../../domain/request-context.ts'
import type { Cast, ReplyAddress, RequestSource, RpcRequest } from '../../ports/rpc.ts'
import type { CallTarget, RpcCall } from '../../ports/rpc-client.ts'
import {
  bareBody,
  closeEnvelope,
  type IncomingProperties,
  type OutgoingMessage,
  osloProperties,
} from './oslo-envelope.ts'

const contextPrefix = '_context_'

/** A request that was opened, with what the broker said of its delivery. */
export type OpenedRequest = {
  readonly message: JsonObject
  readonly body: Uint8Array
  readonly redelivered: boolean
  readonly source: RequestSource
  readonly replyTo: ReplyAddress | null
}

/**
 * The request that a message makes. Unknown keys are ignored, missing ones get oslo's defaults.
 * Rejects with MESSAGE_MALFORMED where it names no method or its arguments are not an object.
 * Source: oslo_messaging/rpc/dispatcher.py and oslo_messaging/_drivers/amqp.py.
 */
export function requestOf(opened: OpenedRequest): RpcRequest {
  const { message, body, redelivered, source, replyTo } = opened
  const method = message['method']
  if (typeof method !== 'string' || method === '') {
    throw new AgentError('MESSAGE_MALFORMED', 'the request names no method')
  }
  const args = message['args'] ?? {}
  if (!isJsonObject(args)) {
    throw new AgentError('MESSAGE_MALFORMED', `the arguments of ${cut(method)} are not an object`)
  }
  const bodySha256 = createHash('sha256').update(body).digest('hex')
  return {
    method,
    args,
    version: versionOf(message['version']),
    namespace: textOrNull(message['namespace']),
    context: contextOf(message, bodySha256),
    uniqueId: uniqueIdOf(message),
    bodySha256,
    redelivered,
    source,
    replyTo,
  }
}

/** oslo's `_unique_id`; null where the sender gave none. */
export function uniqueIdOf(message: JsonObject): string | null {
  return textOrNull(message['_unique_id'])
}

/** Whether a call gives no queue for its answer: nobody can be told. */
export function lacksReplyQueue(message: JsonObject): boolean {
  return textOrNull(message['_msg_id']) !== null && textOrNull(message['_reply_q']) === null
}

/** Who waits for an answer; null for a cast, and for a call that names no queue. */
export function replyAddressOf(
  message: JsonObject,
  properties: IncomingProperties,
  enveloped: boolean,
): ReplyAddress | null {
  const msgId = textOrNull(message['_msg_id'])
  if (msgId !== null) {
    const queue = textOrNull(message['_reply_q'])
    if (queue === null) return null
    const seconds = message['_timeout']
    const monitorSeconds = typeof seconds === 'number' && Number.isInteger(seconds) ? seconds : null
    return { kind: 'oslo', queue, msgId, monitorSeconds }
  }
  const queue = textOrNull(properties.replyTo)
  if (queue === null) return null
  return { kind: 'amqp', queue, correlationId: textOrNull(properties.correlationId), enveloped }
}

/**
 * A cast to `<topic>.<server>`, or to whoever serves the topic; the same message gives the same
 * bytes. With a reply address it is the call of whoever waits there, passed on.
 */
export function encodeCast(exchange: string, target: CallTarget, cast: Cast): OutgoingMessage {
  return castMessage(exchange, routingKeyOf(target), cast)
}

/** The longest that RabbitMQ lets a message live: 32 bits of milliseconds. */
const expirationMsMax = 2 ** 32 - 1

/**
 * A call, whose answer goes to `replyTo`. After `lifeMs` its caller waits no more: the broker drops it
 * then, where nobody has taken it. oslo gives it its whole time anew, however late it leaves.
 * Source: recorded frames of oslo.messaging 14.0.3 and 18.1.0.
 */
export function encodeCall(
  exchange: string,
  target: CallTarget,
  { namespace, ...call }: RpcCall,
  reply: { readonly replyTo: ReplyAddress; readonly uniqueId: string; readonly lifeMs: number },
): OutgoingMessage {
  const { replyTo, uniqueId, lifeMs } = reply
  const message = castMessage(
    exchange,
    routingKeyOf(target),
    { ...call, uniqueId, replyTo },
    namespace,
  )
  const expiration = String(Math.min(Math.max(Math.ceil(lifeMs), 1), expirationMsMax))
  return { ...message, properties: { ...message.properties, expiration } }
}

/** `<topic>.<server>`, or whoever serves the topic. */
export function routingKeyOf({ topic, server }: CallTarget): string {
  return server === null ? topic : `${topic}.${server}`
}

/** A cast to all who serve the topic. Source: recorded frames of oslo.messaging 14.0.3. */
export function encodeFanout(topic: string, cast: Cast): OutgoingMessage {
  return castMessage(`${topic}_fanout`, '', cast)
}

function castMessage(
  exchange: string,
  routingKey: string,
  cast: Cast,
  namespace: string | null = null,
): OutgoingMessage {
  const { method, version, args, context, uniqueId, replyTo } = cast
  const message: Record<string, Json> = { method, args, version }
  if (namespace !== null) message['namespace'] = namespace
  if (replyTo?.kind === 'oslo') {
    message['_msg_id'] = replyTo.msgId
    message['_reply_q'] = replyTo.queue
    message['_timeout'] = replyTo.monitorSeconds
  }
  message['_unique_id'] = uniqueId
  const body = { ...message, ...contextKeys(context) }
  const isBare = replyTo?.kind === 'amqp' && !replyTo.enveloped
  return {
    exchange,
    routingKey,
    body: isBare ? bareBody(body) : closeEnvelope(body),
    properties: {
      ...osloProperties,
      messageId: uniqueId,
      ...(replyTo?.kind === 'amqp' ? { replyTo: replyTo.queue } : {}),
      ...(replyTo?.kind === 'amqp' && replyTo.correlationId !== null
        ? { correlationId: replyTo.correlationId }
        : {}),
    },
  }
}

/** A context as it travels: one flat key for each value. Source: oslo_messaging/_drivers/amqp.py. */
export function prefixed(values: JsonObject): Record<string, Json> {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [`${contextPrefix}${key}`, value]),
  )
}

function contextKeys(context: RequestContext): Record<string, Json> {
  return prefixed({
    ...context.values,
    request_id: context.requestId,
    global_request_id: context.globalRequestId,
    user_id: context.userId,
    project_id: context.projectId,
    is_admin: context.isAdmin,
    auth_token: context.authToken,
    service_catalog: context.serviceCatalog,
  })
}

function contextOf(message: JsonObject, bodySha256: string): RequestContext {
  // `trace_info` holds the key of a profiler: it is nobody's business here, and kept nowhere.
  const {
    auth_token,
    service_catalog,
    trace_info: _,
    ...values
  } = Object.fromEntries(
    Object.entries(message)
      .filter(([key]) => key.startsWith(contextPrefix))
      .map(([key, value]) => [key.slice(contextPrefix.length), value]),
  )
  return {
    requestId: textOrNull(values['request_id']) ?? requestIdFrom(bodySha256),
    globalRequestId: textOrNull(values['global_request_id']),
    userId: textOrNull(values['user_id']) ?? textOrNull(values['user']),
    projectId: textOrNull(values['project_id']) ?? textOrNull(values['project']),
    isAdmin: values['is_admin'] === true,
    authToken: textOrNull(auth_token),
    serviceCatalog: catalogOf(service_catalog),
    values,
  }
}

/** For a sender that gave no request id: one that its message, delivered again, gets again. */
function requestIdFrom(sha256: string): string {
  const uuid = sha256.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  return `req-${uuid}`
}

function catalogOf(value: Json | undefined): readonly CatalogEntry[] {
  if (!Array.isArray(value)) return []
  return value.filter(isJsonObject).flatMap((entry): CatalogEntry[] => {
    const { type, name, endpoints } = entry
    if (typeof type !== 'string') return []
    const list = Array.isArray(endpoints) ? endpoints.filter(isJsonObject) : []
    return [{ type, name: textOrNull(name), endpoints: list.map(onlyTexts) }]
  })
}

function onlyTexts(value: JsonObject): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(value).filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
  )
}

/** A version that is no text is one that no endpoint implements. */
function versionOf(value: Json | undefined): string {
  if (value === undefined || value === null) return '1.0'
  return typeof value === 'string' ? value : cut(JSON.stringify(value))
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

function cut(text: string): string {
  return JSON.stringify(text.slice(0, 60))
}
