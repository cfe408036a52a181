import { AgentError } from '../../domain/errors.ts'
import { fieldOf, parsedBody } from './identity-documents.ts'
import type { AskIdentity } from './identity-http.ts'
import { versionedUrl } from './keystone-login.ts'

/** Rejects unless the token is valid and of the project. */
export type TokenCheck = (
  token: string,
  projectId: string | null,
  signal: AbortSignal,
) => Promise<void>

/**
 * Asks Keystone at `authUrl` about a token, by that token itself. Rejects with TOKEN_EXPIRED,
 * PROJECT_MISMATCH, IDENTITY_UNAVAILABLE or ENDPOINT_NOT_FOUND.
 * Source: keystone API reference, v3, validate and show information for token.
 */
export function keystoneTokenCheck(authUrl: string, ask: AskIdentity): TokenCheck {
  const base = versionedUrl(authUrl)
  return async (token, projectId, signal) => {
    const action = `validate the request's token at ${base}`
    const headers = { 'x-auth-token': token, 'x-subject-token': token }
    const url = `${base}/auth/tokens?nocatalog`
    const { status, text } = await ask({ action, method: 'GET', url, headers }, signal)
    if (status === 401 || status === 404) {
      const message = `${action}: keystone answered ${status}; ask again with a valid one`
      throw new AgentError('TOKEN_EXPIRED', message, { status })
    }
    if (status !== 200) {
      throw new AgentError('ENDPOINT_NOT_FOUND', `${action}: it answered ${status}`, { status })
    }
    const tokenProject = fieldOf(fieldOf(fieldOf(parsedBody(text), 'token'), 'project'), 'id')
    if (tokenProject === projectId) return
    const message = `${action}: it is not of project ${projectId}, which the request names`
    throw new AgentError('PROJECT_MISMATCH', message, { projectId })
  }
}
