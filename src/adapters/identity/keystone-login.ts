import { AgentError } from '../../domain/errors.ts'
import { wallClockMs } from '../../lib/clock.ts'
import type { Login } from './cached-login.ts'
import { checkedToken } from './check-request.ts'
import { checkedUrl, notFound, storageUrl } from './endpoints.ts'
import { fieldOf, parsedBody } from './identity-documents.ts'
import type { AskIdentity, IdentityReply } from './identity-http.ts'

export type KeystoneCredentials = {
  /** `backup_swift_user`; `tenant:user` where no project is named. */
  readonly user: string
  /** `backup_swift_key`. */
  readonly key: string
  /** Domain names; null: the domain with the id `default`. */
  readonly userDomain: string | null
  readonly projectDomain: string | null
  /** `backup_swift_project`, else `backup_swift_tenant`. */
  readonly project: string | null
  /** `backup_swift_region_name`: which of the object stores; null: the first. */
  readonly region: string | null
}

type Scoped = KeystoneCredentials & { readonly project: string }

/**
 * The credentials with their project. Throws CONFIGURATION_INVALID where none is named.
 * Source: swiftclient/client.py, get_auth: a user may carry it, `tenant:user`.
 */
export function scopedCredentials(credentials: KeystoneCredentials): Scoped {
  const { user, project } = credentials
  if (project !== null) return { ...credentials, project }
  const [tenant, name, ...rest] = user.split(':')
  if (tenant && name && rest.length === 0) return { ...credentials, user: name, project: tenant }
  throw new AgentError(
    'CONFIGURATION_INVALID',
    'backup_swift_project is not set; keystone needs a project to log in to',
  )
}

/** The v3 API below `authUrl`. Throws ENDPOINT_NOT_FOUND for an address of another version. */
export function versionedUrl(authUrl: string): string {
  const url = checkedUrl(authUrl, 'the identity address')
  const base = url.href.replace(/\/+$/, '')
  if (/\/v3$/.test(base)) return base
  if (!/\/v[\d.]+$/.test(base)) return `${base}/v3`
  throw notFound(`the identity address ${base} is not of version 3, the only one that is spoken`)
}

/**
 * Logs in by password and finds the object store in the catalogue of that login. Rejects with
 * CREDENTIALS_REFUSED, ENDPOINT_NOT_FOUND or IDENTITY_UNAVAILABLE.
 * Source: keystone API reference, v3, password authentication with scoped authorization.
 */
export async function keystoneLogin(
  baseUrl: string,
  credentials: Scoped,
  ask: AskIdentity,
  signal: AbortSignal,
): Promise<Login> {
  const { user, key, project, region } = credentials
  const action = `log in to ${baseUrl} as user ${user} of project ${project}`
  const json = {
    auth: {
      identity: {
        methods: ['password'],
        password: { user: { name: user, password: key, domain: domain(credentials.userDomain) } },
      },
      scope: { project: { name: project, domain: domain(credentials.projectDomain) } },
    },
  }
  const request = { action, method: 'POST', url: `${baseUrl}/auth/tokens`, json } as const
  const reply = await ask(request, signal)
  if (reply.status !== 201 && reply.status !== 200) throw refused(action, reply)

  const token = fieldOf(parsedBody(reply.text), 'token')
  return {
    token: checkedToken(reply.headers['x-subject-token'] ?? '', "keystone's"),
    url: objectStoreUrl(fieldOf(token, 'catalog'), region, action),
    lifetimeMs: lifetimeMs(fieldOf(token, 'expires_at'), reply),
  }
}

// Source: keystoneclient/httpclient.py: no domain named means the one with this id.
function domain(name: string | null) {
  return name === null ? { id: 'default' } : { name }
}

function refused(action: string, { status, headers }: IdentityReply): AgentError {
  if (status === 401 || status === 403) {
    const message = `${action}: keystone answered ${status}; check backup_swift_user, backup_swift_key, backup_swift_project and the domains`
    return new AgentError('CREDENTIALS_REFUSED', message, { status })
  }
  const redirected = status >= 300 && status < 400 && headers['location'] !== undefined
  const what = redirected ? `a redirect (${status}), which is not followed` : String(status)
  const message = `${action}: the answer was ${what}; check backup_swift_auth_url`
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
