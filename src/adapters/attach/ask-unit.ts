import net from 'node:net'

import type { Json, JsonObject } from '../../domain/json.ts'

/** Properties of a host, or a path: no answer is longer. */
const answerBytesMax = 2 ** 20

/** There is no unit behind the socket, or none that this user may ask. */
export class NobodyListens extends Error {
  override readonly name = 'NobodyListens'
  /** One that is stopped takes its socket away; what was left is of one that was killed. */
  readonly wasKilled: boolean

  constructor(path: string, cause: NodeJS.ErrnoException) {
    super(`${path} ${nobody.get(cause.code ?? '') ?? cause.message}`, { cause })
    this.wasKilled = cause.code === 'ECONNREFUSED'
  }
}

const nobody = new Map([
  ['ENOENT', 'does not exist'],
  ['ECONNREFUSED', 'has nobody who listens'],
  ['EACCES', "may not be opened by the agent's user"],
])

/** One line to the socket, one line back. Rejects with NobodyListens, or as the connection ends. */
export function askUnit(path: string, request: JsonObject, signal: AbortSignal): Promise<Json> {
  const { promise, resolve, reject } = Promise.withResolvers<Json>()
  if (signal.aborted) return Promise.reject(signal.reason)
  const socket = net.connect(path)
  const chunks: Buffer[] = []
  let length = 0
  const stop = () => reject(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`))
  socket.on('data', (chunk) => {
    chunks.push(chunk)
    length += chunk.byteLength
    if (length > answerBytesMax) reject(new Error('its answer is too long'))
  })
  socket.on('end', () => {
    try {
      resolve(JSON.parse(Buffer.concat(chunks).toString()) as Json)
    } catch (cause) {
      reject(new Error('it ended without an answer', { cause }))
    }
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    reject(nobody.has(error.code ?? '') ? new NobodyListens(path, error) : error)
  })
  return promise.finally(() => {
    signal.removeEventListener('abort', stop)
    socket.destroy()
  })
}
