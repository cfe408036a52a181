import type { Log } from '../../ports/log.ts'
import type { RpcClient } from '../../ports/rpc-client.ts'
import type { MemoryBus } from './memory-bus.ts'
import { memoryLink } from './memory-rpc.ts'
import { osloClient } from './oslo-client.ts'
import { newUniqueId } from './oslo-publisher.ts'
import { pendingCalls } from './pending-calls.ts'

/** An RPC client on a bus in memory: what the one on RabbitMQ does, without a wire. */
export function memoryRpcClient(
  bus: MemoryBus,
  options: { readonly controlExchange: string; readonly messageBytesMax: number },
  log: Log,
): RpcClient {
  const calls = pendingCalls(options.messageBytesMax, log)
  const closing = new AbortController()
  const name = `reply_${newUniqueId()}`
  bus.declareQueue(name)
  const cancel = bus.consume(name, {
    prefetch: 100,
    take: async ({ body, properties }) => {
      calls.take(body, properties)
      return 'ack'
    },
  })
  const lines = {
    link: memoryLink(bus, closing.signal),
    replies: { name, ready: async () => {}, whyNot: () => null, losses: 0 },
  }
  return osloClient(
    () => lines,
    calls,
    options.controlExchange,
    async () => {
      closing.abort()
      cancel()
      bus.deleteQueue(name)
    },
  )
}
