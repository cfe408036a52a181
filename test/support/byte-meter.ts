import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

import { monotonicMs } from '#src/lib/clock.ts'

/** Bytes that have passed one way, and when. */
export type Meter = {
  readonly total: number
  /** Resolves when `bytes` have passed since `reset`; to the moment when they had. */
  passed(bytes: number): Promise<number>
  reset(): void
}

export type MeteredWay = {
  readonly origin: string
  readonly up: Meter
  readonly down: Meter
}

/** A way to the server at `url` that counts what passes; gone with the test. */
export async function meteredWay(
  owner: Pick<TestContext, 'after'>,
  url: string,
): Promise<MeteredWay> {
  const { hostname, port: targetPort } = new URL(url)
  const sockets = new Set<Socket>()
  const [up, down] = [meter(), meter()]
  const server = createServer((inside) => {
    const outside = connect(Number(targetPort), hostname)
    for (const socket of [inside, outside]) {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    }
    inside.on('data', (piece) => up.count(piece.length)).pipe(outside)
    outside.on('data', (piece) => down.count(piece.length)).pipe(inside)
    inside.on('close', () => outside.destroy())
    outside.on('close', () => inside.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  owner.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { origin: `http://127.0.0.1:${port}`, up, down }
}

function meter(): Meter & { count(bytes: number): void } {
  let total = 0
  let waiting: { readonly bytes: number; readonly tell: (atMs: number) => void }[] = []
  return {
    get total() {
      return total
    },
    passed: (bytes) =>
      new Promise((tell) => {
        waiting.push({ bytes, tell })
      }),
    reset: () => {
      total = 0
    },
    count: (bytes) => {
      total += bytes
      for (const one of waiting) if (one.bytes <= total) one.tell(monotonicMs())
      waiting = waiting.filter((one) => one.bytes > total)
    },
  }
}
