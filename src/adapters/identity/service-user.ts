import { type CachedLogin, cachedLogin } from './cached-login.ts'
import { type IdentityHttpOptions, identityHttp, stoppable } from './identity-http.ts'
import { domainOf, type KeystoneAccount, type KeystoneCredentials } from './keystone-credentials.ts'
import { keystoneToken, versionedUrl } from './keystone-login.ts'
import { type AskToken, askKeystone } from './validate-token.ts'

/** The options of `[service_user]`, null where they are not set. */
export type ServiceUserOptions = IdentityHttpOptions & {
  readonly authUrl: string
  readonly authType: string | null
  readonly userId: string | null
  readonly userName: string | null
  readonly userDomainId: string | null
  readonly userDomainName: string | null
  readonly password: string | null
  readonly projectId: string | null
  readonly projectName: string | null
  readonly projectDomainId: string | null
  readonly projectDomainName: string | null
  readonly applicationCredentialId: string | null
  readonly applicationCredentialName: string | null
  readonly applicationCredentialSecret: string | null
}

/**
 * The agent's own token, which goes to Swift beside the user's: with it Swift takes also a user's
 * token that has ended meanwhile.
 * Source: keystonemiddleware/auth_token/__init__.py, process_request: a service token with one of
 * `service_token_roles` makes it ask Keystone with `allow_expired`.
 */
export interface ServiceUser extends CachedLogin<{ readonly token: string }> {
  /** What Keystone says of a user's token, one that has ended included. */
  readonly askToken: AskToken
}

/** Throws CONFIGURATION_INVALID where the CA file cannot be read, ENDPOINT_NOT_FOUND for a bad URL. */
export function serviceUser(options: ServiceUserOptions): ServiceUser {
  const stop = new AbortController()
  const ask = stoppable(identityHttp(options), stop.signal)
  const base = versionedUrl(options.authUrl)
  const account = accountOf(options)
  const login = cachedLogin(async (signal) => {
    const { token, lifetimeMs } = await keystoneToken(base, account, ask, signal)
    return { access: { token }, lifetimeMs }
  })
  return {
    ...login,
    askToken: askKeystone(base, ask, login),
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await login[Symbol.asyncDispose]()
    },
  }
}

function accountOf(options: ServiceUserOptions): KeystoneAccount {
  const isPassword = options.authType !== 'v3applicationcredential'
  const names = isPassword
    ? 'username, password, project_name and the domains'
    : 'application_credential_id or _name, application_credential_secret and the user'
  return {
    credentials: isPassword ? byPassword(options) : byApplicationCredential(options),
    options: { who: `${names} in [service_user]`, where: 'auth_url in [service_user]' },
  }
}

function byPassword(options: ServiceUserOptions): KeystoneCredentials {
  const { projectId, projectName, projectDomainId, projectDomainName } = options
  return {
    kind: 'password',
    user: userOf(options),
    password: options.password ?? '',
    project:
      projectId === null
        ? { name: projectName ?? '', domain: domainOf(projectDomainId, projectDomainName) }
        : { id: projectId },
  }
}

function byApplicationCredential(options: ServiceUserOptions): KeystoneCredentials {
  const { applicationCredentialId: id, applicationCredentialName: name } = options
  return {
    kind: 'application credential',
    credential: id === null ? { name: name ?? '', user: userOf(options) } : { id },
    secret: options.applicationCredentialSecret ?? '',
  }
}

function userOf({ userId, userName, userDomainId, userDomainName }: ServiceUserOptions) {
  if (userId !== null) return { id: userId }
  return { name: userName ?? '', domain: domainOf(userDomainId, userDomainName) }
}
