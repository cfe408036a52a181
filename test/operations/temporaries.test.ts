import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import { databaseRows } from '#src/operations/database-rows.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { temporaryRemover } from '#src/operations/remove-temporaries.ts'
import { aDelivery, aRequest } from '../support/builders.ts'
import { runnerBench } from '../support/runner-bench.ts'
import { creating } from '../support/state-cases.ts'
import { aVolume, cinderRows, swiftDriver } from '../support/state-rows.ts'

const temporary = '0a1cc4c1-2f4a-4a6a-9d3f-7b1f5a8f0d11'

for (const [name, isGood, removes, status] of [
  ['M-13 what is temporary of a create that failed is removed', false, true, 'error'],
  ['M-14, K-03 a create whose temporary volume stays has ended well', true, false, 'available'],
] as const) {
  test(name, async () => {
    const rows = cinderRows({ backup: { ...creating, temp_volume_id: temporary } })
    const named = aVolume(temporary, { display_name: 'backup-vol-x', deleted: false })
    rows.tables.volumes.push(named)
    const [journal, log] = [memoryJournal(), recordingLog()]
    const tried: string[] = []
    const remover = temporaryRemover({
      ...{ records: rows.records, journal, log, makingMs: 60_000 },
      storage: {
        async deleteVolume({ id }) {
          tried.push(id)
          if (!removes) throw new AgentError('CALL_UNROUTABLE', 'nobody takes it')
        },
        checkReleased: async () => undefined,
        deleteSnapshot: async () => undefined,
      },
    })
    const end = new AbortController()
    const removing = remover.run(end.signal)
    const create: RunOperation = async () => {
      if (!isGood) throw new AgentError('STORE_REFUSED', 'the store is full')
      return { record: {} }
    }
    const bench = runnerBench(
      { create },
      4,
      journal,
      databaseRows({
        ...{ records: rows.records, service: swiftDriver, availabilityZone: 'nova', log },
        ...{ host: 'host-1', refusedRetryMs: 1, isReady: () => true, onEnded: remover.ended },
      }),
    )
    bench.ask(aRequest('create', rows.record))
    await bench.idle()
    while (tried.length === 0) await setImmediate()
    for (let turn = 0; turn < 20; turn++) await setImmediate()

    assert.deepEqual(tried, [temporary])
    assert.equal(rows.backup()['status'], status)
    assert.equal(rows.backup()['temp_volume_id'], removes ? null : temporary)
    assert.equal(rows.volume()['status'], 'available')
    assert.equal(journal.leftovers().length, removes ? 0 : 1)
    end.abort()
    await removing
    await bench.stop()
  })
}

test('M-62 what is temporary of a backup that is reset to error is removed', async () => {
  const rows = cinderRows({ backup: { status: 'available', temp_volume_id: temporary } })
  const named = aVolume(temporary, { display_name: 'backup-vol-x', deleted: false })
  rows.tables.volumes.push(named)
  const [journal, log] = [memoryJournal(), recordingLog()]
  const deleted: string[] = []
  const remover = temporaryRemover({
    ...{ records: rows.records, journal, makingMs: 60_000, log },
    storage: {
      deleteVolume: async ({ id }) => void deleted.push(id),
      checkReleased: async () => undefined,
      deleteSnapshot: async () => undefined,
    },
  })
  const end = new AbortController()
  const removing = remover.run(end.signal)
  const bench = runnerBench(
    ...([{}, 4, journal] as const),
    databaseRows({
      ...{ records: rows.records, service: swiftDriver, availabilityZone: 'nova', log },
      ...{ host: 'host-1', refusedRetryMs: 1, isReady: () => true, onEnded: remover.ended },
    }),
  )
  bench.ask(aRequest('reset_status', rows.record, { newStatus: 'error' }))
  await bench.idle()
  while (rows.backup()['temp_volume_id'] !== null) await setImmediate()

  assert.equal(rows.backup()['status'], 'error')
  assert.deepEqual(deleted, [temporary])
  end.abort()
  await removing
  await bench.stop()
})

