import { readFileSync } from 'node:fs'
import process from 'node:process'

import { type ChannelModel, connect, credentials, type SocketOptions } from 'amqplib'

import { AgentError } from '../../domain/errors.ts'
import { delay } from '../../lib/clock.ts'
import { trustedCertificates } from '../../lib/tls-trust.ts'
import type { RabbitOptions } from './rabbit-options.ts'
import { tlsAdvice } from './tls-advice.ts'
import type { BrokerHost, Transport } from './transport-url.ts'

const handshakeMsMax = 10_000
const closeMsMax = 2_000

/** An open AMQP connection whose socket can be cut whatever the broker does. */
export type OpenConnection = {
  readonly model: ChannelModel
  /** Resolves once, when the connection is gone, with what the broker or the socket said. */
  readonly closed: Promise<AgentError>
  /** Why the broker ended it; null where it did not, or the socket was simply lost. */
  readonly reason: () => AgentError | null
  /** Says goodbye, waits for the answer for at most two seconds, and cuts the socket. */
  readonly close: () => Promise<void>
}

/**
 * Opens one connection to one host; the whole handshake, TLS and login included, in at most ten
 * seconds. Rejects with BROKER_UNAVAILABLE, with BROKER_REFUSED (login or virtual host), or with
 * CONFIGURATION_INVALID where a TLS file cannot be read.
 */
export async function openConnection(
  { virtualHost, rabbit }: Transport,
  host: BrokerHost,
  connectionName: string,
  signal: AbortSignal,
): Promise<OpenConnection> {
  const cut = new AbortController()
  const deadline = new AbortController()
  const onAbort = () => cut.abort(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  delay(handshakeMsMax, deadline.signal).then(
    () => cut.abort(new Error(`no answer in ${handshakeMsMax / 1000} s`)),
    () => {}, // The handshake ended first.
  )
  try {
    signal.throwIfAborted()
    const model = await connect(
      {
        protocol: rabbit.ssl ? 'amqps' : 'amqp',
        hostname: host.hostname,
        port: host.port,
        heartbeat: rabbit.heartbeatTimeoutThreshold,
        vhost: encodeURIComponent(virtualHost), // The library decodes it.
      },
      {
        ...tlsOptions(rabbit),
        credentials: loginOf(rabbit.rabbitLoginMethod, host),
        noDelay: true,
        keepAlive: true,
        clientProperties: { connection_name: connectionName, product: 'cinder-backup-agent' },
        ...{ signal: cut.signal }, // Not in the library's types; the socket takes it.
      },
    )
    return opened(model, cut)
  } catch (error) {
    if (signal.aborted) throw signal.reason
    const reason = cut.signal.aborted ? cut.signal.reason : error
    cut.abort(reason)
    throw connectError(reason, host, virtualHost)
  } finally {
    signal.removeEventListener('abort', onAbort)
    deadline.abort()
  }
}

/** Opens a connection to the first host that lets us in; rejects as the last one did. */
export async function openFirst(
  transport: Transport,
  connectionName: string,
  signal: AbortSignal,
): Promise<OpenConnection> {
  let last: unknown
  for (const host of transport.hosts) {
    try {
      return await openConnection(transport, host, connectionName, signal)
    } catch (error) {
      last = error
      signal.throwIfAborted()
    }
  }
  throw last
}

function opened(model: ChannelModel, cut: AbortController): OpenConnection {
  let said: Error | null = null
  const closed = new Promise<AgentError>((resolve) => {
    model.on('error', (error: Error) => {
      said ??= error
    })
    model.on('close', (error?: Error) => {
      resolve(lostConnection(said ?? error))
      cut.abort(new Error('the connection is closed')) // Nothing of the socket stays behind.
    })
  })
  const close = async () => {
    const enough = new AbortController()
    const goodbye = model.close().catch(() => {}) // Already gone.
    const tooLate = delay(closeMsMax, enough.signal).catch(() => {})
    await Promise.race([closed, goodbye, tooLate])
    enough.abort()
    cut.abort(new Error('the connection is closed'))
    await closed
  }
  return { model, closed, close, reason: () => (said === null ? null : lostConnection(said)) }
}

/**
 * A connection that ended, in words. A broker that refuses oslo's default queues gets the advice that
 * helps. Source: RabbitMQ 4.3 release notes, `transient_nonexcl_queues`.
 */
function lostConnection(error: Error | undefined): AgentError {
  const text = error?.message ?? 'the broker closed the connection'
  if (text.includes('transient_nonexcl_queues')) {
    return new AgentError(
      'BROKER_REFUSED',
      'the broker refuses queues that are neither durable nor exclusive: set ' +
        'rabbit_transient_quorum_queue = true and rabbit_quorum_queue (or amqp_durable_queues) = true ' +
        'in [oslo_messaging_rabbit] of every service, or permit them for now by ' +
        'deprecated_features.permit.transient_nonexcl_queues = true in rabbitmq.conf',
      {},
      error,
    )
  }
  return new AgentError('BROKER_UNAVAILABLE', text, {}, error)
}

function loginOf(method: string, host: BrokerHost) {
  const { username, password } = host
  if (method === 'EXTERNAL') return credentials.external()
  if (method === 'PLAIN') return credentials.plain(username, password)
  return credentials.amqplain(username, password)
}

/** Read anew for each connection, so that renewed certificates count. */
function tlsOptions(rabbit: RabbitOptions): SocketOptions {
  if (!rabbit.ssl) return {}
  const { sslCaFile, sslCertFile, sslKeyFile, sslEnforceHostnameVerification } = rabbit
  const pem = (option: string, file: string) => readable(option, file, () => readFileSync(file))
  return {
    ca: readable('ssl_ca_file', sslCaFile, () => trustedCertificates(sslCaFile || null)),
    ...(sslCertFile === '' ? {} : { cert: pem('ssl_cert_file', sslCertFile) }),
    ...(sslKeyFile === '' ? {} : { key: pem('ssl_key_file', sslKeyFile) }),
    ...(sslEnforceHostnameVerification ? {} : { checkServerIdentity: () => undefined }),
  }
}

function readable<T>(option: string, file: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new AgentError(
      'CONFIGURATION_INVALID',
      `cannot read ${option} ${file}: ${(cause as NodeJS.ErrnoException).code ?? 'unreadable'}`,
      { option, file },
      cause,
    )
  }
}

