import type { RequestContext } from '../../domain/request-context.ts'
import type { AccessSource, Identity } from '../../ports/identity.ts'
import { type CachedLogin, cachedLogin, type Login } from './cached-login.ts'
import { checkProject } from './check-request.ts'
import { catalogEndpoint, parseCatalogInfo } from './endpoints.ts'
import { type AskIdentity, type IdentityHttpOptions, identityHttp } from './identity-http.ts'
import {
  type KeystoneCredentials,
  keystoneLogin,
  scopedCredentials,
  versionedUrl,
} from './keystone-login.ts'
import { tempauthLogin } from './tempauth-login.ts'

export type SingleUserOptions = IdentityHttpOptions & {
  /** `backup_swift_auth_url`; null: the request's catalogue names it. */
  readonly authUrl: string | null
  /** `keystone_catalog_info`. */
  readonly catalogInfo: string
  /** `backup_swift_region_name`. */
  readonly region: string | null
  /** `allowed_endpoints`: where a catalogue may lead; empty: anywhere. */
  readonly allowedEndpoints: readonly string[]
}

export type SingleUserIdentity = Identity & AsyncDisposable

/** Acts as one Keystone user (v3, by password) for everybody. Throws CONFIGURATION_INVALID. */
export function keystoneIdentity(
  options: SingleUserOptions & Omit<KeystoneCredentials, 'region'>,
): SingleUserIdentity {
  const credentials = scopedCredentials(options)
  return singleUserIdentity(options, (ask, authUrl) => {
    const base = versionedUrl(authUrl)
    return (signal) => keystoneLogin(base, credentials, ask, signal)
  })
}

/** Acts as one user of Swift's own v1 auth (tempauth) for everybody. Throws CONFIGURATION_INVALID. */
export function tempauthIdentity(
  options: SingleUserOptions & { readonly user: string; readonly key: string },
): SingleUserIdentity {
  return singleUserIdentity(
    options,
    (ask, authUrl) => (signal) => tempauthLogin(authUrl, options, ask, signal),
  )
}

// Each request's catalogue may name another address; only so many logins are remembered.
const loginsMax = 16

type LoginTo = (ask: AskIdentity, authUrl: string) => (signal: AbortSignal) => Promise<Login>

function singleUserIdentity(options: SingleUserOptions, loginTo: LoginTo): SingleUserIdentity {
  const info = parseCatalogInfo(options.catalogInfo, 'keystone_catalog_info')
  const ask = identityHttp(options)
  const logins = new Map<string, CachedLogin>()
  const stop = new AbortController() // Reaches also logins that were forgotten while they ran.

  const stoppable: AskIdentity = (request, signal) =>
    ask(request, AbortSignal.any([signal, stop.signal]))
  const authUrlFor = (context: RequestContext): string => {
    if (options.authUrl !== null) return options.authUrl
    const { region, allowedEndpoints: allowed } = options
    return catalogEndpoint(context, info, { region, allowed }).href
  }
  return {
    accessFor: (context, projectId) => {
      checkProject(context, projectId)
      const authUrl = authUrlFor(context)
      const login = logins.get(authUrl) ?? cachedLogin(loginTo(stoppable, authUrl))
      logins.delete(authUrl)
      logins.set(authUrl, login) // The last one used is the last to be forgotten.
      const [oldest] = logins.keys()
      if (logins.size > loginsMax && oldest !== undefined) logins.delete(oldest)
      return pinned(login)
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await Promise.all([...logins.values()].map((login) => login[Symbol.asyncDispose]()))
    },
  }
}

/** One operation stays with the account it began with, whatever a later catalogue says. */
function pinned(source: AccessSource): AccessSource {
  let url: string | null = null
  const pin = (access: { readonly url: string; readonly token: string }) => {
    url ??= access.url
    return { url, token: access.token }
  }
  return {
    access: async (signal) => pin(await source.access(signal)),
    renew: async (refused, signal) => pin(await source.renew(refused, signal)),
  }
}
