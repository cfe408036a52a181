import { execFile, execFileSync } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The checkout, whatever the working directory is. */
export const checkout = path.resolve(import.meta.dirname, '../..')
const script = path.join(checkout, 'scripts/services')

/** Where a RabbitMQ is, and who may do everything on it. */
export type RabbitAddress = {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  /** Of RabbitMQ's management API, without `/api`. */
  readonly managementUrl: string
}

/** Projects of the same names: `demo` and `other` are users, `backup` is the agent's single user. */
export type KeystoneUserName = 'demo' | 'other' | 'backup' | 'cinder' | 'swift' | 'admin'

export type Services = {
  readonly rabbit: RabbitAddress
  readonly keystone: {
    /** Ends in `/v3`. Tokens live an hour. */
    readonly url: string
    /** The same users; tokens live ten seconds (`CBA_TOKEN_SECONDS`). */
    readonly shortUrl: string
    readonly passwordOf: (user: KeystoneUserName) => string
  }
  readonly swift: {
    /** The proxy with Keystone auth; an account is `<url>/v1/AUTH_<project id>`. */
    readonly url: string
    /** The proxy with tempauth. The two doors lead to accounts of their own. */
    readonly tempauth: {
      readonly authUrl: string
      /** Tokens live ten seconds. */
      readonly shortAuthUrl: string
      readonly user: string
      readonly key: string
    }
  }
  /** Only where `services up cinder` was asked for. */
  readonly cinder: {
    /** Ends in `/v3`. */
    readonly url: string
    /** Whose file for a volume is `volume-<id>`. */
    readonly volumes: string
    /** What Cinder's services are started with, and what its backup service reads after that. */
    readonly configFiles: readonly [string, string]
    readonly database: 'mariadb' | 'postgresql'
  }
}

let known: Services | undefined

/** The real services that `make services` started; throws where they do not run. */
export function services(): Services {
  if (known !== undefined) return known
  try {
    execFileSync(script, ['status'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (cause) {
    const { stdout = '' } = cause as { stdout?: string }
    const down = [...stdout.matchAll(/^(\S+) down$/gm)].map(([, name]) => name)
    throw new Error(`not running: ${down.join(', ') || 'the services'}; run 'make services'`, {
      cause,
    })
  }
  const value = parseVars(execFileSync(script, ['vars'], { encoding: 'utf8' }))
  known = servicesOf(value)
  return known
}

function servicesOf(value: (name: string) => string): Services {
  return {
    rabbit: rabbitAddress(value),
    keystone: {
      url: value('KEYSTONE_URL'),
      shortUrl: value('KEYSTONE_SHORT_URL'),
      passwordOf: (user) =>
        value(
          user === 'admin'
            ? 'KEYSTONE_ADMIN_PASSWORD'
            : user === 'cinder' || user === 'swift'
              ? 'KEYSTONE_SERVICE_PASSWORD'
              : 'KEYSTONE_USER_PASSWORD',
        ),
    },
    swift: {
      url: value('SWIFT_URL'),
      tempauth: {
        authUrl: value('SWIFT_TEMPAUTH_URL'),
        shortAuthUrl: value('SWIFT_TEMPAUTH_SHORT_URL'),
        user: value('SWIFT_TEMPAUTH_USER'),
        key: value('SWIFT_TEMPAUTH_PASSWORD'),
      },
    },
    cinder: {
      url: value('CINDER_URL'),
      volumes: value('CINDER_VOLUMES'),
      configFiles: [value('CINDER_CONF'), value('CINDER_BACKUP_CONF')],
      database: value('CINDER_DATABASE') === 'postgresql' ? 'postgresql' : 'mariadb',
    },
  }
}

/** Those of a data folder. */
export async function servicesAt(runScript: ServiceScript): Promise<Services> {
  return servicesOf(parseVars(await runScript('vars')))
}

/** Runs `scripts/services`; resolves to what it printed, rejects with what it said. */
export type ServiceScript = (...args: readonly string[]) => Promise<string>

export function serviceScript(env: NodeJS.ProcessEnv = {}): ServiceScript {
  return async (...args) => {
    const { stdout } = await run(script, args, {
      env: { ...process.env, ...env },
      timeout: 400_000,
    })
    return stdout
  }
}

/** The address of the RabbitMQ of a data folder. */
export async function rabbitOf(runScript: ServiceScript): Promise<RabbitAddress> {
  return rabbitAddress(parseVars(await runScript('vars')))
}

function parseVars(text: string): (name: string) => string {
  const values = new Map<string, string>()
  for (const line of text.split('\n')) {
    const at = line.indexOf('=')
    if (at > 0) values.set(line.slice(0, at), line.slice(at + 1))
  }
  return (name) => {
    const value = values.get(name)
    if (value === undefined) throw new Error(`'scripts/services vars' does not tell ${name}`)
    return value
  }
}

function rabbitAddress(value: (name: string) => string): RabbitAddress {
  return {
    host: value('RABBIT_HOST'),
    port: Number(value('RABBIT_PORT')),
    user: value('RABBIT_USER'),
    password: value('RABBIT_PASSWORD'),
    managementUrl: value('RABBIT_MANAGEMENT_URL'),
  }
}
