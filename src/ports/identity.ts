import type { RequestContext } from '../domain/request-context.ts'

/** The account to talk to, and what to show at its door. */
export type StoreAccess = {
  /** Storage URL of the account, without a trailing slash: `https://swift/v1/AUTH_<project id>`. */
  readonly url: string
  readonly token: string
  /** Our own token beside the user's, by which the store also takes a user's that has ended. */
  readonly serviceToken?: string
}

/**
 * Where a store client gets its token. Rejects with AgentError: TOKEN_EXPIRED,
 * CREDENTIALS_REFUSED, CREDENTIALS_MISSING, ENDPOINT_NOT_FOUND, PROJECT_MISMATCH,
 * IDENTITY_UNAVAILABLE (transient). `test/contracts/identity.ts` is the executable form.
 */
export interface AccessSource {
  /** A token that should be valid now; renewed before it ends; one renewal for many waiters. */
  access(signal: AbortSignal): Promise<StoreAccess>

  /** After the store said 401 to `refused`: another token, or TOKEN_EXPIRED where there is none. */
  renew(refused: StoreAccess, signal: AbortSignal): Promise<StoreAccess>
}

/** Whose credentials an operation uses: the user's (`per_user`) or our own (`single_user`). */
export interface Identity {
  /**
   * The access for one operation on a backup of `projectId`, asked for by `context`. Throws
   * AgentError where it can be told at once that there is none.
   */
  accessFor(context: RequestContext, projectId: string | null): AccessSource
}
