import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, test } from 'node:test'

import { type RecordingLog, recordingLog } from '#src/adapters/log/recording-log.ts'
import { openSqlRecords } from '#src/adapters/records/sql-records.ts'
import { hasCode } from '#src/domain/errors.ts'
import { delay, monotonicMs } from '#src/lib/clock.ts'
import { doorTo } from '../../support/door.ts'
import { type PrivateDatabase, privateDatabase } from '../../support/private-database.ts'
import { eventually } from '../../support/rabbit.ts'
import { addUsage, newBackup, signal, usagesOf } from '../../support/records-bench.ts'
import { sqlBench, sqlOptions } from '../../support/sql-bench.ts'

const aService = {
  ...{ host: 'storage1', availabilityZone: 'nova', rpcVersion: '2.4', objectVersion: '1.39' },
  disabled: false,
}

const warnings = (log: RecordingLog) => log.lines.filter(({ level }) => level === 'warn')

// Both are there before the first test is known: when no test is left, everything is taken down.
const databases = await Promise.all([
  privateDatabase('mariadb', { after }),
  privateDatabase('postgresql', { after }),
])
await Promise.all(databases.map((database) => database.makeTables('zed')))
for (const database of databases) testOn(database)

function testOn(database: PrivateDatabase): void {
  const { kind } = database
  const bench = sqlBench(database)
  const { hostname, port } = new URL(database.url)
  const throughDoor = (origin: string) =>
    database.url.replace(`${hostname}:${port}`, new URL(origin).host)

  test(`${kind}: a server that is stopped in the middle is waited for, with one warning`, async () => {
    const log = recordingLog()
    await using records = await openSqlRecords(sqlOptions(database.url, { log }), signal)
    const rows = Array.from({ length: 8 }, () => newBackup())
    for (const row of rows) await bench.insert('backups', row)
    await database.stop()

    const changes = rows.map(({ id }) =>
      records.finishBackup(id, ['creating'], { status: 'available' }, signal),
    )
    const gaveUp = new AbortController()
    const givenUp = records.deleteBackup(rows[0]?.id ?? '', gaveUp.signal)
    await eventually(() => warnings(log).length > 0, 'it says that the database is away')
    await delay(500, signal)
    gaveUp.abort(new Error('enough'))
    await assert.rejects(givenUp, /^Error: enough$/)
    assert.equal(warnings(log).length, 1)
    await database.start()

    assert.deepEqual(new Set(await Promise.all(changes)), new Set([true]))
    assert.equal(warnings(log).length, 1)
    assert.equal(log.lines.filter(({ message }) => message === 'the database is back').length, 1)
    for (const { id } of rows) {
      assert.equal((await records.backup(id, signal))?.status, 'available')
    }
  })

  test(`${kind}: an open waits for a server that is not there yet, and stops when it may`, async (t) => {
    const door = await doorTo(t, `http://${hostname}:${port}`)
    const log = recordingLog()
    const opening = openSqlRecords(sqlOptions(throughDoor(door.origin), { log }), signal)
    const stop = new AbortController()
    const stopped = openSqlRecords(sqlOptions(throughDoor(door.origin)), stop.signal)
    await delay(1000, signal)
    stop.abort(new Error('enough'))
    await assert.rejects(stopped, /^Error: enough$/)
    await door.open()

    await using records = await opening
    assert.equal(await records.heartbeat('nobody', signal), null)
    assert.equal(warnings(log).length, 1)
  })

  test(`${kind}: a server that hangs is given up after the time limit, and a stop is not held up`, async (t) => {
    const door = await doorTo(t, `http://${hostname}:${port}`)
    await door.open()
    const options = sqlOptions(throughDoor(door.origin), { statementMs: 500 })
    await using records = await openSqlRecords(options, signal)
    const row = newBackup()
    await bench.insert('backups', row)
    await records.backup(row.id, signal)
    door.freeze()

    const stop = new AbortController()
    const stopped = records.backup(row.id, stop.signal)
    const began = monotonicMs()
    stop.abort(new Error('enough'))
    await assert.rejects(stopped, /^Error: enough$/)
    assert.ok(monotonicMs() - began < 400)

    const change = records.changeBackup(row.id, ['creating'], { status: 'available' }, signal)
    await delay(1200, signal)
    await door.shut()
    await door.open()

    assert.equal(await change, true)
    assert.equal((await records.backup(row.id, signal))?.status, 'available')
  })

  test(`${kind}: what was done before the answer was lost is not taken for another's`, async (t) => {
    // The server's answers are held up: a change is made, and its maker does not hear of it.
    const door = await doorTo(t, `http://${hostname}:${port}`)
    await door.open()
    await using records = await openSqlRecords(sqlOptions(throughDoor(door.origin)), signal)
    const parent = newBackup({ status: 'available' })
    const row = newBackup({ parent_id: parent.id })
    for (const one of [parent, row]) await bench.insert('backups', one)
    const doomed = newBackup({ status: 'deleting' })
    await bench.insert('backups', doomed)
    for (const resource of ['backups', 'backup_gigabytes']) {
      await addUsage(bench, doomed.project_id, { resource, in_use: 9 })
    }

    const finish = () => records.finishBackup(row.id, ['creating'], { status: 'available' }, signal)
    const change = () =>
      records.changeBackup(parent.id, ['available'], { status: 'deleting', size: 5 }, signal)
    const remove = () => records.deleteBackup(doomed.id, signal)
    const about = { resourceType: 'VOLUME_BACKUP', resourceId: row.id } as const
    const message = { projectId: row.project_id, requestId: 'req-1', ...about }
    const numbers = { actionId: '013', detailId: '020' } as const
    const tell = () => records.addMessage({ ...message, ...numbers }, signal).then(() => true)
    const messages = async () =>
      (await bench.rows('messages')).filter((one) => one['resource_uuid'] === row.id).length
    const lostAfter = new Map<unknown, RegExp>([
      [change, /update.backups/i],
      [tell, /insert.into.*messages/i],
    ])
    for (const [work, isDone] of [
      [tell, async () => (await messages()) > 0],
      [finish, async () => (await statusOf(row.id)) === 'available'],
      [change, async () => (await statusOf(parent.id)) === 'deleting'],
      [remove, async () => (await statusOf(doomed.id)) === 'deleted'],
    ] as const) {
      door.loseAnswers(lostAfter.get(work) ?? /COMMIT/)
      const outcome = work()
      while (!(await isDone())) await delay(20, signal)
      await door.shut()
      await door.open()
      assert.equal(await outcome, true)
    }

    assert.equal(await messages(), 1)
    const { num_dependent_backups: count } = (await records.backup(parent.id, signal)) ?? {}
    assert.equal(count, 1)
    assert.deepEqual(await usagesOf(bench, doomed.project_id), { backups: 8, backup_gigabytes: 6 })
  })

  test(`M-45 ${kind}: a delete whose quota is refused is done all the same, and the log says so`, async () => {
    const log = recordingLog()
    await using records = await openSqlRecords(sqlOptions(database.url, { log }), signal)
    const parent = newBackup({ status: 'available', num_dependent_backups: 1 })
    const row = newBackup({ status: 'deleting', parent_id: parent.id })
    for (const one of [parent, row]) await bench.insert('backups', one)
    for (const resource of ['backups', 'backup_gigabytes']) {
      await addUsage(bench, row.project_id, { resource, in_use: 9 })
    }
    const refusal = `CHECK (project_id <> '${row.project_id}')`
    await database.sql(`ALTER TABLE reservations ADD CONSTRAINT no_quota ${refusal}`)

    assert.equal(await records.deleteBackup(row.id, signal), true)

    await database.sql('ALTER TABLE reservations DROP CONSTRAINT no_quota')
    assert.equal(await statusOf(row.id), 'deleted')
    assert.equal((await records.backup(parent.id, signal))?.num_dependent_backups, 0)
    assert.deepEqual(await usagesOf(bench, row.project_id), { backups: 9, backup_gigabytes: 9 })
    const [told] = log.lines.filter(({ level }) => level === 'error')
    assert.match(told?.message ?? '', /quota is not given back/)
    assert.equal(await records.deleteBackup(row.id, signal), false)
  })

  async function statusOf(id: string) {
    return (await bench.rows('backups')).find((row) => row['id'] === id)?.['status']
  }

  test(`${kind}: the victim of a real deadlock tries again`, async () => {
    await using records = await bench.open()
    const parent = newBackup({ status: 'available' })
    const row = newBackup({ parent_id: parent.id })
    for (const one of [parent, row]) await bench.insert('backups', one)
    const before = await deadlocks()
    const other = await database.client()

    let met = 0
    for (let round = 0; round < 40 && met === 0; round++) {
      await records.changeBackup(row.id, null, { status: 'creating' }, signal)
      // The other way round: parent first, then the child.
      await other.query('BEGIN')
      await other.query(`UPDATE backups SET size = 1 WHERE id = '${parent.id}'`)
      const finished = records.finishBackup(row.id, ['creating'], { status: 'error' }, signal)
      await delay(100, signal)
      const crossed = other
        .query(`UPDATE backups SET size = 2 WHERE id = '${row.id}'`)
        .then(() => other.query('COMMIT'))
        .catch(() => other.query('ROLLBACK'))
      await crossed
      assert.equal(await finished, true)
      met = (await deadlocks()) - before
    }

    assert.ok(met > 0, 'they never met')
    await other.close()
  })

  /** How many the server has seen. */
  async function deadlocks(): Promise<number> {
    const [row = {}] = await database.sql(
      kind === 'mariadb'
        ? "SELECT variable_value AS n FROM information_schema.global_status WHERE variable_name = 'innodb_deadlocks'"
        : 'SELECT deadlocks AS n FROM pg_stat_database WHERE datname = current_database()',
    )
    return Number(row['n'])
  }

  test(`${kind}: a wrong password is refused at once, and not told`, async () => {
    const url = database.url.replace(/:[^:@]*@/, ':wrong-canary@')

    await assert.rejects(openSqlRecords(sqlOptions(url), signal), (error: unknown) => {
      assert.ok(hasCode(error, 'RECORDS_REFUSED'))
      assert.doesNotMatch(error.message, /canary/)
      return true
    })
  })

  test(`${kind}: a value that a column does not take is refused`, async () => {
    await using records = await bench.open()
    const row = newBackup()
    await bench.insert('backups', row)

    const change = { container: 'x'.repeat(300), status: 'error' } as const
    const refused = records.changeBackup(row.id, null, change, signal)

    await assert.rejects(refused, (error: unknown) => hasCode(error, 'RECORDS_REFUSED'))
    assert.equal((await records.backup(row.id, signal))?.status, 'creating')
  })

  test(`${kind}: connections are few, idle ones wait for the next, and a close leaves none`, async () => {
    await delay(300, signal) // Those of the tests before are going.
    const before = await connections()
    const records = await openSqlRecords(sqlOptions(database.url, { connectionsMax: 3 }), signal)
    const ids = Array.from({ length: 40 }, () => randomUUID())

    await Promise.all(ids.map((id) => records.backup(id, signal)))
    const open = (await connections()) - before
    await records[Symbol.asyncDispose]()
    while ((await connections()) > before) await delay(20, signal)

    assert.ok(open >= 1 && open <= 3, `${open}`)
    await assert.rejects(records.backup(randomUUID(), signal), (error: unknown) =>
      hasCode(error, 'AGENT_STOPPING'),
    )
  })

  async function connections(): Promise<number> {
    const [row = {}] = await database.sql(
      kind === 'mariadb'
        ? "SELECT variable_value AS n FROM information_schema.global_status WHERE variable_name = 'threads_connected'"
        : "SELECT count(*) AS n FROM pg_stat_activity WHERE usename = 'cinder_backup'",
    )
    return Number(row['n'])
  }

  test(`${kind}: work that waits for the locks of others does not hold up the heartbeat`, async () => {
    await using records = await openSqlRecords(
      sqlOptions(database.url, { connectionsMax: 2 }),
      signal,
    )
    await records.reportService({ ...aService, host: 'beating' }, signal)
    const rows = [newBackup(), newBackup()]
    for (const row of rows) await bench.insert('backups', row)
    const other = await database.client()
    await other.query('BEGIN')
    for (const { id } of rows) await other.query(`UPDATE backups SET size = 1 WHERE id = '${id}'`)

    const changes = rows.map(({ id }) =>
      records.changeBackup(id, null, { status: 'error' }, signal),
    )
    await delay(200, signal)
    const state = await records.heartbeat('beating', AbortSignal.timeout(5_000))
    assert.deepEqual(state, { disabled: false })
    await other.query('COMMIT')

    assert.deepEqual(await Promise.all(changes), [true, true])
  })

  test(`${kind}: an old connection is not used again`, async () => {
    await using records = await openSqlRecords(sqlOptions(database.url, { recycleMs: 1 }), signal)
    const before = await opened()
    for (let i = 0; i < 5; i++) {
      await records.backup(randomUUID(), signal)
      await delay(5, signal)
    }

    if (before !== null) assert.ok(((await opened()) ?? 0) - before >= 5)
  })

  /** How often the server was connected to; PostgreSQL tells that late. */
  async function opened(): Promise<number | null> {
    if (kind === 'postgresql') return null
    const [row = {}] = await database.sql(
      "SELECT variable_value AS n FROM information_schema.global_status WHERE variable_name = 'connections'",
    )
    return Number(row['n'])
  }

  test(`${kind}: an upgrade that takes a column away does not stop us`, async () => {
    await using records = await bench.open()
    const row = newBackup()
    await bench.insert('backups', row)
    await records.backup(row.id, signal)
    await database.sql('ALTER TABLE backups DROP COLUMN restore_volume_id')

    const change = { status: 'available', restore_volume_id: randomUUID() } as const
    assert.equal(await records.changeBackup(row.id, ['creating'], change, signal), true)
    assert.equal((await records.backup(row.id, signal))?.restore_volume_id, null)
    await database.makeTables('zed')
  })

  test(`${kind}: a host with more backups than a statement takes values is read`, async () => {
    await using records = await bench.open()
    const count = 70_000
    const numbers =
      kind === 'mariadb' ? `seq_1_to_${count}` : `generate_series(1, ${count}) AS s(seq)`
    const id = "concat('00000000-0000-4000-8000-', lpad(cast(seq as char(12)), 12, '0'))"
    await database.sql(
      `INSERT INTO backups (id, volume_id, host, status, deleted) SELECT ${id}, 'v', 'crowded', 'error', false FROM ${numbers}`,
    )
    const { id: last } = { id: `00000000-0000-4000-8000-${String(count).padStart(12, '0')}` }
    await bench.insert('backup_metadata', { backup_id: last, key: 'k', value: 'v', deleted: false })

    const found = await records.backupsOf('crowded', ['available', 'deleted'], signal)

    assert.equal(found.length, count)
    assert.deepEqual(found.find((row) => row.id === last)?.metadata, { k: 'v' })
    await database.makeTables('zed')
  })

  test(`${kind}: a database that is not Cinder's is refused`, async () => {
    await database.sql('DROP TABLE messages')

    const opening = bench.open()

    await assert.rejects(opening, /RECORDS_REFUSED|has no table messages/)
    await database.makeTables('zed')
  })
}
