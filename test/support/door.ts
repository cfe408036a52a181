import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

/** A way to a server that can be shut: whoever comes then is refused, whoever is there cut off. */
export type Door = {
  /** `http://127.0.0.1:<port>`, the same however often it is shut. */
  readonly origin: string
  open(): Promise<void>
  shut(): Promise<void>
  /** A black hole: sockets stay open and new ones are taken, but nothing goes through until `shut`. */
  freeze(): void
  /** The same for what comes back, as soon as something that matches has gone in: it is done unheard. */
  loseAnswers(after: RegExp): void
}

/** Shut at first; gone with the test. */
export async function doorTo(owner: Pick<TestContext, 'after'>, url: string): Promise<Door> {
  const { hostname, port: targetPort } = new URL(url)
  const sockets = new Set<Socket>()
  let isFrozen = false
  let losesAfter: RegExp | null = null
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
  }
  const server = createServer((inside) => {
    const outside = connect(Number(targetPort), hostname)
    for (const socket of [inside, outside]) keep(socket)
    if (!isFrozen) inside.pipe(outside).pipe(inside)
    inside.on('data', (data: Buffer) => {
      if (losesAfter?.test(data.toString('latin1'))) outside.unpipe().pause()
    })
    inside.on('close', () => outside.destroy())
    outside.on('close', () => inside.destroy())
  })
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', () => resolve())
    })
  const freeze = () => {
    isFrozen = true
    for (const socket of sockets) socket.unpipe().pause()
  }
  const loseAnswers = (after: RegExp) => {
    losesAfter = after
  }
  const close = async () => {
    isFrozen = false
    losesAfter = null
    for (const socket of sockets) socket.resetAndDestroy()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  }
  await listen(0) // Finds a port that is free, and is ours from now on.
  const { port } = server.address() as AddressInfo
  await close()
  owner.after(close)
  return {
    origin: `http://127.0.0.1:${port}`,
    open: () => listen(port),
    shut: close,
    freeze,
    loseAnswers,
  }
}