function connectError(reason: unknown, host: BrokerHost, virtualHost: string): AgentError {
  if (reason instanceof AgentError) return reason
  const { hostname, port, username } = host
  const where = `${hostname}:${port}`
  const text = reason instanceof Error ? errorText(reason) : String(reason)
  if (text.includes('ACCESS-REFUSED') || text.includes('ACCESS_REFUSED')) {
    return new AgentError(
      'BROKER_REFUSED',
      `the broker at ${where} refused the login of user ${username}: check transport_url`,
      {},
      reason,
    )
  }
  if (text.includes('Expected ConnectionOpenOk')) {
    return new AgentError(
      'BROKER_REFUSED',
      `the broker at ${where} refused user ${username} the virtual host ${virtualHost}: ` +
        'does it exist, and has the user permissions there',
      {},
      reason,
    )
  }
  const advice = tlsAdvice(reason)
  const help = advice === null ? '' : `; ${advice}`
  return new AgentError(
    'BROKER_UNAVAILABLE',
    `cannot connect to ${where}: ${text}${help}`,
    {},
    reason,
  )
}

/** What a broker said to a method on an open connection, as an error of ours. */
export function brokerError(attempt: string, error: unknown): AgentError {
  if (error instanceof AgentError) return error
  const text = error instanceof Error ? error.message : String(error)
  const isForbidden = error instanceof Error && 'code' in error && error.code === 403
  const code = isForbidden ? 'BROKER_REFUSED' : 'BROKER_UNAVAILABLE'
  return new AgentError(code, `${attempt}: ${text}`, {}, error)
}

/** A refused connection to several addresses has no message of its own, only a code. */
function errorText(error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  return error.message === '' ? (code ?? error.name) : error.message
}

/** How the connection is called in the broker's lists: `cinder-backup-agent:4711:consume`. */
export function connectionName(role: string): string {
  return `cinder-backup-agent:${process.pid}:${role}`
}
