import type { SwiftConnectionOptions } from './swift-connection.ts'
import type { SwiftConnection } from './swift-exchange.ts'

/**
 * A connection that is made when it is first used, and loads its client only then: a lane that speaks
 * plain HTTP never does, and is a few MiB smaller. Rejects at its first use with CONFIGURATION_INVALID
 * where the CA file cannot be read.
 */
export function lazyConnection(options: SwiftConnectionOptions): SwiftConnection {
  let opening: Promise<SwiftConnection> | null = null

  async function open(): Promise<SwiftConnection> {
    const { openSwiftConnection } = await import('./swift-connection.ts')
    return openSwiftConnection(options)
  }

  return {
    async send(action, request, signal) {
      opening ??= open()
      return (await opening).send(action, request, signal)
    },
    async [Symbol.asyncDispose]() {
      await (await opening)?.[Symbol.asyncDispose]()
    },
  }
}
