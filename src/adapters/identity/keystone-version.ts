import { AgentError } from '../../domain/errors.ts'
import type { AskIdentity } from './identity-http.ts'
import { versionedUrl } from './keystone-login.ts'

/**
 * Asks Keystone at `authUrl` for its version, for which it wants no token. Rejects with
 * IDENTITY_UNAVAILABLE, or ENDPOINT_NOT_FOUND where something else answers.
 * Source: keystone API reference, v3, show v3 API details.
 */
export async function checkKeystone(
  authUrl: string,
  ask: AskIdentity,
  signal: AbortSignal,
): Promise<void> {
  const url = `${versionedUrl(authUrl)}/`
  const { status, text } = await ask({ action: `ask ${url}`, method: 'GET', url }, signal)
  if (status === 200 && /"version"/.test(text)) return
  const message = `${url} answered ${status}, and not as Keystone does; check auth_url`
  throw new AgentError('ENDPOINT_NOT_FOUND', message, { status })
}
