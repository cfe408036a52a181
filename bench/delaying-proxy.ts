import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'

/**
 * A server at the end of a long line: what comes from `target` comes so much later. Resolves to its
 * origin; it is there until the stack ends.
 */
export async function delayingProxy(
  stack: AsyncDisposableStack,
  target: string,
  delayMs: number,
): Promise<string> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: hostname, port: Number(port), noDelay: true })
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => sockets.delete(socket))
    }
    near.on('close', () => far.destroy()) // Not the other way: an answer may still be on its way.
    near.pipe(far)
    far.pipe(later(delayMs)).pipe(near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  stack.defer(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Passes each piece on after the time, and takes the next meanwhile. */
function later(delayMs: number): Transform {
  let last = Promise.resolve()
  return new Transform({
    transform(piece: Buffer, _encoding, taken) {
      last = new Promise((resolve) => {
        setTimeout(() => {
          this.push(piece)
          resolve()
        }, delayMs)
      })
      taken()
    },
    flush(done) {
      void last.then(() => done())
    },
  })
}
