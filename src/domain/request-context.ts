import type { Json, JsonObject } from './json.ts'

export type CatalogEntry = {
  readonly type: string
  readonly name: string | null
  /** Keystone v2 shape: `publicURL`, `internalURL`, `adminURL`, `region`. */
  readonly endpoints: readonly Readonly<Record<string, string>>[]
}

/** Who asked. Source: oslo_context/context.py and cinder/context.py; see docs/rpc.md. */
export type RequestContext = {
  readonly requestId: string
  readonly globalRequestId: string | null
  readonly userId: string | null
  readonly projectId: string | null
  readonly isAdmin: boolean
  /** The user's Keystone token. A secret: never logged, sealed in the journal. */
  readonly authToken: string | null
  readonly serviceCatalog: readonly CatalogEntry[]
  /** Every `_context_*` value as received, without prefix, token and catalogue: to pass it on. */
  readonly values: JsonObject
}

/** The context of what this agent does by itself. Source: cinder/context.py, get_admin_context. */
export function administratorContext(requestId: string): RequestContext {
  return {
    requestId,
    globalRequestId: null,
    userId: null,
    projectId: null,
    isAdmin: true,
    authToken: null,
    serviceCatalog: [],
    values: { roles: ['admin'], read_deleted: 'no' },
  }
}

/**
 * The context as notifications carry it: no token, no catalogue, no address, a time of its own, and
 * only the keys that oslo knows, for what else a sender put there may be a secret. Keys that a Python
 * reader expects are there even where the sender left them out.
 * Source: oslo_messaging/notify/notifier.py, 14.0.2 and later (redacted contexts).
 */
export function redactContext(context: RequestContext, timestamp: string): JsonObject {
  const { userId, projectId, values } = context
  const defaults: JsonObject = {
    user: userId,
    user_id: userId,
    project: projectId,
    project_id: projectId,
    system_scope: null,
    domain: null,
    domain_id: null,
    user_domain: null,
    project_domain: null,
    is_admin_project: true,
    read_only: false,
    show_deleted: false,
    global_request_id: context.globalRequestId,
    resource_uuid: null,
    roles: [],
    user_identity: `${userId ?? '-'} ${projectId ?? '-'} - - -`,
    project_name: null,
    quota_class: null,
    message_resource_id: null,
    message_resource_type: null,
    message_action: null,
  }
  const sent = Object.entries(values).filter(([key]) => Object.hasOwn(defaults, key))
  return {
    ...defaults,
    ...Object.fromEntries(sent),
    is_admin: context.isAdmin,
    request_id: context.requestId,
    read_deleted: readDeleted(values['read_deleted']),
    auth_token: null,
    service_catalog: [],
    remote_address: null,
    timestamp,
  }
}

/** Null there makes a Python reader fail. Source: cinder/context.py. */
function readDeleted(value: Json | undefined): string {
  return value === 'yes' || value === 'only' ? value : 'no'
}
