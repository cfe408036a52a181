import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { after, test } from 'node:test'
import { promisify } from 'node:util'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { hasCode } from '#src/domain/errors.ts'
import { openRecords } from '#src/open-records.ts'
import { privateDatabase } from './support/private-database.ts'
import { newBackup } from './support/records-bench.ts'
import { checkout } from './support/services.ts'
import { sqlBench } from './support/sql-bench.ts'

const run = promisify(execFile)
const { signal } = new AbortController()

const options = {
  parameters: '',
  wsrepSyncWait: null,
  connectionsMax: 2,
  recycleMs: 60_000,
  retryMsMax: 1000,
  messageSeconds: 60,
  reservationSeconds: 60,
}

test('the configured database is opened, read and written', async () => {
  const database = await privateDatabase('mariadb', { after })
  await database.makeTables('master')
  const row = newBackup()
  await sqlBench(database).insert('backups', row)
  const config = { database: { ...options, url: database.url } }

  await using records = await openRecords(config, recordingLog(), signal)

  assert.equal(await records.changeBackup(row.id, ['creating'], { status: 'error' }, signal), true)
  assert.equal((await records.backup(row.id, signal))?.status, 'error')
  assert.equal(await records.backup(randomUUID(), signal), null)
})

for (const url of [null, 'sqlite:///cinder.db', 'mysql://u:p@h/c?ssl_ca=/nowhere/ca.pem']) {
  test(`a database that cannot be one is refused: ${url}`, async () => {
    const database = url === null ? null : { ...options, url }
    const opening = openRecords({ database }, recordingLog(), signal)

    await assert.rejects(opening, (error: unknown) => hasCode(error, 'CONFIGURATION_INVALID'))
  })
}

test('an agent without a database loads no driver of one', async () => {
  const script = `
    await import('#src/agent.ts')
    await import('#src/open-records.ts')
    const { createRequire } = await import('node:module')
    console.log(Object.keys(createRequire(import.meta.url).cache).join('\\n'))`

  const loaded = await run(process.execPath, ['--input-type=module', '-e', script], {
    cwd: checkout,
  })

  assert.match(loaded.stdout, /node_modules\/amqplib/) // It would be seen.
  assert.doesNotMatch(loaded.stdout, /node_modules\/(mysql2|pg|kysely)\//)
})
