import { randomInt } from 'node:crypto'

import type { ChannelModel } from 'amqplib'

import { AgentError, toAgentError } from '../../domain/errors.ts'
import { delay, monotonicMs } from '../../lib/clock.ts'
import type { Log } from '../../ports/log.ts'
import { brokerError, connectionName, openConnection } from './broker-socket.ts'
import { quietWarnings } from './quiet-log.ts'
import type { RabbitOptions } from './rabbit-options.ts'
import type { BrokerHost, Transport } from './transport-url.ts'

/** Losses told of one connection: a broker that dies and comes back must not fill the log. */
const lossesPerMinuteMax = 2

/** The same complaint is repeated after this time, so that the log of a long outage shows it. */
const repeatMs = 600_000

/**
 * Cinder's services send as soon as the broker is back, and what finds no queue is lost: who takes
 * requests tries often while an outage is young, whatever the options say of the growing waits.
 */
const urgentRetryMs = 250
const urgentMs = 120_000

/** How long declaring and subscribing may take on a connection that is open. */
const setUpMsMax = 60_000

/** One connection while it lasts. */
export type Session = {
  readonly model: ChannelModel
  /** Aborts when the connection is gone or given up. */
  readonly signal: AbortSignal
  /** Gives the connection up: it is closed and, unless it is ended, opened anew. */
  readonly fail: (error: AgentError) => void
  /** Why the broker ended the connection, where a pending call only says that it is gone. */
  readonly reason: () => AgentError | null
  /** Whether there was no broker before, however shortly: the peers may still be on their way back. */
  readonly isReturn: boolean
}

export type SetUp = (session: Session) => Promise<void>

/** `urgent`: what happens while this connection is away is lost. */
type Urgency = 'usual' | 'urgent'

/**
 * Keeps one connection to the broker, for ever: over the shuffled hosts in turn, with growing waits
 * between the rounds, preparing each new connection by `setUp`. A refused login is tried again too,
 * for a broker that is starting answers so. What goes wrong is told when it changes, at most a few
 * lines a minute. `end` resolves when the connection is closed and nothing runs any more.
 * Source: oslo_messaging/_drivers/impl_rabbit.py, `Connection.ensure`, and kombu's round-robin.
 */
export function keepConnected(
  transport: Transport,
  role: string,
  setUp: SetUp,
  log: Log,
  urgency: Urgency = 'usual',
): {
  readonly end: () => Promise<void>
  /** Why there is no connection now; null where there is one, or none was tried to its end. */
  readonly whyNot: () => AgentError | null
} {
  const stop = new AbortController()
  let last: AgentError | null = null
  const onChange = (error: AgentError | null) => {
    last = error
  }
  const running = connectForEver(transport, role, setUp, log, urgency, stop.signal, onChange)
  return {
    whyNot: () => last,
    end: async () => {
      stop.abort(new AgentError('AGENT_STOPPING', 'the connection to the broker is being closed'))
      await running
    },
  }
}

async function connectForEver(
  transport: Transport,
  role: string,
  setUp: SetUp,
  log: Log,
  urgency: Urgency,
  signal: AbortSignal,
  onChange: (error: AgentError | null) => void,
): Promise<void> {
  const report = connectionReport(role, log)
  let lostAtMs = Number.NEGATIVE_INFINITY
  let hosts = shuffled(transport.hosts)
  let failures = 0
  let isReturn = false
  while (!signal.aborted) {
    const [host] = hosts
    if (host === undefined) throw new AgentError('ASSERTION_FAILED', 'a transport without a host')
    hosts = [...hosts.slice(1), host]
    let error: AgentError
    try {
      const prepare = (opened: Omit<Session, 'isReturn'>) => setUp({ ...opened, isReturn })
      error = await runSession(transport, host, role, prepare, signal, () => {
        report.connected(host, failures)
        onChange(null)
        failures = -1
      })
    } catch (cause) {
      error = toAgentError(cause)
    }
    if (signal.aborted) return
    onChange(error)
    failures += 1
    if (failures === 0) lostAtMs = monotonicMs()
    if (failures % hosts.length === 0) isReturn = true // A connection that worked, or a whole round.
    if (transport.rabbit.kombuFailoverStrategy === 'shuffle') hosts = shuffled(hosts)
    const usualMs = waitMs(transport.rabbit, failures, hosts.length)
    const isUrgent = urgency === 'urgent' && monotonicMs() - lostAtMs < urgentMs
    const retryMs = isUrgent && failures > 0 ? Math.min(usualMs, urgentRetryMs) : usualMs
    report.lost(error, retryMs)
    await delay(retryMs, signal).catch(() => {}) // The loop's condition sees the end.
  }
}

