import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import { databaseRows } from '#src/operations/database-rows.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { temporaryRemover } from '#src/operations/remove-temporaries.ts'
import { aRequest } from '../support/builders.ts'
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
      ...{ records: rows.records, journal, log },
      storage: {
        async deleteVolume({ id }) {
          tried.push(id)
          if (!removes) throw new AgentError('CALL_UNROUTABLE', 'nobody takes it')
        },
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
        ...{ refusedRetryMs: 1, isReady: () => true, onEnded: remover.ended },
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
