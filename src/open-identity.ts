import { identityHttp, stoppable } from './adapters/identity/identity-http.ts'
import { perUserIdentity } from './adapters/identity/per-user-identity.ts'
import { type ServiceUser, serviceUser } from './adapters/identity/service-user.ts'
import {
  keystoneIdentity,
  type SingleUserIdentity,
  tempauthIdentity,
} from './adapters/identity/single-user-identity.ts'
import { type AskToken, askKeystone, tokenCheck } from './adapters/identity/validate-token.ts'
import type { Config } from './config.ts'
import type { Identity } from './ports/identity.ts'

export type OpenIdentity = { readonly identity: Identity; readonly dispose: () => Promise<void> }

const requestMs = 60_000

/** Whose credentials Swift gets to see, by `backup_swift_auth`. Throws CONFIGURATION_INVALID. */
export function openIdentity(config: Config): OpenIdentity {
  return config.swift.auth === 'per_user' ? openPerUser(config) : openSingleUser(config)
}

function openPerUser(config: Config): OpenIdentity {
  const { swift, identity: options } = config
  const stop = new AbortController()
  const service = openServiceUser(config)
  const askToken = service?.askToken ?? tokenAsker(config, stop.signal)
  const identity = perUserIdentity({
    region: swift.regionName,
    allowedEndpoints: options.allowedEndpoints,
    storageUrl: swift.url,
    catalogInfo: swift.catalogInfo,
    checkToken: options.validateTokens && askToken !== null ? tokenCheck(askToken) : null,
    askToken,
    service,
  })
  const dispose = async () => {
    stop.abort()
    await service?.[Symbol.asyncDispose]()
  }
  return { identity, dispose }
}

/** Null unless both options want a service token (A-05: one of them alone changes nothing). */
function openServiceUser({ swift, identity: { serviceUser: user } }: Config): ServiceUser | null {
  if (!swift.sendsServiceToken || user === null) return null
  return serviceUser({ ...user, ...trustOf(user, 'service_user', swift), requestMs })
}

/** Keystone, where the configuration says where it is, asked about a token by that token itself. */
function tokenAsker(
  { swift, identity: { keystone, validateTokens } }: Config,
  stop: AbortSignal,
): AskToken | null {
  if (keystone === null) return null
  const trust = trustOf(keystone, 'keystone_authtoken', swift)
  try {
    return askKeystone(keystone.authUrl, stoppable(identityHttp({ ...trust, requestMs }), stop))
  } catch (error) {
    if (validateTokens) throw error
    return null // Without it a token that Swift refuses has ended; nothing else needs the address.
  }
}

type Trusting = { readonly caFile: string | null; readonly isInsecure: boolean }

/** The certificates of a section, else those of Swift's options. */
function trustOf({ caFile, isInsecure }: Trusting, section: string, swift: Trusting) {
  if (caFile === null) return { caFile: swift.caFile, insecure: isInsecure }
  return { caFile, caOption: `cafile in [${section}]`, insecure: isInsecure }
}

function openSingleUser({ swift, identity: { allowedEndpoints } }: Config): OpenIdentity {
  const user = swift.singleUser
  const login = {
    region: swift.regionName,
    allowedEndpoints,
    authUrl: user.authUrl,
    catalogInfo: user.keystoneCatalogInfo,
    caFile: swift.caFile,
    insecure: swift.isInsecure,
    requestMs,
    user: user.userName,
    key: user.password,
  }
  const identity: SingleUserIdentity =
    user.authVersion === 1
      ? tempauthIdentity(login)
      : keystoneIdentity({
          ...login,
          userDomain: user.userDomainName,
          projectDomain: user.projectDomainName,
          project: user.projectName,
          applicationCredential: user.applicationCredential,
        })
  return { identity, dispose: () => Promise.resolve(identity[Symbol.asyncDispose]()) }
}
