import type { SwiftAction } from './swift-answers.ts'
import { Download, type WireRequest } from './swift-download.ts'
import {
  checkPlain,
  type SwiftConnection,
  type SwiftReply,
  type SwiftRequest,
} from './swift-exchange.ts'
import { connectionError } from './swift-failures.ts'
import { Wire, type WireOptions } from './swift-wire.ts'

const keepMs = 30_000
const restingMax = 16

/**
 * GETs and PUTs of whole bodies over plain HTTP, at a third of the cost of `other`, which sends everything
 * else: bytes are read into one buffer for each connection (docs/decisions/0012). An answer whose length
 * is not stated is asked for again there; of an error in chunks the words are left out. Rejects as `other` does.
 */
export function openSwiftFetch(
  options: Omit<WireOptions, 'keepMs'>,
  other: SwiftConnection,
): SwiftConnection {
  const wires = wirePool({ ...options, keepMs })
  const unsized = new Set<string>() // Origins that do not state the length of what they have.

  return {
    send: async (action, request, signal) => {
      if (!isOurs(request) || unsized.has(request.origin))
        return other.send(action, request, signal)
      const asked = wireRequest(action, request)
      signal.throwIfAborted()
      let download: Download
      try {
        download = await ask(wires, request.origin, asked, signal)
      } catch (error) {
        signal.throwIfAborted()
        throw connectionError(action, error)
      }
      const { status, headers, bodyBytes } = await download.head
      const isText = status >= 300 && !('transfer-encoding' in headers)
      if (bodyBytes === null && !isText) {
        download.drop()
        // What an error says is worth less than that it is told of: a second try may hide it.
        if (status >= 300) return { status, headers, pour: async () => {}, drop: () => {} }
        unsized.add(request.origin)
        return other.send(action, request, signal)
      }
      return replyOf(download, { status, headers }, action, signal)
    },
    async [Symbol.asyncDispose]() {
      wires.close()
    },
  }
}

function isOurs({ method, origin, body }: SwiftRequest): boolean {
  if (!origin.startsWith('http:')) return false
  return method === 'GET' || (method === 'PUT' && body instanceof Uint8Array)
}

/** Resolves when the head is there. A kept connection may have died unseen: then on a new one. */
async function ask(
  wires: WirePool,
  origin: string,
  request: WireRequest,
  signal: AbortSignal,
): Promise<Download> {
  const resting = wires.resting(origin)
  if (resting !== null) {
    const download = new Download(resting, request, signal)
    try {
      await download.head
      return download
    } catch (error) {
      if (signal.aborted || !download.isUnheard || resting.isTimedOut) throw error
    }
  }
  const download = new Download(wires.open(origin), request, signal)
  await download.head
  return download
}

function replyOf(
  download: Download,
  { status, headers }: Pick<SwiftReply, 'status' | 'headers'>,
  action: SwiftAction,
  signal: AbortSignal,
): SwiftReply {
  return {
    status,
    headers,
    drop: () => download.drop(),
    pour: async (take) => {
      let isTheirs = false
      const theirs = (error: unknown) => {
        isTheirs = true
        throw error
      }
      try {
        await download.pour((piece) => {
          try {
            const taken = take(piece)
            return taken === undefined ? undefined : taken.catch(theirs)
          } catch (error) {
            return theirs(error)
          }
        })
      } catch (error) {
        if (isTheirs) throw error
        signal.throwIfAborted()
        throw connectionError(action, error)
      }
    },
  }
}

/** The request as it goes out. Throws STORE_REFUSED where it would not stay one request. */
function wireRequest(action: SwiftAction, request: SwiftRequest): WireRequest {
  checkPlain(action, request)
  const { method, origin, path, headers, body } = request
  const lines = [`${method} ${path} HTTP/1.1`, `host: ${new URL(origin).host}`]
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`)
  const head = `${lines.join('\r\n')}\r\n\r\n`
  return { head, body: body instanceof Uint8Array ? body : null }
}

type WirePool = {
  /** A connection that waits for a request; null where there is none. */
  readonly resting: (origin: string) => Wire | null
  readonly open: (origin: string) => Wire
  readonly close: () => void
}

function wirePool(options: WireOptions): WirePool {
  const all = new Set<Wire>()
  const resting = new Map<string, Wire[]>() // By origin; the last is the likeliest to be alive still.
  let isClosed = false
  const restingAt = (origin: string) => {
    const wires = resting.get(origin) ?? []
    resting.set(origin, wires)
    return wires
  }
  return {
    resting: (origin) => restingAt(origin).pop() ?? null,
    open: (origin) => {
      if (isClosed) throw new Error('the client is closed')
      const wires = restingAt(origin)
      const wire: Wire = new Wire(origin, options, {
        onRest: () => {
          wires.push(wire)
          if (wires.length > restingMax) wires[0]?.close(new Error('there are enough connections'))
        },
        onClose: () => {
          all.delete(wire)
          if (wires.includes(wire)) wires.splice(wires.indexOf(wire), 1)
        },
      })
      all.add(wire)
      return wire
    },
    close: () => {
      isClosed = true
      for (const wire of all) wire.close(new Error('the client is closed'))
    },
  }
}
