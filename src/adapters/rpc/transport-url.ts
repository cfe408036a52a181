import { AgentError } from '../../domain/errors.ts'
import {
  ignoredRabbitOptions,
  type RabbitOptions,
  rabbitChoices,
  rabbitDefaults,
} from './rabbit-options.ts'

export type BrokerHost = {
  readonly hostname: string // Without the brackets of an IPv6 address.
  readonly port: number
  readonly username: string
  readonly password: string
}

export type Transport = {
  readonly hosts: readonly BrokerHost[]
  readonly virtualHost: string
  /** The options given, with the URL's query over them. */
  readonly rabbit: RabbitOptions
}

const guest = { username: 'guest', password: 'guest' }
const amqpPort = 5672 // With TLS too: oslo never takes another default.

/**
 * Reads `rabbit://user:password@host:port,user:password@host:port/vhost?option=value`. Throws
 * CONFIGURATION_INVALID; no text of the URL is in the error, for it holds passwords.
 * Source: oslo_messaging/transport.py, `TransportURL.parse`.
 */
export function parseTransportUrl(url: string, rabbit: RabbitOptions): Transport {
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?(?:#.*)?$/s.exec(
    url,
  )
  if (match === null) throw refused('is not of the form rabbit://user:password@host:port/vhost')
  const [, scheme = '', netloc = '', path = '', query = ''] = match
  if (scheme !== 'rabbit' && scheme !== 'kombu') {
    throw refused(`has the scheme ${scheme}: only rabbit is served`)
  }
  const hosts = netloc
    .split(',')
    .filter((part) => part !== '')
    .map(brokerHost)
  return {
    hosts: hosts.length === 0 ? [{ hostname: 'localhost', port: amqpPort, ...guest }] : hosts,
    virtualHost: decoded(path.replace(/^\//, '')) || '/',
    rabbit: withQuery(rabbit, query),
  }
}

function brokerHost(part: string): BrokerHost {
  const at = part.lastIndexOf('@')
  const credentials = at === -1 ? null : part.slice(0, at)
  const address = /^(?:\[([^\]]+)\]|([^:[\]]*))(?::(\d*))?$/.exec(part.slice(at + 1))
  if (address === null) throw refused('has a host that is not host:port')
  const hostname = address[1] ?? decoded(address[2] ?? '')
  const port = address[3] ? Number(address[3]) : amqpPort
  if (port < 1 || port > 65_535) throw refused(`has the port ${port}`)
  return { hostname: hostname || 'localhost', port, ...credentialsOf(credentials) }
}

function credentialsOf(text: string | null): { username: string; password: string } {
  if (text === null) return guest // Nothing is inherited from the host before.
  const colon = text.indexOf(':')
  if (colon === -1) return { username: decoded(text), password: '' }
  return { username: decoded(text.slice(0, colon)), password: decoded(text.slice(colon + 1)) }
}

function withQuery(rabbit: RabbitOptions, query: string): RabbitOptions {
  const changed: Record<string, boolean | number | string> = {}
  for (const [name, text] of new URLSearchParams(query)) {
    if (ignoredRabbitOptions.includes(name)) continue
    const key = name.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase())
    const fallback = Object.entries(rabbitDefaults).find(([option]) => option === key)?.[1]
    if (fallback === undefined || /[A-Z]/.test(name)) {
      throw refused(`sets the unknown option ${JSON.stringify(name.slice(0, 60))}`)
    }
    changed[key] = valueLike(fallback, text, name)
  }
  return { ...rabbit, ...changed }
}

function valueLike(
  fallback: boolean | number | string,
  text: string,
  name: string,
): boolean | number | string {
  if (typeof fallback === 'string') {
    const choices: readonly (readonly [string, readonly string[]])[] = Object.entries(rabbitChoices)
    const allowed = choices.find(([option]) => option === name)?.[1]
    if (allowed === undefined || allowed.includes(text)) return text
    throw refused(`sets ${name} to what is none of ${allowed.join(', ')}`)
  }
  if (typeof fallback === 'number') {
    const value = Number(text)
    if (text.trim() === '' || !Number.isFinite(value)) {
      throw refused(`sets ${name} to what is not a number`)
    }
    return value
  }
  if (/^(?:1|true|yes|on)$/i.test(text)) return true
  if (/^(?:0|false|no|off)$/i.test(text)) return false
  throw refused(`sets ${name} to what is neither true nor false`)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw refused('has a % that is not followed by two hexadecimal digits; write it as %25')
  }
}

function refused(complaint: string): AgentError {
  return new AgentError('CONFIGURATION_INVALID', `transport_url ${complaint}`, {
    option: 'transport_url',
  })
}
