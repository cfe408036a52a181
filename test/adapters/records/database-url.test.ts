import assert from 'node:assert/strict'
import { test } from 'node:test'

import { readDatabaseUrl } from '#src/adapters/records/database-url.ts'
import { hasCode } from '#src/domain/errors.ts'

const plain = {
  kind: 'mysql',
  host: 'db',
  port: 3306,
  socketPath: null,
  user: 'cinder',
  password: 'secret',
  database: 'cinder',
  tls: null,
}
const tls = { ca: null, caFolder: null, cert: null, key: null, isOptional: false }
const optional = { ...tls, verifies: 'nothing', isOptional: true }
const postgres = { ...plain, kind: 'postgresql', port: 5432, tls: optional }

for (const [url, expected] of [
  ['mysql+pymysql://cinder:secret@db/cinder', plain],
  ['mysql+pymysql://cinder:secret@db:3306/cinder?charset=utf8', plain],
  ['mysql://cinder:secret@db/cinder', plain],
  ['mariadb+mysqldb://cinder:secret@db/cinder', plain],
  [
    'mysql+pymysql://cinder:p%40ss%2Fw%C3%B6rd%25+%zz@db:33/cinder',
    { port: 33, password: 'p@ss/wörd%+%zz' },
  ],
  ['mysql+pymysql://cinder:a/b?c:d#e@db/cinder', { password: 'a/b?c:d#e' }],
  ['mysql://cinder@[fd00::1]:3307/cinder', { host: 'fd00::1', port: 3307, password: '' }],
  [
    'mysql:///cinder?unix_socket=/run/mysqld/mysqld.sock',
    {
      ...{ host: 'localhost', user: '', password: '', socketPath: '/run/mysqld/mysqld.sock' },
    },
  ],
  [
    'mysql+pymysql://cinder:secret@db/cinder?ssl_ca=/etc/ca.pem',
    {
      tls: { ...tls, ca: '/etc/ca.pem', verifies: 'certificate-and-host' },
    },
  ],
  [
    'mysql+pymysql://cinder:secret@db/cinder?ssl_ca=/ca&ssl_cert=/c&ssl_key=/k&ssl_check_hostname=false',
    {
      tls: { ...tls, ca: '/ca', cert: '/c', key: '/k', verifies: 'certificate' },
    },
  ],
  [
    'mysql://cinder:secret@db/cinder?ssl_cert=/c&ssl_key=/k',
    {
      tls: { ...tls, cert: '/c', key: '/k', verifies: 'nothing' },
    },
  ],
  [
    'mysql+pymysql://cinder:secret@db/cinder?ssl_capath=/etc/ssl/certs',
    { tls: { ...tls, caFolder: '/etc/ssl/certs', verifies: 'certificate-and-host' } },
  ],
  [
    'mysql+pymysql://cinder:secret@db/cinder?ssl_check_hostname=false',
    { tls: { ...tls, verifies: 'nothing' } },
  ],
  [
    'mysql+pymysql://cinder:secret@db/cinder?ssl_verify_cert=true&ssl_verify_identity=true',
    { tls: { ...tls, verifies: 'certificate-and-host' } },
  ],
  ['mysql://cinder:secret@db/cinder?ssl_mode=REQUIRED', { tls: { ...tls, verifies: 'nothing' } }],
  [
    'mysql://cinder:secret@db/cinder?ssl_mode=VERIFY_CA&ssl_ca=/ca',
    { tls: { ...tls, ca: '/ca', verifies: 'certificate' } },
  ],
  ['mysql://cinder:secret@db/cinder?ssl_mode=PREFERRED', plain],
  ['postgresql://cinder:secret@db/cinder', postgres],
  [
    'postgresql+psycopg2://cinder:secret@db:5433/cinder?sslmode=disable',
    {
      ...{ ...postgres, port: 5433, tls: null },
    },
  ],
  [
    'postgresql://cinder:secret@db/cinder?sslmode=verify-full&sslrootcert=/ca',
    {
      ...postgres,
      tls: { ...tls, ca: '/ca', verifies: 'certificate-and-host' },
    },
  ],
  [
    'postgresql://cinder:secret@db/cinder?sslmode=require',
    {
      ...postgres,
      tls: { ...tls, verifies: 'nothing' },
    },
  ],
  [
    'postgresql://cinder:secret@db/cinder?sslmode=require&sslrootcert=/ca',
    {
      ...postgres,
      tls: { ...tls, ca: '/ca', verifies: 'certificate' },
    },
  ],
  [
    'postgresql://cinder@/cinder',
    {
      ...{ ...postgres, host: 'localhost', socketPath: '/var/run/postgresql', password: '' },
    },
  ],
  [
    'postgresql://cinder@/cinder?host=/run/pg&port=5433',
    {
      ...{ ...postgres, host: '/run/pg', socketPath: '/run/pg', password: '', port: 5433 },
    },
  ],
  [
    'postgresql://cinder@/cinder?host=/run/pg',
    {
      ...{ ...postgres, host: '/run/pg', socketPath: '/run/pg', password: '' },
    },
  ],
] as const) {
  test(`${url} is read as SQLAlchemy reads it`, () => {
    assert.deepEqual(readDatabaseUrl(url), { ...plain, ...expected })
  })
}

for (const url of [
  'sqlite:////var/lib/cinder/cinder.sqlite',
  'oracle://cinder:canary-secret@db/cinder',
  'postgres://cinder:canary-secret@db/cinder',
  'cinder:canary-secret@db/cinder',
  'mysql:/cinder:canary-secret@db/cinder',
  'mysql://cinder:canary-secret@db',
  'mysql://cinder:canary-secret@db/',
  'mysql://cinder:canary-secret@db:port/cinder',
  'mysql://cinder:canary-secret@db:70000/cinder',
  'postgresql://cinder:canary-secret@db/cinder?sslmode=maybe',
  'postgresql://cinder:canary-secret@/cinder?host=one&host=two',
  'canary-secret+x://db/cinder',
  '',
]) {
  test(`${url || 'nothing'} is refused, and its password is not told`, () => {
    assert.throws(
      () => readDatabaseUrl(url),
      (error: unknown) => {
        assert.ok(hasCode(error, 'CONFIGURATION_INVALID'))
        assert.match(error.message, /^\[database\] connection /)
        assert.doesNotMatch(error.message, /canary/)
        return true
      },
    )
  })
}

test('parameters that stand apart take the place of those in the URL', () => {
  const { tls: read, host } = readDatabaseUrl(
    'mysql://cinder:a?b@db/cinder?ssl_ca=/old&charset=utf8',
    'ssl_ca=/new&ssl_check_hostname=false',
  )

  assert.equal(host, 'db')
  assert.deepEqual(read, { ...tls, ca: '/new', verifies: 'certificate' })
})
