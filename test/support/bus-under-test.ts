import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'

import type { JsonObject } from '#src/domain/json.ts'
import type { Log } from '#src/ports/log.ts'
import type {
  Disposition,
  Notification,
  Publisher,
  ReplyAddress,
  RequestHandler,
  RpcRequest,
  RpcServer,
} from '#src/ports/rpc.ts'
import type { RpcClient } from '#src/ports/rpc-client.ts'
import { inbox } from './rabbit.ts'

export type RawMessage = {
  readonly body: Buffer
  readonly properties: { readonly correlationId?: unknown; readonly contentType?: unknown }
}

/** A bus with names of its own, and what a test does to it by hand. */
export type BusUnderTest = {
  readonly topic: string
  readonly controlExchange: string
  readonly notificationTopic: string
  server(host: string, publisher: Publisher): RpcServer
  publisher(options?: {
    readonly drivers?: readonly ('messaging' | 'messagingv2')[]
    readonly replyRetrySeconds?: number
  }): Publisher
  client(log: Log): RpcClient
  send(
    exchange: string,
    routingKey: string,
    body: string,
    properties?: { readonly replyTo?: string; readonly correlationId?: string },
  ): Promise<void>
  declareQueue(queue: string): Promise<void>
  next(queue: string): Promise<RawMessage>
}

export const signal = new AbortController().signal
export const ignored: Disposition = { kind: 'ignored' }

export type Serving = {
  readonly bus: BusUnderTest
  readonly server: RpcServer
  readonly requests: ReturnType<typeof inbox<RpcRequest>>
}

/** A bus with one server on `host-1`, whose handler keeps the requests unless another is given. */
export async function serving(
  t: TestContext,
  open: (t: TestContext) => Promise<BusUnderTest>,
  handler?: RequestHandler,
): Promise<Serving> {
  const bus = await open(t)
  const requests = inbox<RpcRequest>()
  const server = serverOf(t, bus, 'host-1', publisherOf(t, bus))
  await server.serve(handler ?? collect(requests), signal)
  return { bus, server, requests }
}

export function serverOf(
  t: TestContext,
  bus: BusUnderTest,
  host: string,
  publisher: Publisher,
): RpcServer {
  const server = bus.server(host, publisher)
  t.after(() => server[Symbol.asyncDispose]())
  return server
}

export function publisherOf(
  t: TestContext,
  bus: BusUnderTest,
  options?: Parameters<BusUnderTest['publisher']>[0],
): Publisher {
  const publisher = bus.publisher(options)
  t.after(() => publisher[Symbol.asyncDispose]())
  return publisher
}

export function collect(requests: { put(request: RpcRequest): void }): RequestHandler {
  return async (request) => {
    requests.put(request)
    return ignored
  }
}

/** An enveloped cast, or with `keys` of `call` a call. */
export function request(method: string, keys: JsonObject = {}): string {
  const unique = { _unique_id: randomUUID().replaceAll('-', '') }
  const message = { method, args: {}, version: '2.0', ...unique, ...keys }
  return JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': JSON.stringify(message) })
}

export function replyQueue(bus: BusUnderTest, number = 1): string {
  return `reply-${number}-${bus.topic}`
}

export function call(queue: string): JsonObject {
  return { _msg_id: 'msg-1', _reply_q: queue, _timeout: null }
}

export function oslo(queue: string): Extract<ReplyAddress, { kind: 'oslo' }> {
  return { kind: 'oslo', queue, msgId: 'msg-1', monitorSeconds: null }
}

export function cast(bus: BusUnderTest): Parameters<Publisher['cast']>[1] {
  return {
    method: 'delete_backup',
    version: '2.0',
    args: { passed_on: true },
    context: {
      requestId: 'req-1',
      globalRequestId: null,
      userId: 'user',
      projectId: 'project',
      isAdmin: false,
      authToken: 'secret',
      serviceCatalog: [],
      values: { roles: 'member' },
    },
    uniqueId: randomUUID().replaceAll('-', ''),
    replyTo: oslo(replyQueue(bus)),
  }
}

export function notification(priority: Notification['priority']): Notification {
  return {
    messageId: randomUUID(),
    uniqueId: randomUUID().replaceAll('-', ''),
    eventType: 'backup.create.start',
    priority,
    payload: { backup_id: 'backup' },
    timestamp: '2026-11-23 00:20:54.573429',
    context: { project_id: 'project' },
  }
}

export function messageOf({ body }: RawMessage): JsonObject {
  return JSON.parse(JSON.parse(body.toString())['oslo.message'])
}
