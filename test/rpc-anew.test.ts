import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { aContext, aDelivery, aRecord, aRequest } from './support/builders.ts'
import { ask, handlerBench } from './support/handler-bench.ts'
import { cinderRows } from './support/state-rows.ts'

/** A handler whose journal says that the backup was deleted well. */
function afterDelete(rows: ReturnType<typeof cinderRows>) {
  const journal = memoryJournal()
  const acceptance = journal.accept(aDelivery(aRequest('delete', rows.record)))
  assert.ok(acceptance.kind === 'new')
  journal.end(acceptance.job.id, { kind: 'done' }, { ...rows.record, status: 'deleted' }, [])
  const handlerRows = { records: rows.records, onEnded: () => undefined }
  return handlerBench({ rows: handlerRows }, journal)
}

test('a backup that came back after its delete is deleted once more', async () => {
  const rows = cinderRows({ backup: { status: 'deleting' } })
  const { handle, journal } = afterDelete(rows)

  const answer = await handle(ask('delete', rows.record))

  assert.equal(answer.kind, 'accepted')
  const [job] = journal.unfinished()
  assert.deepEqual([job?.request.operation, job?.record.id], ['delete', rows.record.id])
})

const withRows = () => {
  const rows = cinderRows()
  return { rows: { records: rows.records, onEnded: () => undefined } }
}

test('where rows judge, a restore or an increment of a backup whose last writes are not done waits', async () => {
  const agent = handlerBench(withRows())
  const parent = aRecord()
  await agent.handle(ask('create', parent))
  const child = aRecord({ parent_id: parent.id })

  await agent.handle(ask('restore', { ...parent, status: 'restoring' }))
  await agent.handle(ask('create', child))

  const asked = agent.journal.unfinished().map(({ request }) => request)
  assert.deepEqual(
    asked.map(({ operation, refused }) => [operation, refused ?? null]),
    [
      ['create', null],
      ['restore', null],
      ['create', null],
    ],
  )
})

test('where rows judge, whose a backup was by the journal counts for nothing', async () => {
  const agent = handlerBench(withRows())
  const record = agent.known({ project_id: 'who had it before it was imported again' })
  const now = { ...record, status: 'restoring', project_id: 'p' } as const

  await agent.handle(ask('restore', now, { context: aContext({ projectId: 'p', isAdmin: false }) }))

  const [job] = agent.journal.unfinished()
  assert.deepEqual([job?.request.operation, job?.request.refused ?? null], ['restore', null])
})

test('a delete that comes twice is not done twice', async () => {
  const rows = cinderRows({ backup: { status: 'deleted', deleted: true } })
  const { handle, journal } = afterDelete(rows)

  const answer = await handle(ask('delete', rows.record))

  assert.equal(answer.kind, 'accepted')
  assert.deepEqual(journal.unfinished(), [])
})
