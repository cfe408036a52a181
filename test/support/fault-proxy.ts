import assert from 'node:assert/strict'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

/** What becomes of a request on its way to the real server, or of the answer on its way back. */
export type Fault =
  /** Answered here; the server never sees it. */
  | {
      readonly kind: 'answer'
      readonly status: number
      readonly headers?: http.OutgoingHttpHeaders
      readonly body?: string
    }
  /** Taken, and never answered; the connection stays open, for good or for so long. */
  | { readonly kind: 'hang'; readonly forMs?: number }
  /** The connection breaks when the request's head has come. */
  | { readonly kind: 'cut-connection' }
  /** The request is passed on later. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** The connection breaks after so many bytes of the request's body. */
  | { readonly kind: 'cut-request'; readonly afterBytes: number }
  /** The request's body is taken no faster than this. */
  | { readonly kind: 'slow-request'; readonly bytesPerSecond: number }
  /** One bit of the request's body is another one when it arrives. */
  | { readonly kind: 'flip-request'; readonly atByte: number }
  /** The server did it, but the connection breaks before its answer. */
  | { readonly kind: 'lose-answer' }
  /** The connection breaks after so many bytes of the answer's body. */
  | { readonly kind: 'cut-answer'; readonly afterBytes: number }
  /** After so many bytes of the answer's body nothing more comes; the connection stays open. */
  | { readonly kind: 'stall-answer'; readonly afterBytes: number }
  /** The answer's body comes no faster than this. */
  | { readonly kind: 'slow-answer'; readonly bytesPerSecond: number }
  /** The answer's length is stated by so many bytes wrong; its body is whole. */
  | { readonly kind: 'misstate-length'; readonly byBytes: number }
  /** The answer's body ends early, and its length says so. */
  | { readonly kind: 'shorten-answer'; readonly toBytes: number }
  /** One bit is another one; counted from the start again where the body is shorter. */
  | { readonly kind: 'flip-answer'; readonly atByte: number }
  /** The answer with other headers. */
  | { readonly kind: 'change-headers'; readonly headers: Readonly<Record<string, string>> }
  /** The answer's body as text, changed. */
  | { readonly kind: 'change-body'; readonly change: (text: string) => string }

export type FaultRule = {
  readonly method?: string
  readonly path?: RegExp
  readonly where?: (request: SeenRequest) => boolean
  /** How often it strikes, unless it is `'always'`. 1. Of several that fit the newest strikes. */
  readonly times?: number | 'always'
}

export type SeenRequest = {
  readonly method: string
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
}

export type FaultProxy = {
  /** `http://127.0.0.1:<port>`. */
  readonly origin: string
  /** The address of the real server, with this proxy in its place. */
  readonly inFrontOf: (url: string) => string
  readonly inject: (fault: Fault, rule?: FaultRule) => void
  /** Lets `decide` say what becomes of each request that no injected fault strikes. */
  readonly follow: (decide: (request: SeenRequest) => Fault | null) => void
  /** Every request that came, in order, faults or not. */
  readonly seen: readonly SeenRequest[]
  readonly clear: () => void
}

type Armed = { fault: Fault; rule: FaultRule; left: number; fired: number }

/**
 * A proxy in front of the server at `target`, for the time of the test. A fault that was injected and
 * did not strike as often as it was told to (`'always'`: at least once) fails the test.
 */
export async function faultProxy(
  t: TestContext,
  target: string,
  tls?: https.ServerOptions,
): Promise<FaultProxy> {
  const armed: Armed[] = []
  const seen: SeenRequest[] = []
  const sockets = new Set<Socket>()
  let decide: (request: SeenRequest) => Fault | null = () => null

  const serve: http.RequestListener = (request, answer) => {
    const { method = '', url = '', headers } = request
    const asked = { method, path: url, headers }
    seen.push(asked)
    const next = armed.findLast(({ rule, left }) => left > 0 && strikes(rule, asked))
    if (next !== undefined) {
      next.left -= 1
      next.fired += 1
    }
    request.on('error', () => {}) // The client's end of a cut connection.
    relay(new URL(target), request, answer, next === undefined ? decide(asked) : next.fault)
  }
  const server = tls === undefined ? http.createServer(serve) : https.createServer(tls, serve)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo

  t.after(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
    const unfired = armed.filter(({ left, fired }) => (left > 0 && left < Infinity) || fired === 0)
    assert.deepEqual(
      unfired.map(({ fault, rule, fired }) => ({ fault, rule, fired })),
      [],
      'faults that did not strike',
    )
  })

  const origin = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
  return {
    origin,
    inFrontOf: (url) => origin + new URL(url).pathname,
    inject: (fault, rule = {}) => {
      const { times = 1 } = rule
      armed.push({ fault, rule, left: times === 'always' ? Infinity : times, fired: 0 })
    },
    follow: (another) => {
      decide = another
    },
    seen,
    clear: () => seen.splice(0),
  }
}

