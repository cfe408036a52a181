import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'

import { openSqlRecords } from '#src/adapters/records/sql-records.ts'
import { certificates } from '../../support/certificates.ts'
import { privateDatabase } from '../../support/private-database.ts'
import { sqlOptions } from '../../support/sql-bench.ts'

const { signal } = new AbortController()
const { caFile, good, otherCa, wrongName } = certificates(after)

const verifying = {
  mariadb: `?ssl_ca=${caFile}`,
  postgresql: `?sslmode=verify-full&sslrootcert=${caFile}`,
}
const trusting = {
  mariadb: `?ssl_ca=${caFile}&ssl_check_hostname=false`,
  postgresql: `?sslmode=verify-ca&sslrootcert=${caFile}`,
}

for (const kind of ['mariadb', 'postgresql'] as const) {
  test(`${kind}: a certificate of the CA, for this address, is taken`, async (t) => {
    const { makeTables, url } = await privateDatabase(kind, t, good)
    await makeTables('zed')

    await using records = await openSqlRecords(sqlOptions(`${url}${verifying[kind]}`), signal)

    assert.equal(await records.heartbeat('nobody', signal), null)
  })

  test(`${kind}: every connection is verified, and not the first alone`, async (t) => {
    const { makeTables, url } = await privateDatabase(kind, t, good)
    await makeTables('zed')
    const options = sqlOptions(`${url}${verifying[kind]}`, { connectionsMax: 3, recycleMs: 1 })

    await using records = await openSqlRecords(options, signal)

    for (let round = 0; round < 3; round++) {
      const reads = Array.from({ length: 3 }, () => records.backup(randomUUID(), signal))
      assert.deepEqual(await Promise.all(reads), [null, null, null])
    }
  })

  test(`${kind}: a certificate of another name is refused, unless nobody looks at names`, async (t) => {
    const { makeTables, url } = await privateDatabase(kind, t, wrongName)
    await makeTables('zed')

    const refused = openSqlRecords(sqlOptions(`${url}${verifying[kind]}`), signal)
    await assert.rejects(refused, /RECORDS_REFUSED|does not match certificate/)

    await using records = await openSqlRecords(sqlOptions(`${url}${trusting[kind]}`), signal)
    assert.equal(await records.heartbeat('nobody', signal), null)
  })

  test(`${kind}: a certificate of another CA is refused`, async (t) => {
    const { makeTables, url } = await privateDatabase(kind, t, otherCa)
    await makeTables('zed')

    for (const how of [verifying, trusting]) {
      const refused = openSqlRecords(sqlOptions(`${url}${how[kind]}`), signal)
      await assert.rejects(refused, /unable to (verify|get)|self.signed/i)
    }
  })
}

test('mariadb: the CA may lie in a folder', async (t) => {
  const { makeTables, url } = await privateDatabase('mariadb', t, good)
  await makeTables('zed')
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-capath-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const capath = `?ssl_capath=${folder}`
  writeFileSync(path.join(folder, 'README'), 'no certificate')
  await assert.rejects(openSqlRecords(sqlOptions(url + capath), signal), /certificate/)
  copyFileSync(caFile, path.join(folder, 'site.pem'))

  await using records = await openSqlRecords(sqlOptions(url + capath), signal)

  assert.equal(await records.heartbeat('nobody', signal), null)
})

test('mariadb: a server without TLS is refused where it is asked for', async (t) => {
  const { makeTables, url } = await privateDatabase('mariadb', t)
  await makeTables('zed')

  const refused = openSqlRecords(sqlOptions(`${url}?ssl_ca=${caFile}`), signal)

  await assert.rejects(refused, /secure connection|SSL/i)
})
