import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { memoryJournals } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { sweepRows } from '#src/operations/sweep-rows.ts'
import { aDelivery, aRequest } from '../support/builders.ts'
import { runnerBench, types } from '../support/runner-bench.ts'
import { rowsOf } from '../support/state-bench.ts'
import { cinderRows, swiftDriver } from '../support/state-rows.ts'

// The agent is killed before or after any call to its journal or to Cinder's database, and starts again:
// the rows must end as if nothing had been.

type Way = { readonly call: number; readonly isDone: boolean }

/** Lets calls through until one that it kills, before it is done or after; then all are refused. */
function killer({ call, isDone }: Way) {
  let calls = 0
  const killed = new Error('the agent was killed here')
  const through = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(of, name) {
        const method: unknown = Reflect.get(of, name)
        if (typeof method !== 'function' || typeof name === 'symbol') return method
        return (...given: unknown[]) => {
          calls += 1
          if (calls > call || (calls === call && !isDone)) throw killed
          const result: unknown = Reflect.apply(method, of, given)
          if (calls < call) return result
          if (!(result instanceof Promise)) throw killed
          return result.then(() => {
            throw killed
          })
        }
      },
    })
  return { through, isAlive: () => calls < call }
}

type Scene = {
  readonly operation: 'create' | 'restore' | 'delete'
  readonly work: (rows: ReturnType<typeof cinderRows>) => RunOperation
}

const changes: RunOperation = async (run, signal) => {
  await run.change(
    { container: 'c', service_metadata: 'volume_x_backup_x', service: swiftDriver },
    signal,
  )
  return { record: { object_count: 7 } }
}
const fails: RunOperation = async () => {
  throw new AgentError('STORE_UNAVAILABLE', 'no store')
}
/** Somebody deletes the backup by force, and the message went to another host. */
const forced: Scene['work'] = (rows) => async (run, signal) => {
  await rows.records.changeBackup(
    rows.record.id,
    ['creating', 'restoring'],
    { status: 'deleting' },
    signal,
  )
  await run.change({ container: 'c' }, signal)
  return { record: {} }
}

const scenes: Readonly<Record<string, Scene>> = {
  'a create': { operation: 'create', work: () => changes },
  'a create that fails': { operation: 'create', work: () => fails },
  'a create that nobody wants any more': { operation: 'create', work: forced },
  'a restore': { operation: 'restore', work: () => async () => ({ record: {} }) },
  'a restore that fails': { operation: 'restore', work: () => fails },
  'a delete': { operation: 'delete', work: () => async () => ({ record: { deleted: true } }) },
  'a delete that fails': { operation: 'delete', work: () => fails },
}

const statuses = { create: 'creating', restore: 'restoring', delete: 'deleting' } as const

function aWorld({ operation }: Scene) {
  const parentId = randomUUID()
  const isRestore = operation === 'restore'
  const rows = cinderRows({
    backup: {
      ...{ status: statuses[operation], parent_id: parentId, size: 1, project_id: 'p' },
      ...(operation === 'create' ? {} : { service: swiftDriver }),
    },
    ...(isRestore ? { volume: { status: 'restoring-backup', previous_status: 'available' } } : {}),
  })
  if (isRestore) Object.assign(rows.backup(), { restore_volume_id: rows.record.volume_id })
  const count = operation === 'create' ? 2 : 3
  const parent = { ...rows.backup(), id: parentId, parent_id: null, status: 'available' }
  rows.tables.backups.push({ ...parent, num_dependent_backups: count, restore_volume_id: null })
  for (const [resource, in_use] of Object.entries({ backups: 5, backup_gigabytes: 9 })) {
    const usage = { id: rows.tables.quota_usages.length + 1, project_id: 'p', resource, in_use }
    rows.tables.quota_usages.push({ ...usage, reserved: 0, deleted: false })
  }
  return rows
}

/** What must be the same, however often the agent was killed. A message may be lost, and never comes twice. */
function seen(rows: ReturnType<typeof cinderRows>) {
  const { messages, ...tables } = rows.tables
  const ofRow = (row: object) =>
    Object.entries(row).filter(([name]) => !/_at$|^(id|uuid|expire|.*_id)$/.test(name))
  return Object.entries(tables).map(([name, all]) => [name, all.map(ofRow)])
}

/** Resolves to whether the agent lived to the end, and what it told. */
async function played(scene: Scene, way: Way, rows: ReturnType<typeof cinderRows>) {
  const open = memoryJournals()
  const { through, isAlive } = killer(way)
  const target = scene.operation === 'restore' ? { targetVolumeId: rows.record.volume_id } : {}
  const journal = open()
  const acceptance = journal.accept(aDelivery(aRequest(scene.operation, rows.record, target)))
  assert.ok(acceptance.kind === 'new')
  const operations = { [scene.operation]: scene.work(rows) }
  const dying = rowsOf({ records: through(rows.records) }, true)
  const first = runnerBench(operations, 4, through(journal), dying)
  try {
    first.runner.take(acceptance.job)
    await first.idle()
  } catch (error) {
    assert.match(String(error), /killed here/)
  }
  await first.stop()

  const second = runnerBench(operations, 4, open(), rowsOf(rows, true))
  const deps = {
    ...{ records: rows.records, journal: second.journal, host: 'host-1', log: recordingLog() },
    storage: null,
    ...{ take: () => undefined, onEnded: (_record: BackupRecord) => undefined },
  }
  await sweepRows(deps, AbortSignal.timeout(10_000))
  for (const job of second.journal.unfinished()) second.runner.takeLeft(job)
  await second.idle()
  await second.stop()
  assert.deepEqual(second.journal.unfinished(), [])
  return { lived: isAlive(), events: types(second.events()) }
}

for (const [name, scene] of Object.entries(scenes)) {
  test(`${name} ends alike, wherever the agent is killed`, async () => {
    const whole = aWorld(scene)
    const never = { call: Number.POSITIVE_INFINITY, isDone: true }
    const { events } = await played(scene, never, whole)
    const wanted = seen(whole)
    let ways = 0
    for (const isDone of [false, true]) {
      for (let call = 1, lived = false; !lived; call += 1) {
        const rows = aWorld(scene)
        const where = `killed ${isDone ? 'after' : 'before'} call ${call}`
        const end = await played(scene, { call, isDone }, rows)
        lived = end.lived
        ways += 1
        assert.deepEqual([seen(rows), end.events], [wanted, events], where)
        assert.ok(rows.tables.messages.length <= whole.tables.messages.length)
      }
    }
    assert.ok(ways > 10, `${ways}`)
  })
}
