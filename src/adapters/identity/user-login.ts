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

/**
 * The user of OpenStack's usual variables: `OS_TOKEN` and `OS_PROJECT_ID` as they are, else a log-in
 * with `OS_AUTH_URL`, `OS_USERNAME`, `OS_PASSWORD`, `OS_PROJECT_NAME` and the domains' names. Null
 * where neither is set. Rejects with CREDENTIALS_REFUSED, CREDENTIALS_MISSING or
 * IDENTITY_UNAVAILABLE. Source: python-openstackclient, "Environment Variables".
 */
export async function loginFromEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<UserLogin | null> {
  const projectId = env['OS_PROJECT_ID']
  const token = env['OS_TOKEN'] ?? env['OS_AUTH_TOKEN']
  if (projectId !== undefined && (token !== undefined || env['OS_AUTH_URL'] === undefined)) {
    return { token: token ?? null, userId: env['OS_USER_ID'] ?? null, projectId, catalog: [] }
  }
  const authUrl = env['OS_AUTH_URL']
  if (authUrl === undefined) return null
  const read = (name: string): string => {
    const value = env[name]
    if (value !== undefined) return value
    throw new AgentError('CREDENTIALS_MISSING', `OS_AUTH_URL is set, but ${name} is not`)
  }
  return logIn(versionedUrl(authUrl), read, env, signal)
}

async function logIn(
  base: string,
  read: (name: string) => string,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<UserLogin> {
  const name = read('OS_USERNAME')
  const domain = (variable: string) => ({ name: env[variable] ?? 'Default' })
  const user = { name, password: read('OS_PASSWORD'), domain: domain('OS_USER_DOMAIN_NAME') }
  const project = { name: read('OS_PROJECT_NAME'), domain: domain('OS_PROJECT_DOMAIN_NAME') }
  const action = `log in to ${base} as user ${name} of project ${project.name}`
  const ask = identityHttp({ caFile: env['OS_CACERT'] ?? null, insecure: false, requestMs })
  const { status, headers, text } = await ask(
    {
      action,
      method: 'POST',
      url: `${base}/auth/tokens`,
      json: {
        auth: {
          identity: { methods: ['password'], password: { user } },
          scope: { project },
        },
      },
    },
    signal,
  )
  const token = headers['x-subject-token']
  const info = fieldOf(parsedBody(text), 'token')
  const projectId = fieldOf(fieldOf(info, 'project'), 'id')
  if (status !== 201 || token === undefined || typeof projectId !== 'string') {
    throw new AgentError('CREDENTIALS_REFUSED', `${action}: keystone answered ${status}`)
  }
  const userId = fieldOf(fieldOf(info, 'user'), 'id')
  return {
    token,
    userId: typeof userId === 'string' ? userId : null,
    projectId,
    catalog: forwardedCatalog(fieldOf(info, 'catalog')),
  }
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