test('of two copies that were made for a backup both are removed, once both are there', async () => {
  const [volumeId, copy, other] = [randomUUID(), randomUUID(), randomUUID()]
  const rows = cinderRows({
    backup: { status: 'available', volume_id: volumeId, temp_volume_id: copy },
  })
  const made = { display_name: `backup-vol-${volumeId}`, use_quota: false, deleted: false }
  const age = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString()
  const stray = aVolume(other, { ...made, status: 'creating', created_at: age(1) })
  rows.tables.volumes.push(aVolume(copy, made), stray)
  rows.tables.volumes.push(aVolume(randomUUID(), { ...made, use_quota: true })) // A user's.
  const journal = memoryJournal()
  const accepted = journal.accept(aDelivery(aRequest('create', rows.record)))
  assert.ok(accepted.kind === 'new')
  journal.end(accepted.job.id, { kind: 'done' }, rows.record, [])
  const deleted: string[] = []

  /** One life of the agent, until it has nothing to do or waits. */
  async function life(makingMs: number) {
    const end = new AbortController()
    const remover = temporaryRemover({
      ...{ records: rows.records, journal, makingMs, log: recordingLog() },
      storage: {
        async deleteVolume({ id }) {
          deleted.push(id)
          Object.assign(rows.volume(id), { deleted: true })
        },
        checkReleased: async () => undefined,
        deleteSnapshot: async () => undefined,
      },
    })
    const removing = remover.run(end.signal)
    for (let turn = 0; turn < 50; turn++) await setImmediate()
    end.abort()
    await removing
    return { deleted: deleted.splice(0), isLeft: journal.leftovers().length > 0 }
  }

  assert.deepEqual(await life(60_000), { deleted: [copy], isLeft: true })
  const next = { ...rows.record, id: randomUUID(), status: 'creating' as const }
  Object.assign(stray, { status: 'backing-up' })
  rows.tables.backups.push(next) // They may be of that one.
  assert.deepEqual(await life(60_000), { deleted: [], isLeft: true })
  rows.tables.backups.pop()
  assert.deepEqual(await life(60_000), { deleted: [other], isLeft: false })
})

test('a second snapshot that could not be asked away is asked for again; one that cannot be deleted is not', async () => {
  for (const [status, isAsked] of [
    ['available', true],
    ['deleting', true], // So it was left, by a life that ended before it asked, or was refused.
    ['error_deleting', false],
  ] as const) {
    const rows = cinderRows({ backup: { status: 'error', temp_snapshot_id: temporary } })
    const { volume_id } = rows.record
    const made = { volume_id, display_name: `backup-snap-${volume_id}`, use_quota: false }
    const second = randomUUID()
    rows.tables.snapshots.push({ id: second, ...made, status, deleted: false })
    const { asked, remover, running, stop } = removerOf(rows)
    remover.ended({ ...rows.record, status: 'error' })
    await settledDown()
    stop()
    await running

    assert.deepEqual(asked.snapshots, isAsked ? [[second, volume_id]] : [])
  }
})

test('a copy that is never finished is left to the operator', async () => {
  const rows = cinderRows({ backup: { status: 'available', temp_volume_id: temporary } })
  const created_at = new Date(Date.now() - 61_000).toISOString()
  const display_name = `backup-vol-${rows.record.volume_id}`
  const stray = { display_name, use_quota: false, deleted: false, status: 'creating', created_at }
  rows.tables.volumes.push(aVolume(randomUUID(), stray))
  const [journal, log] = [memoryJournal(), recordingLog()]
  const end = new AbortController()
  const remover = temporaryRemover({
    ...{ records: rows.records, journal, makingMs: 60_000, log },
    storage: {
      deleteVolume: () => assert.fail('it is deleted'),
      checkReleased: async () => undefined,
      deleteSnapshot: async () => undefined,
    },
  })
  const removing = remover.run(end.signal)
  remover.ended(rows.record)
  while (rows.backup()['temp_volume_id'] !== null) await setImmediate()
  for (let turn = 0; turn < 20; turn++) await setImmediate()
  end.abort()
  await removing
  assert.ok(log.lines.some(({ message }) => /never finished/.test(message)))
})

