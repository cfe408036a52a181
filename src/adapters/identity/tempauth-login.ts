import { AgentError } from '../../domain/errors.ts'
import type { StoreAccess } from '../../ports/identity.ts'
import type { Login } from './cached-login.ts'
import { checkedToken } from './check-request.ts'
import { checkedUrl, storageUrl } from './endpoints.ts'
import type { AskIdentity } from './identity-http.ts'

/**
 * Logs in by Swift's v1 auth. Rejects with CREDENTIALS_REFUSED, ENDPOINT_NOT_FOUND or
 * IDENTITY_UNAVAILABLE.
 * Source: swiftclient/client.py, get_auth_1_0; swift/common/middleware/tempauth.py.
 */
export async function tempauthLogin(
  authUrl: string,
  { user, key }: { readonly user: string; readonly key: string },
  ask: AskIdentity,
  signal: AbortSignal,
): Promise<Login<StoreAccess>> {
  const url = checkedUrl(authUrl, 'backup_swift_auth_url').href
  const action = `log in to ${url} as user ${user}`
  const credentials = {
    'x-auth-user': headerText(user, 'backup_swift_user'),
    'x-auth-key': headerText(key, 'backup_swift_key'),
  }
  const request = { action, method: 'GET', url, headers: credentials } as const
  const { status, headers } = await ask(request, signal)
  if (status === 401 || status === 403) {
    const message = `${action}: swift answered ${status}; check backup_swift_user and backup_swift_key`
    throw new AgentError('CREDENTIALS_REFUSED', message, { status })
  }
  const storage = headers['x-storage-url']
  if (status < 200 || status >= 300 || storage === undefined) {
    const message = `${action}: no v1 auth there (answer ${status}); check backup_swift_auth_url and backup_swift_auth_version`
    throw new AgentError('ENDPOINT_NOT_FOUND', message, { status })
  }
  const seconds = headers['x-auth-token-expires'] ?? ''
  const token = headers['x-storage-token'] ?? headers['x-auth-token'] ?? ''
  return {
    access: {
      url: storageUrl(checkedUrl(storage, "swift's X-Storage-Url")),
      token: checkedToken(token, "swift's"),
    },
    lifetimeMs: /^\d{1,9}$/.test(seconds) ? Number(seconds) * 1000 : null,
  }
}

/** UTF-8 as a header carries it. */
function headerText(text: string, option: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: They are what is looked for.
  if (!/[\u0000-\u001f\u007f]/.test(text)) return Buffer.from(text, 'utf8').toString('latin1')
  throw new AgentError('CONFIGURATION_INVALID', `${option} holds control characters`)
}
