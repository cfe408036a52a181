import { AgentError } from '../../domain/errors.ts'
import type { CatalogEntry, RequestContext } from '../../domain/request-context.ts'

/** `type:name:endpoint key`, as in `swift_catalog_info`. The name is never compared. */
export type CatalogInfo = { readonly type: string; readonly endpointKey: string }

/** Throws CONFIGURATION_INVALID, naming `option`, for text that has not exactly three fields. */
export function parseCatalogInfo(text: string, option: string): CatalogInfo {
  const [type, name, endpointKey, ...rest] = text.split(':')
  if (type && name !== undefined && endpointKey && rest.length === 0) return { type, endpointKey }
  throw new AgentError(
    'CONFIGURATION_INVALID',
    `${option} is ${JSON.stringify(text)}; it must be <service type>:<service name>:<endpoint key>`,
    { option },
  )
}

/**
 * The endpoint that the request's own catalogue names. Only the first entry of the type counts; of its
 * endpoints the first of `region`, else the first. Throws ENDPOINT_NOT_FOUND where there is none, or
 * where `allowed` (`host[:port]`; empty: all) does not list its host.
 * Source: cinder/backup/drivers/swift.py, _get_service_url.
 */
export function catalogEndpoint(
  { serviceCatalog }: RequestContext,
  { type, endpointKey }: CatalogInfo,
  { region, allowed }: { readonly region: string | null; readonly allowed: readonly string[] },
): URL {
  const entry = serviceCatalog.find((candidate: CatalogEntry) => candidate.type === type)
  const endpoints = entry?.endpoints ?? []
  const endpoint = endpoints.find((one) => one['region'] === region) ?? endpoints[0]
  const text = endpoint?.[endpointKey]
  if (text === undefined) {
    throw notFound(`the request's catalogue has no ${endpointKey} of type ${type}`)
  }
  const url = checkedUrl(text, `the catalogue's ${type} endpoint`)
  if (allowed.length > 0 && !allowed.some((host) => isHost(url, host))) {
    throw notFound(`the catalogue's ${type} endpoint at ${url.host} is not in allowed_endpoints`)
  }
  return url
}

/** `text` as an address to send secrets to. Throws ENDPOINT_NOT_FOUND where it cannot be one. */
export function checkedUrl(text: string, what: string): URL {
  const fault = urlFault(text)
  if (fault === null) return new URL(text)
  throw notFound(`${what} cannot be used: it ${fault}`)
}

function urlFault(text: string): string | null {
  if (!/^[\x21-\x7e]+$/.test(text)) return 'holds spaces, line ends or other unprintable characters'
  if (!URL.canParse(text)) return 'is no URL'
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return `starts with ${url.protocol}`
  if (url.username !== '' || url.password !== '') return 'holds a user name or password'
  if (url.search !== '' || url.hash !== '') return 'has a query or a fragment'
  return null
}

function isHost(url: URL, host: string): boolean {
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
  const wanted = host.toLowerCase()
  return wanted === url.hostname || wanted === `${url.hostname}:${port}`
}

export function notFound(message: string): AgentError {
  return new AgentError('ENDPOINT_NOT_FOUND', message)
}

/** The address of the account, as the port has it: without a trailing slash. */
export function storageUrl(url: URL): string {
  return url.href.replace(/\/+$/, '')
}