function strikes({ method, path, where }: FaultRule, request: SeenRequest): boolean {
  const isMeant =
    (method ?? request.method) === request.method && (path?.test(request.path) ?? true)
  return isMeant && (where?.(request) ?? true)
}

function relay(
  target: URL,
  request: http.IncomingMessage,
  answer: http.ServerResponse,
  fault: Fault | null,
): void {
  if (fault?.kind === 'hang') {
    request.resume()
    if (fault.forMs !== undefined) setTimeout(() => answer.destroy(), fault.forMs).unref()
    return
  }
  if (fault?.kind === 'cut-connection') {
    request.socket.resetAndDestroy()
    return
  }
  if (fault?.kind === 'delay') {
    setTimeout(() => relay(target, request, answer, null), fault.ms).unref()
    return
  }
  if (fault?.kind === 'answer') {
    request.resume() // Let the body come: the answer must not be lost in a reset.
    // As Swift does, it states the length of what it says.
    const length = { 'content-length': Buffer.byteLength(fault.body ?? '') }
    request.on('end', () =>
      answer.writeHead(fault.status, { ...length, ...fault.headers }).end(fault.body),
    )
    return
  }
  const onward = http.request(target, {
    method: request.method,
    path: request.url,
    headers: { ...request.headers, connection: 'close' },
    agent: false,
  })
  onward.on('error', () => answer.destroy())
  answer.on('close', () => onward.destroy())
  onward.on('response', (reply) => {
    reply.on('error', () => answer.destroy())
    if (fault?.kind === 'lose-answer') {
      answer.destroy()
      return
    }
    void passBack(reply, answer, fault)
  })
  let bytes = 0
  request.on('data', (piece: Buffer) => {
    const start = bytes
    bytes += piece.byteLength
    if (fault?.kind === 'cut-request' && bytes >= fault.afterBytes) {
      request.socket.resetAndDestroy()
      onward.destroy()
      return
    }
    const passed = fault?.kind === 'flip-request' ? flipped(piece, fault.atByte - start) : piece
    const slowness = fault?.kind === 'slow-request' ? 1000 / fault.bytesPerSecond : 0
    if (slowness > 0) {
      request.pause()
      onward.write(passed)
      setTimeout(() => request.resume(), piece.byteLength * slowness)
    } else if (!onward.write(passed)) {
      request.pause()
      onward.once('drain', () => request.resume())
    }
  })
  request.on('end', () => onward.end())
}

async function passBack(
  reply: http.IncomingMessage,
  answer: http.ServerResponse,
  fault: Fault | null,
): Promise<void> {
  const pieces: Buffer[] = []
  for await (const piece of reply) pieces.push(piece)
  const body = changedBody(Buffer.concat(pieces), fault)
  const changed = fault?.kind === 'change-headers' ? fault.headers : {}
  const isHead = reply.headers['transfer-encoding'] === undefined && body.byteLength === 0
  const wrongBy = fault?.kind === 'misstate-length' ? fault.byBytes : 0
  const stated = Math.max(0, body.byteLength + wrongBy)
  const length = isHead ? {} : { 'content-length': String(stated) }
  const { 'transfer-encoding': _, ...headers } = reply.headers
  answer.writeHead(reply.statusCode ?? 500, { ...headers, ...length, ...changed })
  if (fault?.kind === 'cut-answer' || fault?.kind === 'stall-answer') {
    answer.write(body.subarray(0, fault.afterBytes), () => {
      if (fault.kind === 'cut-answer') answer.destroy()
    })
    return
  }
  if (fault?.kind === 'slow-answer') await trickle(body, answer, fault.bytesPerSecond)
  else if (stated > body.byteLength) answer.write(body)
  else answer.end(body)
}

/** In pieces of a tenth of a second. */
async function trickle(body: Buffer, answer: http.ServerResponse, bytesPerSecond: number) {
  const step = Math.ceil(bytesPerSecond / 10)
  for (let start = 0; start < body.byteLength && !answer.destroyed; start += step) {
    answer.write(body.subarray(start, start + step))
    await sleep(100)
  }
  answer.end()
}

function changedBody(body: Buffer, fault: Fault | null): Buffer {
  if (fault?.kind === 'shorten-answer') return body.subarray(0, fault.toBytes)
  if (fault?.kind === 'flip-answer')
    return flipped(body, fault.atByte % Math.max(1, body.byteLength))
  if (fault?.kind === 'change-body') return Buffer.from(fault.change(body.toString('utf8')))
  return body
}

/** The same bytes with one bit changed, where `at` lies in them. */
function flipped(piece: Buffer, at: number): Buffer {
  const copy = Buffer.from(piece)
  const byte = copy[at]
  if (byte !== undefined) copy[at] = byte ^ 1
  return copy
}
