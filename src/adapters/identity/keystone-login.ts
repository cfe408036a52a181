import { AgentError } from '../../domain/errors.ts'
import { wallClockMs } from '../../lib/clock.ts'
import type { StoreAccess } from '../../ports/identity.ts'
import type { Login } from './cached-login.ts'
import { checkedToken } from './check-request.ts'
import { checkedUrl, notFound, storageUrl } from './endpoints.ts'
import { fieldOf, parsedBody } from './identity-documents.ts'
import type { AskIdentity, IdentityReply } from './identity-http.ts'
import {
  authDocument,
  bearer,
  type KeystoneAccount,
  type KeystoneCredentials,
} from './keystone-credentials.ts'

/** The v3 API below `authUrl`. Throws ENDPOINT_NOT_FOUND for an address of another version. */
export function versionedUrl(authUrl: string): string {
  const url = checkedUrl(authUrl, 'the identity address')
  const base = url.href.replace(/\/+$/, '')
  if (/\/v3$/.test(base)) return base
  if (!/\/v[\d.]+$/.test(base)) return `${base}/v3`
  throw notFound(`the identity address ${base} is not of version 3, the only one that is spoken`)
}

/** What a log-in gave. */
export type KeystoneToken = {
  readonly token: string
  readonly lifetimeMs: number | null
  /** Keystone's v3 catalogue, as it came. */
  readonly catalog: unknown
}

/**
 * Logs in. Rejects with CREDENTIALS_REFUSED, ENDPOINT_NOT_FOUND or IDENTITY_UNAVAILABLE.
 * Source: keystone API reference, v3, authentication and token management.
 */
export async function keystoneToken(
  baseUrl: string,
  { credentials, options }: KeystoneAccount,
  ask: AskIdentity,
  signal: AbortSignal,
): Promise<KeystoneToken> {
  const action = actionOf(baseUrl, credentials)
  const json = authDocument(credentials)
  const request = { action, method: 'POST', url: `${baseUrl}/auth/tokens`, json } as const
  const reply = await ask(request, signal)
  if (reply.status !== 201 && reply.status !== 200) {
    // Keystone says 404 of an application credential that it does not know.
    const unknown = credentials.kind === 'application credential' && reply.status === 404
    throw refused(action, options, reply, unknown)
  }

  const token = fieldOf(parsedBody(reply.text), 'token')
  return {
    token: checkedToken(reply.headers['x-subject-token'] ?? '', "keystone's"),
    lifetimeMs: lifetimeMs(fieldOf(token, 'expires_at'), reply),
    catalog: fieldOf(token, 'catalog'),
  }
}

/** The same, with the object store that the catalogue of that log-in names in `region`; null: in any. */
export async function keystoneLogin(
  baseUrl: string,
  account: KeystoneAccount,
  region: string | null,
  ask: AskIdentity,
  signal: AbortSignal,
): Promise<Login<StoreAccess>> {
  const { token, lifetimeMs, catalog } = await keystoneToken(baseUrl, account, ask, signal)
  const url = objectStoreUrl(catalog, region, actionOf(baseUrl, account.credentials))
  return { access: { url, token }, lifetimeMs }
}

function actionOf(baseUrl: string, credentials: KeystoneCredentials): string {
  return `log in to ${baseUrl} ${bearer(credentials)}`
}

function refused(
  action: string,
  { who, where }: KeystoneAccount['options'],
  { status, headers }: IdentityReply,
  isUnknown: boolean,
): AgentError {
  if (status === 401 || status === 403 || isUnknown) {
    const also = isUnknown ? `, and ${where}` : ''
    const message = `${action}: keystone answered ${status}; check ${who}${also}`
    return new AgentError('CREDENTIALS_REFUSED', message, { status })
  }
  const redirected = status >= 300 && status < 400 && headers['location'] !== undefined
  const what = redirected ? `a redirect (${status}), which is not followed` : String(status)
  const message = `${action}: the answer was ${what}; check ${where}`
  return new AgentError('ENDPOINT_NOT_FOUND', message, { status })
}

function objectStoreUrl(catalog: unknown, region: string | null, action: string): string {
  const services = Array.isArray(catalog) ? catalog : []
  const endpoints = services
    .filter((service) => fieldOf(service, 'type') === 'object-store')
    .flatMap((service) => fieldOf(service, 'endpoints') ?? [])
    .filter((endpoint) => fieldOf(endpoint, 'interface') === 'public')
  const found = endpoints.find(
    (endpoint) =>
      region === null ||
      fieldOf(endpoint, 'region') === region ||
      fieldOf(endpoint, 'region_id') === region,
  )
  const url = fieldOf(found, 'url')
  if (typeof url === 'string') {
    return storageUrl(checkedUrl(url, "keystone's object-store endpoint"))
  }
  const where = region === null ? '' : ` in region ${region} (backup_swift_region_name)`
  throw notFound(`${action}: the catalogue has no public object-store endpoint${where}`)
}

/** By the server's clock where it tells the time: ours may be wrong. */
function lifetimeMs(expiresAt: unknown, { headers }: IdentityReply): number | null {
  const endMs = typeof expiresAt === 'string' ? Date.parse(expiresAt) : Number.NaN
  const serverNowMs = Date.parse(headers['date'] ?? '')
  const nowMs = Number.isNaN(serverNowMs) ? wallClockMs() : serverNowMs
  return Number.isNaN(endMs) ? null : Math.max(0, endMs - nowMs)
}
