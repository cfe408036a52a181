import type { TestContext } from 'node:test'

import { type RecordingLog, recordingLog } from '#src/adapters/log/recording-log.ts'
import { type RabbitOptions, rabbitDefaults } from '#src/adapters/rpc/rabbit-options.ts'
import { rabbitPublisher } from '#src/adapters/rpc/rabbit-publisher.ts'
import { connectRabbitServer } from '#src/adapters/rpc/rabbit-rpc-server.ts'
import type { Disposition, Publisher, RpcRequest, RpcServer } from '#src/ports/rpc.ts'
import { inbox } from './rabbit.ts'

type Owner = Pick<TestContext, 'after'>

export type PeerOptions = {
  readonly transportUrl: string
  readonly rabbit?: Partial<RabbitOptions>
  readonly declare?: 'adopt' | 'strict'
  readonly topic?: string
  readonly rpcPingEnabled?: boolean
  /** `ignored` where none is given. */
  readonly handler?: (request: RpcRequest) => Promise<Disposition>
}

export type RabbitPeers = {
  readonly server: RpcServer
  readonly publisher: Publisher
  readonly log: RecordingLog
  /** Requests in the order in which the handler got them. */
  readonly requests: ReturnType<typeof inbox<RpcRequest>>
  /** Begins to serve; resolves once consuming. */
  serve(): Promise<void>
}

/** A server on `cinder-backup.host-1` and a publisher, closed with the test. */
export function rabbitPeers(owner: Owner, options: PeerOptions): RabbitPeers {
  const { transportUrl, declare = 'adopt', topic = 'cinder-backup' } = options
  const rabbit = { ...rabbitDefaults, ...options.rabbit }
  const log = recordingLog()
  const requests = inbox<RpcRequest>()
  const bus = { transportUrl, rabbit, controlExchange: 'openstack', host: 'host-1', declare }
  const publisher = rabbitPublisher(
    {
      ...bus,
      notifications: { transportUrl: null, topics: ['notifications'], drivers: ['messagingv2'] },
    },
    log,
  )
  const server = connectRabbitServer(
    {
      ...bus,
      topic,
      prefetch: 8,
      messageBytesMax: 65_536,
      rpcPingEnabled: options.rpcPingEnabled ?? false,
    },
    publisher,
    log,
  )
  owner.after(async () => {
    await server[Symbol.asyncDispose]()
    await publisher[Symbol.asyncDispose]()
  })
  const ignored: Disposition = { kind: 'ignored' }
  return {
    server,
    publisher,
    log,
    requests,
    serve: () =>
      server.serve(async (request) => {
        requests.put(request)
        return options.handler?.(request) ?? ignored
      }, AbortSignal.timeout(120_000)),
  }
}