type Asked = { readonly volumes: string[]; readonly snapshots: (readonly [string, string])[] }

/** A remover over those rows, which notes what it has removed; `fails` so often first. `here`: this host has it still. */
function removerOf(
  rows: ReturnType<typeof cinderRows>,
  journal = memoryJournal(),
  fails = 0,
  here: { readonly kind: string; readonly id: string } | null = null,
) {
  const asked: Asked = { volumes: [], snapshots: [] }
  const log = recordingLog()
  let left = fails
  const refuse = () => {
    left -= 1
    if (left >= 0) throw new AgentError('CALL_UNROUTABLE', 'nobody takes it')
  }
  const end = new AbortController()
  const remover = temporaryRemover({
    ...{ records: rows.records, journal, makingMs: 60_000, log },
    storage: {
      async deleteVolume({ id }) {
        refuse()
        asked.volumes.push(id)
      },
      async checkReleased(what) {
        if (isDeepStrictEqual(what, here)) throw new AgentError('DETACH_FAILED', 'it is here still')
      },
      async deleteSnapshot({ id, columns }, volume) {
        refuse()
        assert.equal(columns['status'], 'deleting')
        asked.snapshots.push([id, volume.id])
      },
    },
  })
  return {
    ...{ asked, remover, log },
    running: remover.run(end.signal),
    stop: () => end.abort(),
  }
}

async function settledDown() {
  for (let turn = 0; turn < 50; turn++) await setImmediate()
}

test("a temporary snapshot is deleting before it is removed; one that is somebody's stays", async () => {
  for (const [display_name, isOurs] of [
    ['backup-snap-1', true],
    ['mine', false],
    [null, false],
    ['my-backup-snap-1', false],
  ] as const) {
    const rows = cinderRows({ backup: { status: 'error', temp_snapshot_id: temporary } })
    const { volume_id } = rows.record
    const row = { id: temporary, volume_id, display_name, status: 'available', deleted: false }
    rows.tables.snapshots.push(row)
    const { asked, remover, log, running, stop } = removerOf(rows)
    remover.ended({ ...rows.record, status: 'error' })
    await settledDown()
    stop()
    await running

    assert.deepEqual(asked, { volumes: [], snapshots: isOurs ? [[temporary, volume_id]] : [] })
    assert.equal(rows.snapshot()['status'], isOurs ? 'deleting' : 'available')
    assert.equal(rows.backup()['temp_snapshot_id'], null)
    assert.equal(log.lines[0]?.level, isOurs ? 'info' : 'warn')
  }
})

test('nothing temporary is removed of a backup that is in the making, or that has none', async () => {
  const rows = cinderRows({ backup: { ...creating, temp_volume_id: temporary } })
  rows.tables.volumes.push(aVolume(temporary, { display_name: 'backup-vol-x', deleted: false }))
  const journal = memoryJournal()
  const leftovers = () => [{ ...rows.record }]
  const cleared: string[] = []
  const { asked, remover, running, stop } = removerOf(rows, {
    ...journal,
    leftovers,
    cleared: (id) => void cleared.push(id),
  })
  remover.ended(rows.record)
  // Its row says that it has begun again meanwhile.
  remover.ended({ ...rows.record, status: 'error' })
  remover.ended({ ...rows.record, status: 'error', temp_volume_id: null })
  await settledDown()
  stop()
  await running

  assert.deepEqual([asked.volumes, cleared], [[], []])
  assert.equal(rows.backup()['temp_volume_id'], temporary)
})

