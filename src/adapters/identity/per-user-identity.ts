import { AgentError } from '../../domain/errors.ts'
import type { RequestContext } from '../../domain/request-context.ts'
import { singleFlight } from '../../lib/single-flight.ts'
import type { AccessSource, Identity, StoreAccess } from '../../ports/identity.ts'
import { checkedToken, checkProject, isForeign } from './check-request.ts'
import {
  type CatalogInfo,
  catalogEndpoint,
  checkedUrl,
  notFound,
  parseCatalogInfo,
  storageUrl,
} from './endpoints.ts'
import type { ServiceUser } from './service-user.ts'
import { type AskToken, isDead, type TokenCheck } from './validate-token.ts'

export type PerUserOptions = {
  /** `backup_swift_url`: the project's id is put right behind it; null: the request's catalogue. */
  readonly storageUrl: string | null
  /** `swift_catalog_info`. */
  readonly catalogInfo: string
  /** `backup_swift_region_name`. */
  readonly region: string | null
  /** `allowed_endpoints`: where a catalogue may lead; empty: anywhere. */
  readonly allowedEndpoints: readonly string[]
  /** Asks Keystone about a token before it is used (`validate_tokens`); null: Swift alone judges. */
  readonly checkToken: TokenCheck | null
  /** Asks it about a token that Swift refused; null: Swift is believed. */
  readonly askToken: AskToken | null
  /** Whose token goes with the user's (`backup_swift_service_auth`); null: nobody's. */
  readonly service: ServiceUser | null
}

/**
 * Acts with the token of whoever asked, on the account of the request's project. Such a token cannot
 * be renewed; with that of a service user beside it, it need not be. Throws CONFIGURATION_INVALID
 * where `catalogInfo` is malformed.
 */
export function perUserIdentity(options: PerUserOptions): Identity {
  const info = parseCatalogInfo(options.catalogInfo, 'swift_catalog_info')

  return {
    accessFor: (context, projectId) => {
      checkProject(context, projectId)
      const url = accountUrl(context, projectId, info, options)
      return userAccess(context, { url, token: userToken(context) }, options)
    },
  }
}

function accountUrl(
  context: RequestContext,
  backupProjectId: string | null,
  info: CatalogInfo,
  { storageUrl: stem, region, allowedEndpoints }: PerUserOptions,
): string {
  if (stem === null) {
    if (isForeign(context, backupProjectId)) throw foreignCatalog(context, backupProjectId)
    return storageUrl(catalogEndpoint(context, info, { region, allowed: allowedEndpoints }))
  }
  const projectId = backupProjectId ?? context.projectId
  if (projectId === null)
    throw notFound('the request names no project to put behind backup_swift_url')
  // It comes from a message, and must not lead out of the account that it names.
  if (!/^[\w-][\w.-]*$/.test(projectId)) {
    throw notFound(`project id ${JSON.stringify(projectId)} cannot be part of a storage URL`)
  }
  return storageUrl(checkedUrl(stem + projectId, 'backup_swift_url with the project id'))
}

/** The catalogue of an administrator's request leads to the administrator's own account. */
function foreignCatalog({ projectId }: RequestContext, backupProjectId: string | null): AgentError {
  return new AgentError(
    'PROJECT_MISMATCH',
    `the request's catalogue leads to project ${projectId}, the backup is project ${backupProjectId}'s; set backup_swift_url to let administrators work on it`,
    { projectId, backupProjectId },
  )
}

function userToken({ authToken }: RequestContext): string {
  if (authToken !== null && authToken !== '') return checkedToken(authToken, "the request's")
  throw new AgentError(
    'CREDENTIALS_MISSING',
    'the request carries no token; send one, or set backup_swift_auth = single_user',
  )
}

function userAccess(
  context: RequestContext,
  user: StoreAccess,
  { checkToken, askToken, service }: PerUserOptions,
): AccessSource {
  let isChecked = checkToken === null
  const withService = (serviceToken: string | undefined): StoreAccess =>
    serviceToken === undefined ? user : { ...user, serviceToken }

  // However many requests were refused at once, Keystone is asked once.
  const verdict = singleFlight(
    async (signal) => askToken === null || isDead(user.token, askToken, signal),
  )

  return {
    access: async (signal) => {
      signal.throwIfAborted()
      const ours = await service?.access(signal)
      if (!isChecked) await checkToken?.(user.token, context.projectId, signal)
      isChecked = true
      return withService(ours?.token)
    },
    renew: async ({ serviceToken }, signal) => {
      signal.throwIfAborted()
      const ours = await service?.renew({ token: serviceToken ?? '' }, signal)
      // Swift says 401 also while it cannot ask Keystone: then the token may be as good as ever.
      // Source: keystonemiddleware/auth_token/__init__.py, fetch_token, with delay_auth_decision.
      if (await verdict.join(signal)) throw expired(user, service !== null)
      return withService(ours?.token)
    },
  }
}

function expired({ url }: StoreAccess, hasService: boolean): AgentError {
  const why = hasService
    ? "keystone takes the request's token no more, with a service token neither; it was revoked, or ended longer ago than keystone's allow_expired_window; ask again with a new one"
    : "swift refused the request's token (401) and it cannot be renewed; ask again with a new one, configure service tokens (backup_swift_service_auth), lengthen keystone's token life, or set backup_swift_auth = single_user"
  return new AgentError('TOKEN_EXPIRED', why, { url })
}
