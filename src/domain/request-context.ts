import type { JsonObject } from './json.ts'

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
