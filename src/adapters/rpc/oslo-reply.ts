import { AgentError } from '../../domain/errors.ts'
import type { Json, JsonObject } from '../../domain/json.ts'
import type { RemoteFailure } from '../../domain/remote-failure.ts'
import type { Answer, ReplyAddress } from '../../ports/rpc.ts'
import {
  bareBody,
  closeEnvelope,
  type IncomingProperties,
  type OutgoingMessage,
  openBody,
  osloProperties,
} from './oslo-envelope.ts'
import { failureOf, remoteFailureOf } from './oslo-failure.ts'

/**
 * The one message that answers a call; always something, for a caller that gets nothing waits until
 * its timeout. Source: oslo_messaging/_drivers/amqpdriver.py, `_send_reply`.
 */
export function encodeReply(to: ReplyAddress, answer: Answer, uniqueId: string): OutgoingMessage {
  try {
    return replyMessage(to, outcomeOf(answer), uniqueId)
  } catch (cause) {
    const error = new AgentError(
      'ASSERTION_FAILED',
      'the result of the call cannot be written as JSON',
      {},
      cause,
    )
    return replyMessage(to, outcomeOf({ failure: error }), uniqueId)
  }
}

/** Tells the monitor of a waiting caller that the method still runs. */
export function encodeHeartbeat(
  to: Extract<ReplyAddress, { kind: 'oslo' }>,
  uniqueId: string,
): OutgoingMessage {
  return osloMessage(to, { result: null, failure: null }, false, uniqueId)
}

/** A message of a service that answers a call of ours. */
export type OpenedReply = {
  readonly msgId: string
  /** Null where the service gave none: then a copy of it is not known. */
  readonly uniqueId: string | null
  readonly result: Json
  readonly failure: RemoteFailure | null
  /** Whether it is the last one. With neither result nor failure one before is a heartbeat. */
  readonly ending: boolean
}

/**
 * Opens what came to a reply queue, with or without envelope. Rejects with MESSAGE_TOO_LARGE or
 * MESSAGE_MALFORMED.
 * Source: oslo_messaging/_drivers/amqpdriver.py, `ReplyWaiter`.
 */
export function openReply(
  body: Uint8Array,
  properties: IncomingProperties,
  bytesMax: number,
): OpenedReply {
  const { message } = openBody(body, properties, bytesMax)
  const { _msg_id: msgId, _unique_id: uniqueId, result = null, failure, ending } = message
  if (typeof msgId !== 'string') {
    throw new AgentError('MESSAGE_MALFORMED', 'the answer does not say to which call')
  }
  return {
    msgId,
    uniqueId: typeof uniqueId === 'string' ? uniqueId : null,
    result,
    failure: remoteFailureOf(failure),
    ending: ending === true,
  }
}

type Outcome = { readonly result: Json; readonly failure: JsonObject | null }

function outcomeOf(answer: Answer): Outcome {
  return 'failure' in answer
    ? { result: null, failure: failureOf(answer.failure) }
    : { result: answer.result, failure: null }
}

function replyMessage(to: ReplyAddress, outcome: Outcome, uniqueId: string): OutgoingMessage {
  if (to.kind === 'oslo') return osloMessage(to, outcome, true, uniqueId)
  const { result, failure } = outcome
  const message = { result, failure }
  return {
    exchange: '',
    routingKey: to.queue,
    body: to.enveloped ? closeEnvelope(message) : bareBody(message),
    properties: {
      ...osloProperties,
      messageId: uniqueId,
      ...(to.correlationId === null ? {} : { correlationId: to.correlationId }),
    },
  }
}

function osloMessage(
  to: Extract<ReplyAddress, { kind: 'oslo' }>,
  { result, failure }: Outcome,
  ending: boolean,
  uniqueId: string,
): OutgoingMessage {
  const message = {
    result,
    failure: failure === null ? null : JSON.stringify(failure), // An object would crash the caller.
    ending,
    _msg_id: to.msgId,
    _unique_id: uniqueId,
  }
  return {
    exchange: '',
    routingKey: to.queue,
    body: closeEnvelope(message),
    properties: { ...osloProperties, messageId: uniqueId },
  }
}
