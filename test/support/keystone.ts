import { randomBytes } from 'node:crypto'

import type { JsonObject } from '#src/domain/json.ts'
import type { CatalogEntry } from '#src/domain/request-context.ts'
import { type KeystoneUserName, type Services, services } from './services.ts'

/** What a user has in hand after a log-in, and what Cinder's API would forward of it. */
export type UserToken = {
  readonly token: string
  readonly userId: string
  readonly projectId: string
  readonly projectName: string
  readonly roles: readonly string[]
  /** ISO 8601, UTC. */
  readonly expiresAt: string
  /** In the shape of Keystone v2, with the services that Cinder's API lets through. */
  readonly catalog: readonly CatalogEntry[]
  /** Storage URL of the project's account. */
  readonly swiftUrl: string
}

type KeystoneToken = {
  readonly user: { readonly id: string }
  readonly project: { readonly id: string; readonly name: string }
  readonly roles: readonly { readonly name: string }[]
  readonly expires_at: string
  readonly catalog: readonly {
    readonly type: string
    readonly name: string
    readonly endpoints: readonly {
      readonly interface: 'public' | 'internal' | 'admin'
      readonly region: string
      readonly url: string
    }[]
  }[]
}

type LoginChoices = {
  /** Through the door whose tokens end after ten seconds. */
  readonly short?: boolean
  readonly of?: Services
  /** Another than the user's own: `admin` may enter `demo` and `other`, and is an administrator there. */
  readonly project?: KeystoneUserName
}

export async function keystoneToken(
  user: KeystoneUserName,
  { short = false, of = services(), project: wanted = user }: LoginChoices = {},
): Promise<UserToken> {
  const { keystone, swift } = of
  const domain = { id: 'default' }
  const project = user === 'cinder' || user === 'swift' ? 'service' : wanted
  const answer = await fetch(`${short ? keystone.shortUrl : keystone.url}/auth/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      auth: {
        identity: {
          methods: ['password'],
          password: { user: { name: user, domain, password: keystone.passwordOf(user) } },
        },
        scope: { project: { name: project, domain } },
      },
    }),
    signal: AbortSignal.timeout(60_000),
  })
  const token = answer.headers.get('x-subject-token')
  if (!answer.ok || token === null) {
    throw new Error(`keystone let ${user} not in: ${answer.status} ${await answer.text()}`)
  }
  const info = ((await answer.json()) as { readonly token: KeystoneToken }).token
  return {
    token,
    userId: info.user.id,
    projectId: info.project.id,
    projectName: info.project.name,
    roles: info.roles.map(({ name }) => name),
    expiresAt: info.expires_at,
    catalog: forwardedCatalog(info.catalog),
    swiftUrl: `${swift.url}/v1/AUTH_${info.project.id}`,
  }
}

export type ApplicationCredential = {
  readonly id: string
  readonly name: string
  readonly secret: string
}

/** A new application credential of a user in its project, removed after the test. */
export async function applicationCredential(
  owner: { after(end: () => unknown): void },
  user: KeystoneUserName,
): Promise<ApplicationCredential> {
  const { token, userId } = await keystoneToken(user)
  const url = `${services().keystone.url}/users/${userId}/application_credentials`
  const headers = { 'x-auth-token': token, 'content-type': 'application/json' }
  const application_credential = { name: `test-${randomBytes(6).toString('hex')}` }
  const ask = () =>
    fetch(url, {
      method: 'POST',
      headers,
      body: JSON.stringify({ application_credential }),
      signal: AbortSignal.timeout(60_000),
    })
  let answer = await ask()
  // Keystone was seen to miss a role that this user never had, but another that asked at the same time.
  for (let tries = 1; answer.status === 400 && tries < 5; tries += 1) answer = await ask()
  if (!answer.ok) {
    throw new Error(
      `keystone made no application credential: ${answer.status} ${await answer.text()}`,
    )
  }
  const { application_credential: made } = (await answer.json()) as {
    readonly application_credential: ApplicationCredential
  }
  owner.after(() => fetch(`${url}/${made.id}`, { method: 'DELETE', headers }))
  return made
}

/**
 * Ends a token before its time, and resolves once Swift, which remembers good ones for two seconds,
 * refuses it too.
 */
export async function revokeToken({
  token,
  swiftUrl,
}: Pick<UserToken, 'token' | 'swiftUrl'>): Promise<void> {
  const answer = await fetch(`${services().keystone.url}/auth/tokens`, {
    method: 'DELETE',
    headers: { 'x-auth-token': token, 'x-subject-token': token },
    signal: AbortSignal.timeout(60_000),
  })
  if (!answer.ok) throw new Error(`keystone did not revoke a token: ${answer.status}`)
  const signal = AbortSignal.timeout(30_000)
  while (true) {
    const seen = await fetch(swiftUrl, {
      method: 'HEAD',
      headers: { 'x-auth-token': token },
      signal,
    })
    if (seen.status === 401) return
  }
}

/**
 * The context of a request as Cinder's API puts it on the bus, keys without `_context_`.
 * Source: cinder/context.py, RequestContext.to_dict, recorded from release 21.3.1.
 */
export function cinderContext(user: UserToken, requestId: string): JsonObject {
  return {
    user: user.userId,
    user_id: user.userId,
    project_id: user.projectId,
    project: user.projectId,
    project_name: user.projectName,
    domain: null,
    domain_id: null,
    user_domain: 'default',
    project_domain: 'default',
    system_scope: null,
    user_identity: `${user.userId} ${user.projectId} - default default`,
    is_admin: user.roles.includes('admin'),
    is_admin_project: true,
    read_only: false,
    show_deleted: false,
    read_deleted: 'no',
    auth_token: user.token,
    request_id: requestId,
    global_request_id: null,
    resource_uuid: null,
    roles: [...user.roles],
    remote_address: '127.0.0.1',
    timestamp: '2026-11-23T00:31:17.109820',
    quota_class: null,
    service_catalog: user.catalog.map(({ type, name, endpoints }) => ({
      type,
      name,
      endpoints: [...endpoints],
    })),
    message_resource_id: null,
    message_resource_type: null,
    message_action: null,
  }
}

/** Source: keystonemiddleware's v2 catalogue, and the types that cinder/context.py keeps of it. */
function forwardedCatalog(catalog: KeystoneToken['catalog']): CatalogEntry[] {
  const kept = ['identity', 'compute', 'object-store', 'image', 'key-manager']
  return catalog
    .filter(({ type }) => kept.includes(type))
    .map(({ type, name, endpoints }) => {
      const byRegion = new Map<string, Record<string, string>>()
      for (const endpoint of endpoints) {
        const entry = byRegion.get(endpoint.region) ?? { region: endpoint.region }
        entry[`${endpoint.interface}URL`] = endpoint.url
        byRegion.set(endpoint.region, entry)
      }
      return { type, name, endpoints: [...byRegion.values()] }
    })
}
