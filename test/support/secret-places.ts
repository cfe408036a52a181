import type { AgentSettings } from './agent.ts'
import type { Canaries } from './canaries.ts'
import { type RabbitVhost, rabbitUser } from './rabbit-vhost.ts'
import { services } from './services.ts'

type Owner = { after(end: () => unknown): void }

/** A configuration with a canary wherever an operator may write a secret. */
export type SecretConfiguration = {
  readonly transportUrl: string
  readonly settings: AgentSettings
  readonly env: NodeJS.ProcessEnv
  /** `backup_swift_key`. */
  readonly key: string
  /** Whom the agent is to the broker. */
  readonly users: readonly string[]
}

/**
 * Whatever `settings` adds, the places are the same: options that the agent knows, those of others in
 * the same file, misspelt ones, and variables of the environment.
 */
export async function secretConfiguration(
  owner: Owner,
  birds: Canaries,
  vhost: RabbitVhost,
  settings: AgentSettings,
): Promise<SecretConfiguration> {
  const { host, port } = services().rabbit
  const inUrl = (place: string) => encodeURIComponent(birds.awkward(place))
  const busUser = async (place: string) => {
    const password = birds.awkward(place)
    const name = await rabbitUser(owner, vhost, password)
    return { name, login: `${name}:${encodeURIComponent(password)}@` }
  }
  const [bus, notifications] = [
    await busUser('transport_url'),
    await busUser('transport_url of notifications'),
  ]
  const other = inUrl('transport_url, second host')
  const end = `/${encodeURIComponent(vhost.name)}`
  const key = birds.awkward('backup_swift_key')
  const secrets: AgentSettings = {
    DEFAULT: {
      debug: 'true',
      backup_swift_retry_attempts: 0,
      backup_swift_key: key,
      backup_s3_store_secret_key: birds.plain('secret key of S3'),
      san_password: birds.plain('san_password'),
      rabbit_password: birds.plain('rabbit_password'),
      backup_swift_kye: birds.plain('backup_swift_key, misspelt'),
    },
    oslo_messaging_notifications: {
      transport_url: `rabbit://${notifications.login}${host}:${port}${end}`,
    },
    cinder_backup_agent: {
      records: 'message',
      retry_budget: 0,
      swift_key: birds.plain('an option that is not ours'),
    },
    database: { connection: `mysql+pymysql://cinder:${inUrl('the database')}@db/cinder` },
    service_user: {
      auth_url: `http://cinder:${inUrl('auth_url of service_user')}@127.0.0.1:9/v3`,
      username: 'cinder',
      application_credential_secret: birds.plain('application credential of service_user'),
    },
    keystone_authtoken: {
      auth_url: `http://cinder:${inUrl('auth_url of keystone_authtoken')}@127.0.0.1:9/v3`,
      username: 'cinder',
      password: birds.awkward('password of keystone_authtoken'),
      application_credential_secret: birds.plain('application credential of keystone_authtoken'),
      memcache_secret_key: birds.plain('memcache_secret_key'),
      admin_token: birds.plain('admin_token'),
    },
    nova: { password: birds.plain('password of nova') },
    key_manager: { fixed_key: birds.plain('fixed_key') },
    coordination: { backend_url: `redis://:${inUrl('coordination')}@redis/` },
  }
  return {
    transportUrl: `rabbit://${bus.login}${host}:${port},nobody:${other}@127.0.0.1:9${end}`,
    settings: merged(secrets, settings),
    env: {
      CBA_SERVICE_USER_PASSWORD: birds.awkward('password of service_user, of the environment'),
      CBA_SERVICE_USER_PASWORD: birds.plain('a variable, misspelt'),
    },
    key,
    users: [bus.name, notifications.name],
  }
}

function merged(first: AgentSettings, second: AgentSettings): AgentSettings {
  const sections = new Set([...Object.keys(first), ...Object.keys(second)])
  return Object.fromEntries(
    [...sections].map((name) => [name, { ...first[name], ...second[name] }]),
  )
}
