// Who the agent is to Keystone, and whom it believes.

import { versionedUrl } from '../adapters/identity/keystone-login.ts'
import { backupDriver } from './backup-driver.ts'
import type { Finding } from './finding.ts'
import type { Settings } from './schema.ts'

/** Whether the user's token goes to Swift at all: it can have another beside it. */
function isPerUser({ DEFAULT: values }: Settings): boolean {
  const isSwift = backupDriver(values.backup_driver)?.kind === 'swift'
  return isSwift && values.backup_swift_auth === 'per_user'
}

function sendsServiceToken(settings: Settings): boolean {
  const { DEFAULT: values, service_user: user } = settings
  return isPerUser(settings) && values.backup_swift_service_auth && user.send_service_user_token
}

/** What keeps the agent from getting a service token; Cinder says it at the first request. */
export function serviceUserFindings(settings: Settings): readonly Finding[] {
  if (!sendsServiceToken(settings)) return []
  const what = loginFault(settings.service_user)
  return what === null ? [] : [{ name: 'DEFAULT.backup_swift_service_auth', what }]
}

/**
 * Addresses of Keystone that cannot be used, where one is needed: they would stop the start, or every
 * request of a single_user.
 */
export function keystoneAddressFindings(settings: Settings): readonly Finding[] {
  const { DEFAULT: values, cinder_backup_agent: agent } = settings
  const isSwift = backupDriver(values.backup_driver)?.kind === 'swift'
  const isSingle = isSwift && values.backup_swift_auth === 'single_user'
  const needed: readonly (readonly [string, string | null, boolean])[] = [
    ['service_user.auth_url', settings.service_user.auth_url, sendsServiceToken(settings)],
    [
      'keystone_authtoken.auth_url',
      settings.keystone_authtoken.auth_url,
      isPerUser(settings) && agent.validate_tokens,
    ],
    [
      'DEFAULT.backup_swift_auth_url',
      values.backup_swift_auth_url,
      isSingle && values.backup_swift_auth_version === '3',
    ],
  ]
  return needed.flatMap(([name, url, isNeeded]) => {
    const what = url !== null && isNeeded ? addressFault(url) : null
    return what === null ? [] : [{ name, what }]
  })
}

function addressFault(url: string): string | null {
  try {
    versionedUrl(url)
    return null
  } catch (error) {
    return `${(error as Error).message.replace(/^the identity address /, '')}; write http://keystone:5000/v3`
  }
}

function loginFault(login: Settings['service_user']): string | null {
  const isNamed = login.username !== null || login.user_id !== null
  const needs = (options: string) => `needs ${options} in [service_user]; set them`
  switch (login.auth_type) {
    case null:
    case 'password':
    case 'v3password':
      if (login.auth_url === null || !isNamed || login.password === null) {
        return needs('auth_url, username and password')
      }
      return login.project_name === null && login.project_id === null ? needs('project_name') : null
    case 'v3applicationcredential': {
      const { application_credential_id: id, application_credential_name: name } = login
      if (login.auth_url === null || login.application_credential_secret === null) {
        return needs('auth_url and application_credential_secret')
      }
      if (id !== null || (name !== null && isNamed)) return null
      return needs('application_credential_id, or application_credential_name and username,')
    }
    default:
      return `needs auth_type = password or v3applicationcredential in [service_user], not ${login.auth_type}`
  }
}

/** The switch of the token without the token changes nothing, as in Cinder. */
export function serviceUserCautions(settings: Settings): readonly Finding[] {
  const { backup_swift_service_auth: isWanted } = settings.DEFAULT
  if (!isWanted || !isPerUser(settings) || settings.service_user.send_service_user_token) return []
  const what = 'sends nothing without [service_user] send_service_user_token = true'
  return [{ name: 'DEFAULT.backup_swift_service_auth', what }]
}

/** Said at every start: whoever sits between may read tokens and passwords, and change backups. */
export function insecureCautions(settings: Settings): readonly Finding[] {
  const { DEFAULT: values, cinder_backup_agent: agent } = settings
  const isSwift = backupDriver(values.backup_driver)?.kind === 'swift'
  const asksKeystone = isPerUser(settings) && settings.keystone_authtoken.auth_url !== null
  const insecure: readonly (readonly [string, boolean])[] = [
    ['DEFAULT.backup_swift_auth_insecure', isSwift && values.backup_swift_auth_insecure],
    ['service_user.insecure', sendsServiceToken(settings) && settings.service_user.insecure],
    [
      'keystone_authtoken.insecure',
      (asksKeystone || agent.validate_tokens) && settings.keystone_authtoken.insecure,
    ],
  ]
  const what = 'is on: certificates are not verified, and anyone on the way can read and change all'
  return insecure.filter(([, isOn]) => isOn).map(([name]) => ({ name, what }))
}
