import { AgentError } from '../../domain/errors.ts'
import type { RequestContext } from '../../domain/request-context.ts'
import type { AccessSource, Identity, StoreAccess } from '../../ports/identity.ts'
import { type CachedLogin, cachedLogin, type Login } from './cached-login.ts'
import { checkProject } from './check-request.ts'
import { catalogEndpoint, parseCatalogInfo } from './endpoints.ts'
import {
  type AskIdentity,
  type IdentityHttpOptions,
  identityHttp,
  stoppable,
} from './identity-http.ts'
import { domainOf, type KeystoneAccount } from './keystone-credentials.ts'
import { keystoneLogin, versionedUrl } from './keystone-login.ts'
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

/** Who logs in at Keystone. */
export type SingleUser = {
  /** `backup_swift_user`; `tenant:user` where no project is named. */
  readonly user: string
  /** `backup_swift_key`. */
  readonly key: string
  /** Domain names; null: the domain with the id `default`. */
  readonly userDomain: string | null
  readonly projectDomain: string | null
  /** `backup_swift_project`, else `backup_swift_tenant`. */
  readonly project: string | null
  /** Logs in instead of the password; by its id, else by its name, which is one of the user's. */
  readonly applicationCredential?: {
    readonly id: string | null
    readonly name: string | null
    readonly secret: string
  } | null
}

/** Acts as one Keystone user (v3, by password or application credential) for everybody. Throws CONFIGURATION_INVALID. */
export function keystoneIdentity(options: SingleUserOptions & SingleUser): SingleUserIdentity {
  const account = accountOf(options)
  return singleUserIdentity(options, (ask, authUrl) => {
    const base = versionedUrl(authUrl)
    return (signal) => keystoneLogin(base, account, options.region, ask, signal)
  })
}

/** Source: swiftclient/client.py, get_auth: a user may carry its project, `tenant:user`. */
function accountOf(single: SingleUser): KeystoneAccount {
  const { applicationCredential: application = null } = single
  if (application !== null) return applicationAccount(single, application)
  const { user, project } = withProject(single)
  return {
    credentials: {
      kind: 'password',
      user: { name: user, domain: domainOf(null, single.userDomain) },
      password: single.key,
      project: { name: project, domain: domainOf(null, single.projectDomain) },
    },
    options: {
      who: 'backup_swift_user, backup_swift_key, backup_swift_project and the domains',
      where: 'backup_swift_auth_url',
    },
  }
}

function applicationAccount(
  { user, userDomain }: SingleUser,
  { id, name, secret }: NonNullable<SingleUser['applicationCredential']>,
): KeystoneAccount {
  const owner = { name: user, domain: domainOf(null, userDomain) }
  return {
    credentials: {
      kind: 'application credential',
      credential: id === null ? { name: name ?? '', user: owner } : { id },
      secret,
    },
    options: {
      who: 'application_credential_id or _name and application_credential_secret in [cinder_backup_agent], and backup_swift_user',
      where: 'backup_swift_auth_url',
    },
  }
}

function withProject({ user, project }: SingleUser) {
  if (project !== null) return { user, project }
  const [tenant, name, ...rest] = user.split(':')
  if (tenant && name && rest.length === 0) return { user: name, project: tenant }
  throw new AgentError(
    'CONFIGURATION_INVALID',
    'backup_swift_project is not set; keystone needs a project to log in to',
  )
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

type LoginTo = (
  ask: AskIdentity,
  authUrl: string,
) => (signal: AbortSignal) => Promise<Login<StoreAccess>>

function singleUserIdentity(options: SingleUserOptions, loginTo: LoginTo): SingleUserIdentity {
  const info = parseCatalogInfo(options.catalogInfo, 'keystone_catalog_info')
  const logins = new Map<string, CachedLogin<StoreAccess>>()
  const stop = new AbortController() // Reaches also logins that were forgotten while they ran.
  const ask = stoppable(identityHttp(options), stop.signal)

  const authUrlFor = (context: RequestContext): string => {
    if (options.authUrl !== null) return options.authUrl
    const { region, allowedEndpoints: allowed } = options
    return catalogEndpoint(context, info, { region, allowed }).href
  }
  return {
    accessFor: (context, projectId) => {
      checkProject(context, projectId)
      const authUrl = authUrlFor(context)
      const login = logins.get(authUrl) ?? cachedLogin(loginTo(ask, authUrl))
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
