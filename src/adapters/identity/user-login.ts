import { AgentError } from '../../domain/errors.ts'
import type { CatalogEntry } from '../../domain/request-context.ts'
import { fieldOf, parsedBody } from './identity-documents.ts'
import { identityHttp } from './identity-http.ts'
import { versionedUrl } from './keystone-login.ts'

/** What a user has after a log-in, as Cinder's API would forward it. */
export type UserLogin = {
  readonly token: string | null
  readonly userId: string | null
  readonly projectId: string
  readonly catalog: readonly CatalogEntry[]
}

/** How long Keystone may take for a log-in by hand. */
const requestMs = 30_000

/** Source: cinder/context.py: the services whose endpoints are forwarded. */
const forwarded = ['identity', 'compute', 'object-store', 'image', 'key-manager']

type Environment = Readonly<Record<string, string | undefined>>

/**
 * The user of OpenStack's usual variables: `OS_TOKEN` and `OS_PROJECT_ID` as they are, else a log-in
 * with `OS_AUTH_URL`, `OS_USERNAME`, `OS_PASSWORD`, the project by id or name, and the domains by id
 * or name. An empty variable is one that is not set. Null where none of it is there. Rejects with
 * CREDENTIALS_REFUSED, CREDENTIALS_MISSING, ENDPOINT_NOT_FOUND or IDENTITY_UNAVAILABLE.
 * Source: python-openstackclient, "Environment Variables".
 */
export async function loginFromEnvironment(
  env: Environment,
  signal: AbortSignal,
): Promise<UserLogin | null> {
  const projectId = env['OS_PROJECT_ID'] || null
  const token = env['OS_TOKEN'] || env['OS_AUTH_TOKEN'] || null
  const authUrl = env['OS_AUTH_URL'] || null
  if (projectId !== null && (token !== null || authUrl === null)) {
    return { token, userId: env['OS_USER_ID'] || null, projectId, catalog: [] }
  }
  return authUrl === null ? null : logIn(versionedUrl(authUrl), env, signal)
}

async function logIn(base: string, env: Environment, signal: AbortSignal): Promise<UserLogin> {
  const name = required(env, 'OS_USERNAME')
  const user = { name, password: required(env, 'OS_PASSWORD'), domain: domainOf(env, 'USER') }
  const project = projectOf(env)
  const action = `log in to ${base} as user ${name} of project ${project.id ?? project.name}`
  const ask = identityHttp({ caFile: env['OS_CACERT'] || null, insecure: false, requestMs })
  const identity = { methods: ['password'], password: { user } }
  const json = { auth: { identity, scope: { project } } }
  const request = { action, method: 'POST', url: `${base}/auth/tokens`, json } as const
  const { status, headers, text } = await ask(request, signal)

  const token = headers['x-subject-token']
  const info = fieldOf(parsedBody(text), 'token')
  const projectId = fieldOf(fieldOf(info, 'project'), 'id')
  if (status !== 201 || token === undefined || typeof projectId !== 'string') {
    throw new AgentError(
      'CREDENTIALS_REFUSED',
      `${action}: keystone answered ${status}; check OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, the project and the domains`,
      { status },
    )
  }
  const userId = fieldOf(fieldOf(info, 'user'), 'id')
  return {
    token,
    userId: typeof userId === 'string' ? userId : null,
    projectId,
    catalog: forwardedCatalog(fieldOf(info, 'catalog')),
  }
}

function required(env: Environment, name: string): string {
  const value = env[name]
  if (value) return value
  throw new AgentError('CREDENTIALS_MISSING', `OS_AUTH_URL is set, but ${name} is not`)
}

/** By its id, which needs no domain, where the id is known. */
function projectOf(env: Environment) {
  const id = env['OS_PROJECT_ID']
  if (id) return { id }
  return { name: required(env, 'OS_PROJECT_NAME'), domain: domainOf(env, 'PROJECT') }
}

function domainOf(env: Environment, whose: 'USER' | 'PROJECT') {
  const id = env[`OS_${whose}_DOMAIN_ID`]
  return id ? { id } : { name: env[`OS_${whose}_DOMAIN_NAME`] || 'Default' }
}

/** Keystone's v3 catalogue in the v2 shape that travels with requests. */
function forwardedCatalog(catalog: unknown): readonly CatalogEntry[] {
  const services = Array.isArray(catalog) ? catalog : []
  return services.flatMap((service): CatalogEntry[] => {
    const [type, name, endpoints] = ['type', 'name', 'endpoints'].map((key) =>
      fieldOf(service, key),
    )
    if (typeof type !== 'string' || !forwarded.includes(type)) return []
    const regions = new Map<string, Record<string, string>>()
    for (const endpoint of Array.isArray(endpoints) ? endpoints : []) {
      const [region, url, kind] = ['region', 'url', 'interface'].map((key) =>
        String(fieldOf(endpoint, key)),
      )
      if (region === undefined || url === undefined) continue
      regions.set(region, { ...regions.get(region), region, [`${kind}URL`]: url })
    }
    return [
      { type, name: typeof name === 'string' ? name : null, endpoints: [...regions.values()] },
    ]
  })
}
