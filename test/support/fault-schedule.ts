import type { Fault, SeenRequest } from './fault-proxy.ts'
import { type Draw, seededDraw } from './seeded-draw.ts'

/** Decides for each request that a proxy sees whether a fault strikes it, and which. */
export type FaultSchedule = {
  readonly decide: (request: SeenRequest) => Fault | null
  /** How many faults there were of each kind. */
  readonly counts: ReadonlyMap<string, number>
  readonly total: () => number
  /** The share of requests that is struck, from 0 to 1. */
  rate: number
}

export type ScheduleOptions = {
  readonly seed: string
  readonly rate: number
  /** Whether a black hole and a trickle last as long as in a bad night: a minute, 1 KiB/s. */
  readonly isPatient: boolean
  /** What the server is; Keystone has no chunks, and no token of its own to refuse. */
  readonly server: 'swift' | 'keystone'
}

// 498 and 499 are Swift's own.
const passing = {
  keystone: [408, 429, 500, 502, 503, 504],
  swift: [408, 429, 498, 499, 500, 502, 503, 504, 507],
}
const refusals = [400, 403, 409, 413]

type Kind = {
  readonly name: string
  readonly weight: number
  readonly suits?: (request: SeenRequest) => boolean
  readonly make: (draw: Draw, request: SeenRequest) => Fault
}

const isPut = ({ method }: SeenRequest) => method === 'PUT'
const isGet = ({ method }: SeenRequest) => method === 'GET'
const isObject = ({ path }: SeenRequest) => /^\/v1\/[^/]+\/[^/]+\/./.test(path)
/** What has no digest arrives as it was sent, or broken: no HTTP can tell a changed listing from a true one. */
const isDigested = (request: SeenRequest) => isGet(request) && isObject(request)
const hasBody = ({ headers }: SeenRequest) => Number(headers['content-length'] ?? 0) > 0

const within = (draw: Draw, { headers }: SeenRequest) =>
  draw.below(Math.max(1, Number(headers['content-length'] ?? 0)))

const kindsOf = ({ isPatient, server }: ScheduleOptions): readonly Kind[] => [
  {
    name: 'status',
    weight: 8,
    make: (draw) => ({ kind: 'answer', status: draw.of(passing[server]) }),
  },
  {
    name: 'status with Retry-After',
    weight: 3,
    make: (draw) => ({
      kind: 'answer',
      status: draw.of([429, 503]),
      headers: { 'retry-after': '1' },
    }),
  },
  {
    name: 'token refused',
    weight: server === 'swift' ? 1 : 0,
    make: () => ({ kind: 'answer', status: 401 }),
  },
  {
    name: 'refused for good',
    weight: server === 'swift' ? 0.3 : 0,
    suits: isObject,
    make: (draw) => ({ kind: 'answer', status: draw.of(refusals) }),
  },
  { name: 'cut before the request', weight: 3, make: () => ({ kind: 'cut-connection' }) },
  {
    name: 'cut in the request',
    weight: 4,
    suits: hasBody,
    make: (draw, request) => ({ kind: 'cut-request', afterBytes: within(draw, request) }),
  },
  { name: 'cut before the answer', weight: 4, make: () => ({ kind: 'lose-answer' }) },
  {
    name: 'cut in the answer',
    weight: 4,
    suits: isGet,
    make: (draw) => ({ kind: 'cut-answer', afterBytes: draw.below(4000) }),
  },
  {
    name: 'short answer',
    weight: 2,
    suits: isDigested,
    make: (draw) => ({ kind: 'shorten-answer', toBytes: draw.below(20) }),
  },
  {
    name: 'delay',
    weight: server === 'swift' ? 3 : 0, // A login that is passed on as it is leads past the proxy.
    make: (draw) => ({ kind: 'delay', ms: 50 + draw.below(500) }),
  },
  {
    name: 'black hole',
    weight: isPatient ? 0.05 : 1,
    make: () => ({ kind: 'hang', ...(isPatient ? {} : { forMs: 1500 }) }),
  },
  {
    name: 'trickle',
    weight: isPatient ? 0.05 : 1,
    suits: isDigested,
    make: () => ({ kind: 'slow-answer', bytesPerSecond: isPatient ? 1024 : 32_768 }),
  },
  {
    name: 'bit flip on the way up',
    weight: 4,
    suits: (request) => isPut(request) && isObject(request) && hasBody(request),
    make: (draw, request) => ({ kind: 'flip-request', atByte: within(draw, request) }),
  },
  {
    name: 'bit flip on the way down',
    weight: 4,
    suits: isDigested,
    make: (draw) => ({ kind: 'flip-answer', atByte: draw.below(100_000) }),
  },
  {
    name: 'wrong ETag',
    weight: 3,
    suits: (request) => isObject(request) && (isPut(request) || isGet(request)),
    make: () => ({ kind: 'change-headers', headers: { etag: '0'.repeat(32) } }),
  },
  {
    name: 'Content-Length too small',
    weight: 2,
    suits: isDigested,
    make: (draw) => ({ kind: 'misstate-length', byBytes: -1 - draw.below(40) }),
  },
  {
    name: 'Content-Length too large',
    weight: isPatient ? 0.05 : 0, // It is waited for as in a black hole.
    suits: isDigested,
    make: (draw) => ({ kind: 'misstate-length', byBytes: 1 + draw.below(40) }),
  },
]

/** The same seed decides the same for the same requests in the same order. */
export function faultSchedule(options: ScheduleOptions): FaultSchedule {
  const draw = seededDraw(options.seed)
  const kinds = kindsOf(options)
  const counts = new Map<string, number>()
  const schedule: FaultSchedule = {
    rate: options.rate,
    counts,
    total: () => [...counts.values()].reduce((sum, count) => sum + count, 0),
    decide(request) {
      if (draw.share() >= schedule.rate) return null
      const suited = kinds.filter(({ suits }) => suits?.(request) ?? true)
      const kind = draw.weighted(suited)
      counts.set(kind.name, (counts.get(kind.name) ?? 0) + 1)
      return kind.make(draw, request)
    },
  }
  return schedule
}
