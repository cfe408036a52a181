import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import type { BackupDevice } from '#src/domain/job.ts'
import { cinderJobVolumes } from '#src/operations/job-volumes.ts'
import type { Run } from '#src/operations/operation.ts'
import type { BlockStorage } from '#src/ports/block-storage.ts'
import { aDelivery, aDevice, aRequest } from '../support/builders.ts'
import { aVolume, cinderRows } from '../support/state-rows.ts'

const signal = AbortSignal.timeout(60_000)

/** A create whose devices come as told, one for each time it waits; what was asked for, and what was opened. */
function aCreate(
  { tables, records, record }: ReturnType<typeof cinderRows>,
  came: (BackupDevice | null)[],
  isFirst = true,
  earlierAskMs = 3_600_000,
) {
  const asked: string[] = []
  const opened: BackupDevice[] = []
  const kept: BackupDevice[] = []
  const done = new Error('opened')
  const storage: Pick<BlockStorage, 'requestDevice' | 'madeDevice' | 'openSource'> = {
    async requestDevice({ record: { id } }) {
      asked.push(id)
      return null
    },
    madeDevice: (made) =>
      'volume' in made
        ? aDevice({ id: made.volume.id })
        : aDevice({ kind: 'snapshot', id: made.snapshot.id }),
    async openSource(device) {
      opened.push(device)
      throw done
    },
  }
  const acceptance = memoryJournal().accept(aDelivery(aRequest('create', record)))
  assert.ok(acceptance.kind === 'new')
  const { job } = acceptance
  const volumes = cinderJobVolumes({
    storage: storage as BlockStorage,
    records,
    deviceWaitMs: 3_600_000,
    askAgainMs: 3_600_000,
    earlierAskMs,
    ...{ unheardMs: 120_000, busyMs: 900_000, session: () => 1 },
  })
  const waiting: Run = {
    ...{ job, isFirst, log: recordingLog(), record: () => record, change: async () => undefined },
    ...{ reached: () => undefined, progress: () => undefined },
    async device() {
      assert.ok(came.length > 0, 'it waits longer than anybody would')
      return came.shift() ?? null
    },
    async keepDevice(found) {
      kept.push(found)
      return found
    },
  }
  return {
    ...{ asked, opened, kept, tables },
    open: () => assert.rejects(volumes.source(waiting, signal), done),
  }
}

for (const [kind, column] of [
  ['volume', 'temp_volume_id'],
  ['snapshot', 'temp_snapshot_id'],
] as const) {
  test(`a temporary ${kind} whose device never comes is opened by its row`, async () => {
    const id = randomUUID()
    const rows = cinderRows({ backup: { [column]: id } })
    const name = `backup-${kind === 'volume' ? 'vol' : 'snap'}-${rows.record.volume_id}`
    const made = { ...aVolume(id), deleted: false, display_name: name, volume_size: 1 }
    rows.tables[`${kind}s`].push({ ...made, volume_id: rows.record.volume_id })
    const { open, asked, opened, kept } = aCreate(rows, [null], false)

    await open()

    assert.deepEqual(asked, [])
    assert.deepEqual(
      opened.map((device) => [device.kind, device.id]),
      [[kind, id]],
    )
    // The next start must not find another copy in the row.
    assert.deepEqual(kept, opened)
  })
}

test('what is not called temporary is never opened for a backup, whatever its row says', async () => {
  const id = randomUUID()
  const rows = cinderRows({ backup: { temp_volume_id: id } })
  rows.tables.volumes.push({ ...aVolume(id), deleted: false, display_name: 'of somebody' })
  const device = aDevice()
  const { open, opened } = aCreate(rows, [null, device], false)

  await open()

  assert.deepEqual(opened, [device])
})

test('a first start asks at once; a later one leaves time to what was asked before', async () => {
  const inUse = { previous_status: 'in-use' }
  const device = aDevice()
  const first = aCreate(cinderRows({ volume: inUse }), [device])
  await first.open()
  assert.equal(first.asked.length, 1)

  const later = aCreate(cinderRows({ volume: inUse }), [null, device], false)
  await later.open()
  assert.equal(later.asked.length, 0)
  assert.deepEqual(later.opened, [device])

  // Nothing is made of a volume that nobody uses: it may be asked for again.
  const idle = aCreate(cinderRows(), [device], false)
  await idle.open()
  assert.equal(idle.asked.length, 1)
})

test('a later start does not ask again while cinder-volume is at work on what was asked for', async () => {
  const device = aDevice()
  for (const [made, asks] of [
    [{ status: 'creating' }, 0],
    [{ status: 'backing-up' }, 0], // Its backup is about to name it.
    [{ status: 'error' }, 1],
    // Of a backup before: whoever made it has ended in the middle.
    [{ status: 'creating', created_at: '2026-11-22T09:00:00+00:00' }, 1],
  ] as const) {
    const rows = cinderRows({ volume: { previous_status: 'in-use' } })
    const name = `backup-vol-${rows.record.volume_id}`
    rows.tables.volumes.push({
      ...aVolume(randomUUID(), { display_name: name, use_quota: false, deleted: false }),
      ...{ created_at: '2026-11-22T10:11:13+00:00', ...made },
    })
    const later = aCreate(rows, [null, null, device], false, 0)

    await later.open()

    assert.equal(later.asked.length, asks, JSON.stringify(made))
    assert.deepEqual(later.opened, [device])
  }
})
