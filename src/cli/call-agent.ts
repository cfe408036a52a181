import { connectionName, openFirst } from '../adapters/rpc/broker-socket.ts'
import { rabbitRpcClient } from '../adapters/rpc/rabbit-rpc-client.ts'
import { parseTransportUrl } from '../adapters/rpc/transport-url.ts'
import type { Config } from '../config.ts'
import { AgentError, hasCode } from '../domain/errors.ts'
import type { Json } from '../domain/json.ts'
import { remoteFailureIn } from '../domain/remote-failure.ts'
import type { RequestContext } from '../domain/request-context.ts'
import type { Log } from '../ports/log.ts'
import type { SendOptions } from './send.ts'
import type { SendRequest } from './send-requests.ts'

export const backupTopic = 'cinder-backup'

/**
 * Calls a method as Cinder's own services do, so that it answers whether an agent of ours is there or
 * a stock cinder-backup; resolves to the answer. What an agent refuses is told by its own code.
 */
export async function callAgent(
  { method, args }: SendRequest,
  { host, timeout }: Pick<SendOptions, 'host' | 'timeout'>,
  { transport, rabbit, declare, limits }: Config,
  context: RequestContext,
  log: Log,
  signal: AbortSignal,
): Promise<Json> {
  const { url: transportUrl, controlExchange } = transport
  const { messageBytesMax } = limits
  // The client tries for ever; a person wants to know at once what is wrong with the login.
  const parsed = parseTransportUrl(transportUrl, rabbit)
  await (await openFirst(parsed, connectionName('send'), signal)).close()

  const options = { transportUrl, rabbit, declare, controlExchange, messageBytesMax }
  await using client = rabbitRpcClient(options, log)
  try {
    return await client.call(
      { topic: backupTopic, server: host },
      { method, version: '2.0', namespace: null, args: args(context), context },
      { timeoutMs: timeout === null ? limits.responseWaitMs : timeout * 1000, monitorMs: null },
      signal,
    )
  } catch (error) {
    throw inOurWords(error)
  }
}

function inOurWords(error: unknown): unknown {
  if (hasCode(error, 'CALL_UNROUTABLE')) {
    const text = `no agent takes messages at ${error.context['routingKey']}: is it running, and is --host its host?`
    return new AgentError('CALL_UNROUTABLE', text, {}, error)
  }
  const remote = error instanceof AgentError ? remoteFailureIn(error) : null
  if (remote === null || remote.remoteCode === null) return error
  return new AgentError(remote.remoteCode, remote.remoteMessage, {}, error)
}
