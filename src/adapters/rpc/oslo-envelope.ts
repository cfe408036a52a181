import { AgentError } from '../../domain/errors.ts'
import { isJsonObject, type JsonObject } from '../../domain/json.ts'
import { isCompatible } from '../../domain/rpc-version.ts'
import { parseUntrusted } from './untrusted-json.ts'

/** Source: oslo_messaging/_drivers/common.py. */
const envelopeVersion = '2.0'
const versionKey = 'oslo.version'
const messageKey = 'oslo.message'

/** A message on its way to the broker. */
export type OutgoingMessage = {
  readonly exchange: string
  readonly routingKey: string
  readonly body: Buffer
  readonly properties: OutgoingProperties
}

export type OutgoingProperties = {
  readonly contentType: 'application/json'
  readonly contentEncoding: 'utf-8'
  readonly deliveryMode: 2
  readonly priority: 0
  readonly headers: Readonly<Record<string, never>>
  /** Known again when the broker returns the message; Python peers ignore it. */
  readonly messageId?: string
  readonly correlationId?: string
  readonly replyTo?: string
  /** Milliseconds as text: after them the broker drops a message that nobody took. */
  readonly expiration?: string
}

/** What every oslo message carries. Source: recorded frames of oslo.messaging 14.0.3 and 18.1.0. */
export const osloProperties: OutgoingProperties = {
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  deliveryMode: 2,
  priority: 0,
  headers: {},
}

/** What of a delivery's AMQP properties we look at. */
export type IncomingProperties = {
  readonly contentType?: unknown
  readonly contentEncoding?: unknown
  readonly headers?: unknown
  readonly replyTo?: unknown
  readonly correlationId?: unknown
}

/** JSON that holds JSON, as RPC and `messagingv2` notifications travel. */
export function closeEnvelope(message: JsonObject): Buffer {
  const envelope = { [versionKey]: envelopeVersion, [messageKey]: JSON.stringify(message) }
  return Buffer.from(JSON.stringify(envelope), 'utf8')
}

/** The message without an envelope: `messaging` notifications, and answers to bare requests. */
export function bareBody(message: JsonObject): Buffer {
  return Buffer.from(JSON.stringify(message), 'utf8')
}

/**
 * Opens a body: an envelope 2.0, or any other object, which is then the message itself. Rejects with
 * MESSAGE_TOO_LARGE (unparsed) or MESSAGE_MALFORMED.
 * Source: oslo_messaging/_drivers/common.py, `deserialize_msg`.
 */
export function openBody(
  body: Uint8Array,
  properties: IncomingProperties,
  bytesMax: number,
): { readonly message: JsonObject; readonly enveloped: boolean } {
  if (body.byteLength > bytesMax) {
    throw new AgentError(
      'MESSAGE_TOO_LARGE',
      `the message has ${body.byteLength} bytes, more than message_max ${bytesMax}`,
    )
  }
  checkProperties(properties)
  const outer = objectOf(parseUntrusted(textOf(body), 'the message'), 'the message')
  if (outer[versionKey] === undefined || outer[messageKey] === undefined) {
    return { message: outer, enveloped: false }
  }
  const version = outer[versionKey]
  if (typeof version !== 'string' || !isCompatible(envelopeVersion, version)) {
    throw new AgentError(
      'MESSAGE_MALFORMED',
      `the envelope has version ${JSON.stringify(version).slice(0, 20)}, not ${envelopeVersion}`,
    )
  }
  const inner = outer[messageKey]
  if (typeof inner !== 'string') {
    throw new AgentError('MESSAGE_MALFORMED', 'the envelope holds a message that is not text')
  }
  const message = objectOf(parseUntrusted(inner, 'the enveloped message'), 'the enveloped message')
  return { message, enveloped: true }
}

function checkProperties({ contentType, contentEncoding, headers }: IncomingProperties): void {
  if (isJsonObject(headers) && typeof headers['compression'] === 'string') {
    throw new AgentError(
      'MESSAGE_MALFORMED',
      `the message is compressed (${shown(headers['compression'])}): unset kombu_compression in ` +
        '[oslo_messaging_rabbit] of the sender',
    )
  }
  // A missing type is taken as JSON: it is what a message written by hand lacks.
  if (contentType !== undefined && !/^application\/json\s*(?:;|$)/i.test(String(contentType))) {
    throw new AgentError(
      'MESSAGE_MALFORMED',
      `the message has content type ${shown(contentType)}, not application/json`,
    )
  }
  if (contentEncoding !== undefined && !/^(?:utf-?8|us-ascii)$/i.test(String(contentEncoding))) {
    throw new AgentError(
      'MESSAGE_MALFORMED',
      `the message has content encoding ${shown(contentEncoding)}, not utf-8`,
    )
  }
}

function shown(value: unknown): string {
  return JSON.stringify(String(value).slice(0, 80))
}

function textOf(body: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body)
  } catch {
    throw new AgentError('MESSAGE_MALFORMED', 'the message is not UTF-8')
  }
}

function objectOf(value: unknown, what: string): JsonObject {
  if (!isJsonObject(value)) {
    throw new AgentError('MESSAGE_MALFORMED', `${what} is not a JSON object`)
  }
  return value
}
