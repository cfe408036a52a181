import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'

import type { RequestContext } from '#src/domain/request-context.ts'
import type { AgentSettings } from './agent.ts'
import { type DrivenAgent, drivenAgent } from './driven-agent.ts'
import { cinderContext, keystoneToken, type UserToken } from './keystone.ts'
import { services } from './services.ts'
import { type SwiftContainer, swiftContainer } from './stores.ts'

/** What Cinder's API would forward of a user that asks for something. */
export function contextOf(user: UserToken, fields: Partial<RequestContext> = {}): RequestContext {
  const requestId = `req-${randomUUID()}`
  const { auth_token, service_catalog, ...values } = cinderContext(user, requestId)
  return {
    requestId,
    globalRequestId: null,
    userId: user.userId,
    projectId: user.projectId,
    isAdmin: user.roles.includes('admin'),
    authToken: user.token,
    serviceCatalog: user.catalog,
    values,
    ...fields,
  }
}

/** The option that finds the account of whoever asks. */
export const byUrl = () => ({ backup_swift_url: `${services().swift.url}/v1/AUTH_` })

/** Those of a `single_user` with Keystone's v3; `short`: through the door of ten seconds. */
export function byPassword({ short = false } = {}) {
  const { keystone } = services()
  return {
    backup_swift_auth: 'single_user',
    backup_swift_auth_version: 3,
    backup_swift_auth_url: short ? keystone.shortUrl : keystone.url,
    backup_swift_user: 'backup',
    backup_swift_key: keystone.passwordOf('backup'),
    backup_swift_project: 'backup',
    backup_swift_user_domain: 'Default',
    backup_swift_project_domain: 'Default',
  }
}

/** Those of a `single_user` with v1 auth. */
export function byTempauth({ short = false } = {}) {
  const { tempauth } = services().swift
  return {
    backup_swift_auth: 'single_user',
    backup_swift_auth_version: 1,
    backup_swift_auth_url: short ? tempauth.shortAuthUrl : tempauth.authUrl,
    backup_swift_user: tempauth.user,
    backup_swift_key: tempauth.key,
  }
}

/** Options of [DEFAULT]; null leaves out what would be there otherwise. */
type SwiftOptions = Readonly<Record<string, string | number | null>>

/** Settings for Swift, `options` in [DEFAULT] and `more` in other sections. */
export function swiftSettings(options: SwiftOptions, more: AgentSettings = {}): AgentSettings {
  const driver = { backup_driver: 'cinder.backup.drivers.swift.SwiftBackupDriver' }
  const written = Object.entries(options).flatMap(([name, value]) =>
    value === null ? [] : [[name, value] as const],
  )
  return { ...more, DEFAULT: { ...driver, ...Object.fromEntries(written) } }
}

export type SwiftAgent = DrivenAgent & {
  readonly user: UserToken
  /** An empty container of the user's. */
  readonly container: SwiftContainer
}

/** An agent that acts with its user's token on a real Swift, in a container of its own. */
export async function swiftAgent(
  owner: Pick<TestContext, 'after'>,
  options: SwiftOptions = {},
  more: AgentSettings = {},
): Promise<SwiftAgent> {
  const user = await keystoneToken('demo')
  const container = await swiftContainer(owner, async () => ({
    url: user.swiftUrl,
    token: user.token,
  }))
  const named = { ...byUrl(), backup_swift_container: container.name, ...options }
  const settings = swiftSettings(named, more)
  return { ...(await drivenAgent(owner, settings, contextOf(user))), user, container }
}
