import assert from 'node:assert/strict'
import { test } from 'node:test'

import { readDatabaseUrl } from '#src/adapters/records/database-url.ts'
import { mysqlServer } from '#src/adapters/records/mysql-server.ts'
import { postgresServer } from '#src/adapters/records/postgres-server.ts'

const mysql = mysqlServer(readDatabaseUrl('mysql://c@db/c'), 1000)
const postgres = postgresServer(readDatabaseUrl('postgresql://c@db/c?sslmode=disable'), 1000)

for (const [name, server, error, expected] of [
  ['a full disk', mysql, { errno: 1021 }, 'away'],
  ['a full table', mysql, { errno: 1114 }, 'away'],
  ['a full disk', postgres, { code: '53100' }, 'away'],
  ['no memory', postgres, { code: '53200' }, 'away'],
  ['a node that only reads', mysql, { errno: 1290 }, 'away'],
  ['a session that only reads', mysql, { errno: 1792 }, 'away'],
  ['a node that only reads', postgres, { code: '25006' }, 'away'],
  ['a Galera node without its cluster', mysql, { errno: 1047 }, 'away'],
  ['ProxySQL without a server', mysql, { errno: 9001 }, 'away'],
  ['a deadlock', mysql, { errno: 1213 }, 'again'],
  ['a wait for a lock', mysql, { errno: 1205 }, 'again'],
  ['a commit of another node', mysql, { errno: 3101 }, 'again'],
  ['a deadlock', postgres, { code: '40P01' }, 'again'],
  ['a serialization failure', postgres, { code: '40001' }, 'again'],
  ['a wrong password', mysql, { errno: 1045 }, 'no'],
  ['a value that does not fit', mysql, { errno: 1406 }, 'no'],
  ['a value that does not fit', postgres, { code: '22001' }, 'no'],
] as const) {
  const kind = server === mysql ? 'mysql' : 'postgresql'
  test(`${kind}: ${name} is ${expected}`, () => {
    assert.equal(server.failureOf(Object.assign(new Error(name), error)), expected)
  })
}
