import { randomUUID } from 'node:crypto'
import type { Json, JsonObject } from '#src/domain/json.ts'
import { type Peer, startPeer } from './python.ts'
import { inbox } from './rabbit.ts'

// Debian's real oslo.messaging on the other side of the bus.

export type OsloOptions = {
  readonly transportUrl: string
  /** Where not `openstack`. */
  readonly exchange?: string
  /** Of [oslo_messaging_rabbit]: `amqp_durable_queues`, `rabbit_quorum_queue` … */
  readonly conf?: Readonly<Record<string, string | number | boolean>>
}

export type OsloRequest = {
  readonly method: string
  /** `{"$object": "Backup", "data": {…}}` is sent as that object, by Cinder's own serializer. */
  readonly args?: JsonObject
  readonly context?: JsonObject
  readonly topic?: string
  readonly server?: string
  readonly fanout?: boolean
  readonly version?: string
  readonly namespace?: string
  /** Seconds. */
  readonly timeout?: number
  readonly call_monitor_timeout?: number
}

/** An exception as a Python caller sees it. */
export type OsloFailure = {
  readonly class: string
  readonly module: string
  /** Names of its classes, from itself to `object`. */
  readonly bases: readonly string[]
  readonly message: string
}

export type OsloAnswer =
  | { readonly result: Json; readonly failure?: never }
  | { readonly failure: OsloFailure; readonly result?: never }

export type OsloClient = AsyncDisposable & {
  /** Resolves once the broker has it. */
  cast(request: OsloRequest): Promise<void>
  call(request: OsloRequest): Promise<OsloAnswer>
}

export type OsloNotification = {
  readonly priority: string
  readonly publisher_id: string
  readonly event_type: string
  readonly payload: JsonObject
  readonly message_id: string
  readonly timestamp: string
  readonly context: JsonObject
}

export type OsloListener = AsyncDisposable & {
  /** Everything heard so far. */
  readonly heard: readonly OsloNotification[]
  /** The first, heard or to come, that `isWanted`; rejects after `timeoutMs`. */
  find(
    isWanted: (notification: OsloNotification) => boolean,
    timeoutMs?: number,
  ): Promise<OsloNotification>
}

const startMs = 60_000

/** A client with any number of requests in flight. */
export async function osloClient(options: OsloOptions, topic: string): Promise<OsloClient> {
  const peer = await readyPeer('client', options, { topic })
  const waiting = new Map<string, PromiseWithResolvers<OsloAnswer>>()
  const readers = readLines(peer, (line) => {
    const { id, ...answer } = JSON.parse(line) as OsloAnswer & { readonly id: string }
    waiting.get(id)?.resolve(answer)
    waiting.delete(id)
  })
  readers.ended.catch((error: unknown) => {
    for (const { reject } of waiting.values()) reject(error)
  })

  async function send(verb: 'cast' | 'call', request: OsloRequest): Promise<OsloAnswer> {
    const id = randomUUID()
    const answer = Promise.withResolvers<OsloAnswer>()
    waiting.set(id, answer)
    peer.send(JSON.stringify({ id, verb, ...request }))
    return answer.promise
  }

  return {
    async cast(request) {
      const { failure } = await send('cast', request)
      if (failure !== undefined) throw new Error(`${failure.class}: ${failure.message}`)
    },
    call: (request) => send('call', request),
    [Symbol.asyncDispose]: () => readers.stop(),
  }
}

export type OsloServed = {
  readonly method: string
  readonly args: JsonObject
  readonly context: JsonObject
}

export type OsloServer = AsyncDisposable & {
  /** What it was asked for, but for what it fails at. */
  readonly served: ReturnType<typeof inbox<OsloServed>>
}

/** Serves until disposed: see `oslo_peer.py` for what it answers. */
export async function osloServer(
  options: OsloOptions,
  topic: string,
  server: string,
): Promise<OsloServer> {
  const peer = await readyPeer('serve', options, { topic, server })
  const served = inbox<OsloServed>()
  const readers = readLines(peer, (line) => served.put(JSON.parse(line) as OsloServed))
  return { served, [Symbol.asyncDispose]: () => readers.stop() }
}

/** Listens until disposed. Where it makes the queue, it makes it as its `conf` says. */
export async function osloListener(
  options: OsloOptions,
  topics: readonly string[] = ['notifications'],
): Promise<OsloListener> {
  const peer = await readyPeer('listen', options, { topics: [...topics] })
  const heard: OsloNotification[] = []
  const listeners = new Set<(error?: unknown) => void>()
  const readers = readLines(peer, (line) => {
    heard.push(JSON.parse(line) as OsloNotification)
    for (const listener of listeners) listener()
  })
  readers.ended.catch((error: unknown) => {
    for (const listener of listeners) listener(error)
  })

  return {
    heard,
    async find(isWanted, timeoutMs = 60_000) {
      const found = Promise.withResolvers<OsloNotification>()
      const timeout = AbortSignal.timeout(timeoutMs)
      timeout.addEventListener('abort', () => {
        const types = heard.map(({ event_type }) => event_type).join(', ')
        found.reject(new Error(`not heard in ${timeoutMs} ms; heard: ${types}`))
      })
      const look = (error?: unknown) => {
        const wanted = heard.find(isWanted)
        if (wanted !== undefined) found.resolve(wanted)
        else if (error !== undefined) found.reject(error)
      }
      listeners.add(look)
      look()
      try {
        return await found.promise
      } finally {
        listeners.delete(look)
      }
    },
    [Symbol.asyncDispose]: () => readers.stop(),
  }
}

async function readyPeer(
  role: 'client' | 'serve' | 'listen',
  { transportUrl, exchange, conf = {} }: OsloOptions,
  more: JsonObject,
): Promise<Peer> {
  const options = { transport_url: transportUrl, exchange: exchange ?? null, conf, ...more }
  const peer = startPeer('oslo_peer.py', [role, JSON.stringify(options)])
  try {
    const line = await peer.line(AbortSignal.timeout(startMs))
    if (line !== '"ready"') throw new Error(`oslo_peer.py began with ${line}`)
    return peer
  } catch (error) {
    await peer[Symbol.asyncDispose]()
    throw error
  }
}

/** Hands each line on until stopped; `ended` rejects where the peer fails before. */
function readLines(
  peer: Peer,
  take: (line: string) => void,
): { readonly ended: Promise<void>; stop(): Promise<void> } {
  const stop = new AbortController()
  const ended = (async () => {
    while (!stop.signal.aborted) {
      const line = await peer.line(stop.signal)
      if (line === null) throw new Error('oslo_peer.py ended')
      take(line)
    }
  })()
  ended.catch(() => {}) // Who waits is told by whoever made the readers.
  return {
    ended,
    async stop() {
      stop.abort()
      await peer[Symbol.asyncDispose]()
    },
  }
}
