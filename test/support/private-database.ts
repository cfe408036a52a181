import { execFileSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'

import { createConnection } from 'mysql2/promise'
import pg from 'pg'

import type { Json } from '#src/domain/json.ts'
import type { ServerCertificate } from './certificates.ts'
import { checkout, type ServiceScript, serviceScript } from './services.ts'

export type DatabaseKind = 'mariadb' | 'postgresql'
export type CinderEra = 'zed' | 'master'

/** Times as the database has them; booleans true or false, as in PostgreSQL. */
type Row = Readonly<Record<string, Json>>

type Client = {
  query(sql: string, values?: readonly unknown[]): Promise<readonly Row[]>
  close(): Promise<void>
}

/** A real database server of its own, which may be stopped; Cinder's tables in it, empty. */
export type PrivateDatabase = {
  readonly kind: DatabaseKind
  /** As Cinder's files have it, of a user who may do nothing but read and write rows. */
  readonly url: string
  /** Of the owner of the tables. */
  readonly ownerUrl: string
  /** Drops all tables and makes those of that era. */
  makeTables(era: CinderEra): Promise<void>
  /** On a connection of the owner. */
  sql(text: string, values?: readonly unknown[]): Promise<readonly Row[]>
  /** A further connection of the owner, for transactions. */
  client(): Promise<Client>
  insert(table: string, row: Row): Promise<void>
  /** All of a table, by id. */
  rows(table: string): Promise<readonly Row[]>
  stop(): Promise<void>
  /** At the same address. */
  start(): Promise<void>
}

const samples = path.join(checkout, 'test/samples/cinder-schema')

/** Takes some seconds; everything is gone after the owner's end. */
export async function privateDatabase(
  kind: DatabaseKind,
  owner: { after(end: () => unknown): void },
  tls: ServerCertificate | null = null,
): Promise<PrivateDatabase> {
  // Under the shared data folder, where `scripts/services down` finds what a killed test left.
  const home = process.env['CBA_SERVICES_DIR'] ?? path.join(checkout, '.services')
  const parent = path.join(home, 'private')
  await mkdir(parent, { recursive: true })
  const folder = await mkdtemp(path.join(parent, `${kind}-`))
  await chmod(folder, 0o711) // PostgreSQL runs as a user of its own.
  const options = tls === null ? {} : await tlsOptions(kind, folder, tls)
  const script = serviceScript({ CBA_SERVICES_DIR: folder, ...options })
  const clients: Client[] = []
  owner.after(async () => {
    await Promise.allSettled(clients.map((client) => client.close()))
    await script('wipe')
    await rm(folder, { recursive: true, force: true })
  })
  await script('up', kind)
  const { url, ownerUrl } = await addressesOf(kind, script)

  const client = async () => {
    const opened = await (kind === 'mariadb' ? mariadbClient(ownerUrl) : postgresClient(ownerUrl))
    clients.push(opened)
    return opened
  }
  let own: Client | null = null
  const sql = async (text: string, values: readonly unknown[] = []) => {
    own ??= await client()
    return own.query(text, values)
  }
  const quoted = (name: string) => (kind === 'mariadb' ? `\`${name}\`` : `"${name}"`)
  const place = (i: number) => (kind === 'mariadb' ? '?' : `$${i + 1}`)

  return {
    kind,
    url,
    ownerUrl,
    sql,
    client,
    makeTables: async (era) => {
      const tables = await sql(
        `select table_name as t from information_schema.tables where table_schema = ${
          kind === 'mariadb' ? 'database()' : 'current_schema()'
        }`,
      )
      if (kind === 'mariadb') await sql('SET foreign_key_checks = 0')
      for (const { t } of tables) await sql(`DROP TABLE ${quoted(String(t))} CASCADE`)
      if (kind === 'mariadb') await sql('SET foreign_key_checks = 1')
      const dialect = kind === 'mariadb' ? 'mysql' : 'postgresql'
      for (const name of era === 'zed' ? ['zed'] : ['zed', 'master']) {
        const text = await readFile(path.join(samples, `${name}.${dialect}.sql`), 'utf8')
        for (const statement of text.replaceAll(/^--.*$/gm, '').split(';\n')) {
          if (statement.trim() !== '') await sql(statement)
        }
      }
    },
    insert: async (table, row) => {
      const names = Object.keys(row)
      await sql(
        `INSERT INTO ${quoted(table)} (${names.map(quoted).join(', ')}) VALUES (${names
          .map((_, i) => place(i))
          .join(', ')})`,
        Object.values(row),
      )
    },
    rows: (table) => sql(`SELECT * FROM ${quoted(table)} ORDER BY id`),
    stop: async () => {
      await own?.close().catch(() => undefined)
      own = null
      await script('down', kind)
    },
    start: async () => {
      await script('up', kind)
    },
  }
}

/** Has the server speak TLS too, with that certificate. */
async function tlsOptions(kind: DatabaseKind, folder: string, { cert, key }: ServerCertificate) {
  const [certFile, keyFile] = [path.join(folder, 'server.pem'), path.join(folder, 'server.key')]
  await writeFile(certFile, cert)
  await writeFile(keyFile, key, { mode: 0o600 })
  if (kind === 'mariadb') {
    return { CBA_MARIADB_OPTIONS: `--ssl-cert=${certFile} --ssl-key=${keyFile}` }
  }
  // A server that is not root reads only its own key.
  if (process.getuid?.() === 0) execFileSync('chown', ['postgres', keyFile])
  const files = `-c ssl_cert_file=${certFile} -c ssl_key_file=${keyFile}`
  return { CBA_POSTGRESQL_OPTIONS: `-c ssl=on ${files}` }
}

async function addressesOf(kind: DatabaseKind, script: ServiceScript) {
  const vars = await script('vars')
  const value = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(vars)?.[1] ?? ''
  const prefix = kind === 'mariadb' ? 'MARIADB' : 'POSTGRESQL'
  return { ownerUrl: value(`${prefix}_URL`), url: value(`${prefix}_BACKUP_URL`) }
}

async function mariadbClient(url: string): Promise<Client> {
  const { hostname, port, username, password, pathname } = new URL(url)
  const connection = await createConnection({
    host: hostname,
    port: Number(port),
    user: username,
    password,
    database: pathname.slice(1),
    dateStrings: true,
    timezone: 'Z',
    typeCast: (field, next) => {
      if (field.type !== 'TINY') return next()
      const text = field.string()
      return text === null ? null : text === '1'
    },
  })
  connection.on('error', () => undefined) // A test stops its server.
  return {
    query: async (sql, values = []) => {
      const [rows] = await connection.query(sql, [...values])
      return Array.isArray(rows) ? (rows as Row[]) : []
    },
    close: () => connection.end(),
  }
}

async function postgresClient(url: string): Promise<Client> {
  const client = new pg.Client({
    connectionString: url.replace('+psycopg2', ''),
    types: {
      getTypeParser: ((oid: number, format: 'text') =>
        oid === 1114
          ? (text: string) => text
          : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
    },
  })
  client.on('error', () => undefined) // A test stops its server.
  await client.connect()
  return {
    query: async (sql, values = []) => (await client.query(sql, [...values])).rows as Row[],
    close: () => client.end(),
  }
}
