import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import type { Run } from '#src/operations/operation.ts'
import { rowPathVolumes } from '#src/operations/row-path-volumes.ts'
import { cinderRows } from '../support/state-rows.ts'

const signal = AbortSignal.timeout(60_000)

function bench(fields: NonNullable<Parameters<typeof cinderRows>[0]>, ...names: string[]) {
  const rows = cinderRows(fields)
  const contents = new Map(names.map((name) => [name, new Uint8Array(512)] as const))
  const volumes = rowPathVolumes({ volumes: memoryVolumes(contents), records: rows.records })
  const run = { record: () => rows.record } as Run
  return { rows, volumes, run }
}

test('a volume that was migrated is found under the name that its backend has for it', async () => {
  const name = randomUUID()
  const { rows, volumes, run } = bench({ volume: { _name_id: name } }, name)

  await using source = await volumes.source(run, signal)
  assert.equal(source.sizeBytes, 512)
  await source[Symbol.asyncDispose]()
  await using target = await volumes.target(run, rows.record.volume_id, signal)
  assert.equal(target.sizeBytes, 512)
})

test('a volume that somebody writes to is not backed up by its path', async () => {
  for (const volume of [{ previous_status: 'in-use' }, { attach_status: 'attached' }]) {
    const { volumes, run } = bench({ volume })

    await assert.rejects(volumes.source(run, signal), {
      code: 'VOLUME_IN_USE',
      message: /is attached, and with volumes = path nobody makes a copy/,
    })
  }
})

test('a volume that is in no row is not looked for', async () => {
  const { rows, volumes, run } = bench({ volume: null })
  const missing = { code: 'VOLUME_NOT_FOUND', message: /is not in Cinder's database/ }

  await assert.rejects(volumes.source(run, signal), missing)
  await assert.rejects(volumes.target(run, rows.record.volume_id, signal), missing)
})