/** Runs one connection from its opening to its end; resolves to why it ended. */
async function runSession(
  transport: Transport,
  host: BrokerHost,
  role: string,
  setUp: (session: Omit<Session, 'isReturn'>) => Promise<void>,
  signal: AbortSignal,
  onReady: () => void,
): Promise<AgentError> {
  const connection = await openConnection(transport, host, connectionName(role), signal)
  const ended = Promise.withResolvers<AgentError>()
  const over = new AbortController()
  const fail = (error: AgentError) => {
    ended.resolve(error)
    over.abort(error)
  }
  const onStop = () => fail(toAgentError(signal.reason))
  signal.addEventListener('abort', onStop, { once: true })
  if (signal.aborted) onStop()
  void connection.closed.then(fail)
  const settingUp = new AbortController()
  const tooLong = new AgentError(
    'BROKER_UNAVAILABLE',
    `the broker did not answer the declares in ${setUpMsMax / 1000} s`,
  )
  delay(setUpMsMax, settingUp.signal).then(
    () => fail(tooLong),
    () => {}, // Set up, or over.
  )
  try {
    const { model, reason } = connection
    setUp({ model, signal: over.signal, fail, reason }).then(
      () => {
        settingUp.abort()
        if (!over.signal.aborted) onReady()
      },
      (error: unknown) => fail(reason() ?? brokerError('cannot declare or consume', error)),
    )
    return await ended.promise
  } finally {
    signal.removeEventListener('abort', onStop)
    settingUp.abort()
    await connection.close()
  }
}

/**
 * The wait after a failure: none while hosts of the round are untried, then longer with each round.
 * After a connection that worked: kombu's reconnect delay.
 */
function waitMs(rabbit: RabbitOptions, failures: number, hostCount: number): number {
  if (failures === 0) {
    const splayMs = Math.ceil(rabbit.kombuReconnectSplay * 1000)
    return rabbit.kombuReconnectDelay * 1000 + (splayMs > 0 ? randomInt(splayMs) : 0)
  }
  if (failures % hostCount !== 0) return 0
  const { rabbitRetryInterval, rabbitRetryBackoff, rabbitIntervalMax } = rabbit
  const rounds = failures / hostCount
  const seconds = rabbitRetryInterval + rabbitRetryBackoff * (rounds - 1)
  return Math.max(Math.min(seconds, rabbitIntervalMax), 0.1) * 1000
}

/** Tells of one connection's losses, and of its return where a loss was told. */
function connectionReport(role: string, log: Log) {
  const warn = quietWarnings(log, lossesPerMinuteMax)
  const toldAtMs = new Map<string, number>()
  let isLossTold = false
  return {
    lost: (error: AgentError, retryMs: number): void => {
      const atMs = toldAtMs.get(error.message)
      if (atMs !== undefined && monotonicMs() - atMs < repeatMs) return
      toldAtMs.set(error.message, monotonicMs())
      isLossTold = warn('no connection to the broker', { role, error, retryMs }) || isLossTold
    },
    connected: ({ hostname, port }: BrokerHost, failures: number): void => {
      const fields = { role, broker: `${hostname}:${port}`, failures }
      if (isLossTold) log.warn('connected to the broker again', fields)
      else log.debug('connected to the broker', fields)
      isLossTold = false
      toldAtMs.clear()
    },
  }
}

function shuffled<T>(items: readonly T[]): T[] {
  const left = [...items]
  return items.flatMap(() => left.splice(randomInt(left.length), 1))
}
