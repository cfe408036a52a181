import { AgentError, hasCode } from '../../domain/errors.ts'
import type { CachedLogin } from './cached-login.ts'
import { fieldOf, parsedBody } from './identity-documents.ts'
import type { AskIdentity, IdentityReply } from './identity-http.ts'
import { versionedUrl } from './keystone-login.ts'

/**
 * The id of the project that a token is of, where Keystone takes the token for a good one; null: it
 * is of none. Rejects with TOKEN_EXPIRED, IDENTITY_UNAVAILABLE, CREDENTIALS_REFUSED or
 * ENDPOINT_NOT_FOUND.
 */
export type AskToken = (token: string, signal: AbortSignal) => Promise<string | null>

/** Rejects as AskToken does, and with PROJECT_MISMATCH unless the token is of the project. */
export type TokenCheck = (
  token: string,
  projectId: string | null,
  signal: AbortSignal,
) => Promise<void>

/**
 * Asks Keystone at `authUrl` about a token: by that token itself, or by that of a `service`, which is
 * told of tokens that have ended too, as Swift then is.
 * Source: keystone API reference, v3, validate and show information for token.
 */
export function askKeystone(
  authUrl: string,
  ask: AskIdentity,
  service: CachedLogin<{ readonly token: string }> | null = null,
): AskToken {
  const base = versionedUrl(authUrl)
  const action = `validate the request's token at ${base}`
  const url = `${base}/auth/tokens?nocatalog${service === null ? '' : '&allow_expired=1'}`
  const answerTo = (token: string, asker: string, signal: AbortSignal) => {
    const headers = { 'x-auth-token': asker, 'x-subject-token': token }
    return ask({ action, method: 'GET', url, headers }, signal)
  }
  return async (token, signal) => {
    let reply: IdentityReply
    if (service === null) {
      reply = await answerTo(token, token, signal)
    } else {
      const ours = await service.access(signal)
      reply = await answerTo(token, ours.token, signal)
      // Of the asker's own token, where the one that it asks about is 404.
      if (reply.status === 401) {
        reply = await answerTo(token, (await service.renew(ours, signal)).token, signal)
      }
    }
    if (reply.status !== 200) throw refused(action, reply.status, service !== null)
    const project = fieldOf(fieldOf(fieldOf(parsedBody(reply.text), 'token'), 'project'), 'id')
    return typeof project === 'string' ? project : null
  }
}

function refused(action: string, status: number, isOfService: boolean): AgentError {
  if (isOfService && (status === 401 || status === 403)) {
    const message = `${action}: keystone answered ${status} to the user of [service_user]; give it the role service`
    return new AgentError('CREDENTIALS_REFUSED', message, { status })
  }
  if (status === 401 || status === 404) {
    const message = `${action}: keystone answered ${status}; ask again with a valid one`
    return new AgentError('TOKEN_EXPIRED', message, { status })
  }
  return new AgentError('ENDPOINT_NOT_FOUND', `${action}: it answered ${status}`, { status })
}

/** A request is not served with the token of another project than it names. */
export function tokenCheck(askToken: AskToken): TokenCheck {
  return async (token, projectId, signal) => {
    const tokenProject = await askToken(token, signal)
    if (tokenProject === projectId && projectId !== null) return
    const message = `the request's token is not of project ${projectId}, which the request names`
    throw new AgentError('PROJECT_MISMATCH', message, { projectId })
  }
}

/** Whether Keystone says that it is no good: not where it says nothing. */
export async function isDead(
  token: string,
  askToken: AskToken,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await askToken(token, signal)
    return false
  } catch (error) {
    if (hasCode(error, 'TOKEN_EXPIRED')) return true
    throw error
  }
}
