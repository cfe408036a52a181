import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type { BackupDevice } from '#src/domain/job.ts'
import { cinderJobVolumes } from '#src/operations/job-volumes.ts'
import type { Run } from '#src/operations/operation.ts'
import type { BlockStorage } from '#src/ports/block-storage.ts'
import type { VolumeReader } from '#src/ports/volumes.ts'
import { aDevice, aRequest } from '../support/builders.ts'
import { runnerBench } from '../support/runner-bench.ts'
import { cinderRows } from '../support/state-rows.ts'

const signal = AbortSignal.timeout(60_000)

/** A create whose device comes with the answer to request number `answered`. */
async function opened(
  rows: ReturnType<typeof cinderRows>,
  answered: number,
  deviceWaitMs: number,
  { busyMs = 20, session = (): number | null => 1 } = {},
) {
  let asked = 0
  const gave: BackupDevice[] = []
  const storage = {
    async requestDevice() {
      asked += 1
      if (asked === answered) bench.runner.giveDevice(rows.record.id, aDevice())
      return null
    },
    async openSource(device: BackupDevice) {
      gave.push(device)
      return {} as VolumeReader
    },
  } as unknown as BlockStorage
  const asks = { askAgainMs: 20, earlierAskMs: 20, unheardMs: 20, busyMs, session }
  const waits = { ...asks, deviceWaitMs }
  const volumes = cinderJobVolumes({ storage, records: rows.records, ...waits })
  const failures: unknown[] = []
  const create = async (run: Run) => {
    await volumes.source(run, signal).catch((error: unknown) => failures.push(error))
    return { record: {} }
  }
  const bench = runnerBench({ create })
  bench.ask(aRequest('create', rows.record))
  await bench.idle()
  await bench.stop()
  return { asked, gave, failures }
}

test('a device whose request was lost is asked for again', async () => {
  const rows = cinderRows({ backup: { status: 'creating' } })

  const { asked, gave, failures } = await opened(rows, 3, 30_000)

  assert.deepEqual([asked, gave.length, failures], [3, 1, []])
})

test('what cinder-volume copies for a backup is asked for once: it may take its time', async () => {
  const inUse = cinderRows({
    backup: { status: 'creating' },
    volume: { previous_status: 'in-use', attach_status: 'attached' },
  })
  const ofSnapshot = cinderRows({ backup: { status: 'creating' }, snapshot: {} })
  for (const rows of [inUse, ofSnapshot]) {
    const { asked, failures } = await opened(rows, 2, 100)
    assert.equal(asked, 1)
    assert.match(String(failures[0]), /did not make volume .* ready/)
  }
})

test('a create keeps the first device: a second copy of the volume is one of another moment', async () => {
  const [first, second] = [aDevice(), aDevice()]
  const got: unknown[] = []
  const bench = runnerBench({
    async create(run, signal) {
      got.push(await run.device(30_000, signal))
      bench.runner.giveDevice(run.record().id, second)
      got.push(await run.device(30_000, signal), await run.keepDevice(aDevice(), signal))
      got.push(bench.journal.unfinished()[0]?.device)
      return { record: {} }
    },
  })
  const { id } = bench.ask(aRequest('create')).request.backup.record

  assert.equal(bench.runner.giveDevice(id, first)?.isTaken, true)
  assert.equal(bench.runner.giveDevice(id, second)?.isTaken, false)
  await bench.idle()
  await bench.stop()

  assert.deepEqual(got, [first, first, first, first])
})

const inUse = () =>
  cinderRows({
    backup: { status: 'creating' },
    volume: { previous_status: 'in-use', attach_status: 'attached' },
  })

/** The row of its cinder-volume, which lives or does not. */
function beating(t: TestContext, rows: ReturnType<typeof cinderRows>, lives = true): void {
  const service = {
    ...{ id: 7, binary: 'cinder-volume', host: 'storage1@lvm', deleted: false },
    updated_at: '2026-11-26T05:00:00Z',
  }
  rows.tables.services.push(service)
  let beats = 0
  const beat = setInterval(() => {
    beats += 1
    if (lives) service.updated_at = `2026-11-26T05:00:00.${beats}Z`
  }, 5)
  t.after(() => clearInterval(beat))
}

test('what a cinder-volume that lives has not begun to copy is asked for again, what it has is not', async (t) => {
  const [lost, begun, down] = [inUse(), inUse(), inUse()]
  for (const rows of [lost, begun, down]) beating(t, rows, rows !== down)
  const { volume_id: id } = begun.record
  const snapshot = {
    ...{ display_name: `backup-snap-${id}`, deleted: false, status: 'creating' },
    ...{ use_quota: false, created_at: new Date().toISOString() },
  }
  begun.tables.snapshots.push({ id: 'made', volume_id: id, ...snapshot })

  const again = await opened(lost, 2, 5_000)
  const once = await opened(begun, 2, 300)
  const waiting = await opened(down, 2, 300)

  assert.deepEqual([again.asked, again.gave.length, again.failures], [2, 1, []])
  assert.deepEqual([once.asked, waiting.asked], [1, 1])
})

test('a cinder-volume that is busy with others is asked once more at most, and late, unless the broker was away', async (t) => {
  const [lost, busy, away, gone] = [inUse(), inUse(), inUse(), inUse()]
  for (const rows of [lost, busy, away, gone]) beating(t, rows)
  const connections = (...counts: (number | null)[]) => {
    return () => (counts.length > 1 ? counts.shift() : counts[0]) ?? null
  }

  const twice = await opened(lost, 3, 500)
  const once = await opened(busy, 2, 300, { busyMs: 60_000 })
  const again = await opened(away, 2, 5_000, { busyMs: 60_000, session: connections(1, 1, 2) })
  const waiting = await opened(gone, 2, 300, { busyMs: 60_000, session: connections(1, null) })

  assert.deepEqual([twice.asked, once.asked, again.asked, waiting.asked], [2, 1, 2, 1])
  assert.equal(again.gave.length, 1)
})

test('what its row names by the time that it would be asked for again is not', async (t) => {
  const rows = inUse()
  beating(t, rows)
  const { lastHeartbeat } = rows.records
  let looks = 0
  Object.assign(rows.records, {
    lastHeartbeat: (...args: Parameters<typeof lastHeartbeat>) => {
      looks += 1
      if (looks > 1) Object.assign(rows.backup(), { temp_volume_id: 'is made' })
      return lastHeartbeat(...args)
    },
  })

  const { asked } = await opened(rows, 2, 300)

  assert.equal(asked, 1)
  assert.ok(looks > 1)
})

test('K-01 a device that never comes is a failure when its time is over', async () => {
  const rows = cinderRows({ backup: { status: 'creating' } })
  const beganMs = performance.now()

  const { asked, failures } = await opened(rows, 0, 100)

  assert.equal((failures[0] as { code?: string }).code, 'DEVICE_TIMED_OUT')
  assert.ok(performance.now() - beganMs >= 90)
  assert.ok(asked > 1)
})
