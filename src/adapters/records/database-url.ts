import { AgentError } from '../../domain/errors.ts'

export type DatabaseTls = {
  /** Files. */
  readonly ca: string | null
  /** A folder of CA certificates; `ca` counts too. */
  readonly caFolder: string | null
  readonly cert: string | null
  readonly key: string | null
  readonly verifies: 'nothing' | 'certificate' | 'certificate-and-host'
  /** Without TLS where the server has none. */
  readonly isOptional: boolean
}

/** Where Cinder's database is, and who we are there. */
export type DatabaseUrl = {
  readonly kind: 'mysql' | 'postgresql'
  readonly host: string
  readonly port: number
  /** MySQL's socket, or the folder of PostgreSQL's; takes the place of host and port. */
  readonly socketPath: string | null
  readonly user: string
  readonly password: string
  readonly database: string
  readonly tls: DatabaseTls | null
}

// Source: sqlalchemy/engine/url.py, _parse_rfc1738_args, 1.4 and 2.0.
const form =
  /^([\w+]+):\/\/(?:([^:/]*)(?::([^@]*))?@)?(?:(?:\[([^/?]+)\]|([^/:?]+))?(?::([^/?]*))?)?(?:\/([^?]*))?(?:\?(.*))?$/s

const kinds: ReadonlyMap<string, DatabaseUrl['kind']> = new Map([
  ['mysql', 'mysql'],
  ['mariadb', 'mysql'],
  ['postgresql', 'postgresql'],
])

/**
 * `[database] connection` as SQLAlchemy reads it; the driver after `+` is Python's business. Of `parameters`, which
 * are `connection_parameters`, each takes the place of its like in the URL. Throws CONFIGURATION_INVALID,
 * without the password. Source: oslo_db/sqlalchemy/engines.py, `_extend_url_parameters`.
 */
export function readDatabaseUrl(url: string, parameters = ''): DatabaseUrl {
  const parts = form.exec(url)
  if (parts === null) {
    throw refused('is not a URL such as mysql+pymysql://cinder:password@host/cinder')
  }
  const [, scheme = '', user, password, host6, host4, portText = '', database = '', query] = parts
  const kind = kinds.get(scheme.split('+')[0]?.toLowerCase() ?? '')
  if (kind === undefined) {
    throw refused(`has the scheme ${scheme}; write mysql+pymysql:// or postgresql://`)
  }
  const options = new URLSearchParams(query)
  for (const [name, value] of new URLSearchParams(parameters)) options.set(name, value)
  const port = Number(portText || options.get('port') || (kind === 'mysql' ? 3306 : 5432))
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw refused('has no good port')
  if (database === '') throw refused('names no database; it ends in /cinder as a rule')
  if (options.getAll('host').length > 1) throw refused('names several hosts; name one')
  const host = host6 ?? host4 ?? options.get('host') ?? ''
  return {
    kind,
    host: host === '' ? 'localhost' : host,
    port,
    socketPath: socketPathOf(kind, host, options),
    user: decoded(user ?? ''),
    password: decoded(password ?? ''),
    database,
    tls: kind === 'mysql' ? mysqlTls(options) : postgresTls(options),
  }
}

function refused(what: string): AgentError {
  return new AgentError('CONFIGURATION_INVALID', `[database] connection ${what}`)
}

function socketPathOf(kind: string, host: string, options: URLSearchParams): string | null {
  if (kind === 'mysql') return options.get('unix_socket')
  if (host.startsWith('/')) return host
  // Where libpq looks without a host, as Debian builds it.
  return host === '' ? '/var/run/postgresql' : null
}

// Each of them alone asks for TLS. Source: sqlalchemy/dialects/mysql/mysqldb.py, `create_connect_args` (ssl_* become
// the driver's `ssl`, the last two are PyMySQL's own), and pymysql/connections.py, _create_ssl_ctx: without a CA
// nothing is verified. `ssl_mode` is mysqlclient's.
const mysqlTlsOptions = [
  ...['ssl_ca', 'ssl_capath', 'ssl_cert', 'ssl_key', 'ssl_cipher', 'ssl_check_hostname'],
  ...['ssl_verify_cert', 'ssl_verify_identity'],
]

function mysqlTls(options: URLSearchParams): DatabaseTls | null {
  const mode = options.get('ssl_mode')?.toUpperCase() ?? ''
  const isSet = (name: string) => /^(true|1|yes|on)$/i.test(options.get(name) ?? '')
  const isAsked = mysqlTlsOptions.some((name) => options.has(name))
  if (!isAsked && !isSet('ssl') && !/^(REQUIRED|VERIFY_CA|VERIFY_IDENTITY)$/.test(mode)) return null
  const [ca, caFolder] = [options.get('ssl_ca'), options.get('ssl_capath')]
  const isVerified =
    ca !== null || caFolder !== null || mode.startsWith('VERIFY') || isSet('ssl_verify_cert')
  const checksHost =
    mode !== 'VERIFY_CA' && !/^(false|0|no|off)$/i.test(options.get('ssl_check_hostname') ?? '')
  const verifies = checksHost ? 'certificate-and-host' : 'certificate'
  return {
    ...{ ca, caFolder, cert: options.get('ssl_cert'), key: options.get('ssl_key') },
    verifies: isVerified || isSet('ssl_verify_identity') ? verifies : 'nothing',
    isOptional: false,
  }
}

// Source: PostgreSQL 15, libpq, "SSL Support": `require` verifies where there is a root certificate.
function postgresTls(options: URLSearchParams): DatabaseTls | null {
  const mode = options.get('sslmode') ?? 'prefer'
  if (mode === 'disable' || mode === 'allow') return null
  const ca = options.get('sslrootcert')
  const verifies = { 'verify-full': 'certificate-and-host', 'verify-ca': 'certificate' } as const
  const known = Object.hasOwn(verifies, mode) ? verifies[mode as keyof typeof verifies] : null
  if (known === null && mode !== 'prefer' && mode !== 'require') {
    throw refused(`has an unknown sslmode, ${mode}`)
  }
  return {
    ca,
    caFolder: null,
    cert: options.get('sslcert'),
    key: options.get('sslkey'),
    verifies: known ?? (ca === null || mode === 'prefer' ? 'nothing' : 'certificate'),
    isOptional: mode === 'prefer',
  }
}

/** As Python's `unquote`: what is no good escape stays. */
function decoded(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => {
    return Buffer.from(escapes.replaceAll('%', ''), 'hex').toString('utf8')
  })
}