test('what is temporary of a backup whose row is purged is forgotten', async () => {
  const rows = cinderRows({ backup: { status: 'error', temp_volume_id: temporary } })
  rows.tables.backups.length = 0
  const cleared: string[] = []
  const journal = { ...memoryJournal(), cleared: (id: string) => void cleared.push(id) }
  const { asked, remover, log, running, stop } = removerOf(rows, journal)
  remover.ended({ ...rows.record, status: 'error' })
  await settledDown()
  stop()
  await running

  assert.deepEqual([asked.volumes, cleared, log.lines], [[], [rows.record.id], []])
})

test('what this host could not disconnect is left as it is until it has', async () => {
  for (const kind of ['volume', 'snapshot'] as const) {
    const rows = cinderRows({ backup: { status: 'error', [`temp_${kind}_id`]: temporary } })
    const { volume_id } = rows.record
    const display_name = `backup-${kind === 'volume' ? 'vol' : 'snap'}-x`
    const row = { id: temporary, volume_id, display_name, status: 'available', deleted: false }
    if (kind === 'snapshot') rows.tables.snapshots.push(row)
    else rows.tables.volumes.push(aVolume(temporary, { display_name, deleted: false }))
    const journal = memoryJournal()
    const accepted = journal.accept(aDelivery(aRequest('create', rows.record)))
    assert.ok(accepted.kind === 'new')
    journal.end(accepted.job.id, { kind: 'done' }, rows.record, [])
    const here = removerOf(rows, journal, 0, { kind, id: temporary })
    await settledDown()
    here.stop()
    await here.running

    assert.deepEqual(here.asked, { volumes: [], snapshots: [] })
    assert.match(JSON.stringify(here.log.lines), /something temporary is left.*DETACH_FAILED/)
    assert.equal(rows.backup()[`temp_${kind}_id`], temporary)
    if (kind === 'snapshot') assert.equal(rows.snapshot()['status'], 'available')

    const gone = removerOf(rows, journal)
    await settledDown()
    gone.stop()
    await gone.running
    assert.equal(rows.backup()[`temp_${kind}_id`], null)
    assert.equal(gone.asked.volumes.length + gone.asked.snapshots.length, 1)
  }
})

test('what fails once is told of, and keeps nothing else from being removed', async () => {
  const rows = cinderRows({ backup: { status: 'error', temp_volume_id: temporary } })
  const other = cinderRows({ backup: { status: 'error', temp_volume_id: 'another' } })
  rows.tables.backups.push(...other.tables.backups)
  for (const id of [temporary, 'another']) {
    rows.tables.volumes.push(aVolume(id, { display_name: 'backup-vol-x', deleted: false }))
  }
  const { asked, remover, log, running, stop } = removerOf(rows, memoryJournal(), 1)
  remover.ended({ ...rows.record, status: 'error' })
  remover.ended({ ...other.record, status: 'error' })
  await settledDown()
  stop()
  await running

  assert.deepEqual(asked.volumes, ['another'])
  const [told] = log.lines
  assert.deepEqual([told?.level, told?.fields['backup_id']], ['warn', rows.record.id])
  assert.equal(rows.backup()['temp_volume_id'], temporary)
})

test('a removal that the end of the agent cuts off is no failure, and is left for the next start', async () => {
  const rows = cinderRows({ backup: { status: 'error', temp_volume_id: temporary } })
  rows.tables.volumes.push(aVolume(temporary, { display_name: 'backup-vol-x', deleted: false }))
  const log = recordingLog()
  const end = new AbortController()
  const remover = temporaryRemover({
    ...{ records: rows.records, journal: memoryJournal(), makingMs: 60_000, log },
    storage: {
      async deleteVolume() {
        end.abort(new Error('enough'))
        throw new Error('cut off')
      },
      checkReleased: async () => undefined,
      deleteSnapshot: async () => undefined,
    },
  })
  remover.ended({ ...rows.record, status: 'error' })
  await remover.run(end.signal)

  assert.deepEqual(log.lines, [])
  assert.equal(rows.backup()['temp_volume_id'], temporary)
})
