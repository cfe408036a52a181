import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream'

type Owner = { after(end: () => unknown): void }

/** What went through, of chunk objects: bytes that came to nothing count too. */
export type ChunkTraffic = { putBytes: number; gotBytes: number; puts: number; deletes: number }

export type CountingProxy = { readonly origin: string; readonly traffic: ChunkTraffic }

const isChunk = (path: string) => /-\d{5,}(\?.*)?$/.test(path)

/** Hands everything on to `target`, and counts. */
export async function countingProxy(owner: Owner, target: string): Promise<CountingProxy> {
  const traffic: ChunkTraffic = { putBytes: 0, gotBytes: 0, puts: 0, deletes: 0 }
  const agent = new http.Agent({ keepAlive: true })
  const server = http.createServer((request, answer) => {
    const { method = 'GET', url = '/', headers } = request
    const counts = isChunk(url)
    if (counts && method === 'PUT') traffic.puts += 1
    if (method === 'DELETE' || url.includes('bulk-delete')) traffic.deletes += 1
    const onward = http.request(new URL(url, target), { method, headers, agent }, (reply) => {
      if (answer.destroyed) return void reply.resume() // Who asked was killed.
      answer.writeHead(reply.statusCode ?? 500, reply.headers)
      if (counts && method === 'GET') {
        reply.on('data', (piece: Buffer) => {
          traffic.gotBytes += piece.byteLength
        })
      }
      pipeline(reply, answer, () => {})
    })
    onward.on('error', () => answer.destroy())
    if (counts && method === 'PUT') {
      request.on('data', (piece: Buffer) => {
        traffic.putBytes += piece.byteLength
      })
    }
    pipeline(request, onward, () => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  owner.after(() => {
    server.close()
    server.closeAllConnections()
    agent.destroy()
  })
  const { port } = server.address() as AddressInfo
  return { origin: `http://127.0.0.1:${port}`, traffic }
}
