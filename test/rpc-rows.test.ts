import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { encodeBackupUrl } from '#src/adapters/rpc/backup-url.ts'
import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { JsonObject } from '#src/domain/json.ts'
import type { RunOperation } from '#src/operations/operation.ts'
import { aContext, aRecord } from './support/builders.ts'
import { call, handlerBench } from './support/handler-bench.ts'
import { runnerBench } from './support/runner-bench.ts'
import { rowsOf } from './support/state-bench.ts'
import { cinderRows, swiftDriver } from './support/state-rows.ts'

// What a request does to the rows of the database from its message to its end: 10.9 and 10.10.

const zeroId = '00000000-0000-0000-0000-000000000000'
const context = aContext({ isAdmin: true })

/** Has a request handled, and whatever job came of it run; the rows before and after. */
async function asked(
  method: string,
  backup: Partial<BackupRecord>,
  args: (record: BackupRecord) => JsonObject,
  { cast = async () => true, works }: { cast?: () => Promise<boolean>; works?: RunOperation } = {},
) {
  const rows = cinderRows({ backup })
  const before = JSON.stringify(rows.tables)
  const handlers = handlerBench({
    rows: { records: rows.records, onEnded: () => undefined },
    publisher: { cast },
  })
  const message = { backup: backupToPrimitive({ record: rows.record, parent: null }) }
  const request = call(method, { ...message, ...args(rows.record) }, { context })
  const answer = await handlers.handle(request).catch((error: unknown) => error)
  const bench = runnerBench(
    works === undefined ? {} : { import: works },
    ...([4, handlers.journal, rowsOf(rows, true)] as const),
  )
  for (const job of handlers.journal.unfinished()) bench.runner.take(job)
  await bench.idle()
  await bench.stop()
  return { ...rows, answer, isUntouched: JSON.stringify(rows.tables) === before }
}

const importing = { status: 'creating', volume_id: zeroId, size: 0 } as const

function exportOf({ id }: BackupRecord, fields: Partial<BackupRecord> = {}) {
  return aRecord({
    ...{ id, status: 'available', container: 'volumebackups', service: swiftDriver, size: 3 },
    ...{ service_metadata: 'volume_x/20261123000000/az_nova_backup_x', ...fields },
  })
}

test("M-50 an import of another driver's backup is handed on, and its row is left alone", async () => {
  const others = { backup_service: 'x.y.Other', backup_hosts: ['a', 'b'] }
  const { answer, isUntouched } = await asked('import_record', importing, (record) => ({
    ...others,
    backup_url: encodeBackupUrl(exportOf(record)),
  }))

  assert.deepEqual(answer, { kind: 'ignored' })
  assert.ok(isUntouched)
})

test('M-51 an import that no host is left for is an error that names the service', async () => {
  for (const backup_hosts of [[], ['a', 'b']]) {
    const { backup } = await asked(
      'import_record',
      importing,
      (record) => ({
        ...{ backup_service: 'x.y.Other', backup_hosts },
        backup_url: encodeBackupUrl(exportOf(record)),
      }),
      { cast: async () => false },
    )

    assert.equal(backup()['status'], 'error')
    assert.match(String(backup()['fail_reason']), /^BACKUP_NOT_OURS: .*service x\.y\.Other$/)
  }
})

const json = (document: unknown) => Buffer.from(JSON.stringify(document)).toString('base64')
const { container: _, ...lacking } = exportOf(aRecord())

for (const [row, what, url, reason] of [
  ['M-52', 'that is no base64', () => '%%%', /^RECORD_INVALID: .*base64/],
  ['M-52', 'that is no JSON', () => Buffer.from('{').toString('base64'), /^RECORD_INVALID: /],
  [
    'M-53',
    'that lacks a key',
    ({ id }) => json({ ...lacking, id }),
    /^RECORD_INVALID: .*container/,
  ],
  [
    'M-54',
    'of another backup',
    (record) => encodeBackupUrl(exportOf(record, { id: zeroId })),
    /^RECORD_MISMATCH: .*from id 0{8}-\S+ into backup /,
  ],
] as const satisfies readonly (readonly [
  string,
  string,
  (record: BackupRecord) => string,
  RegExp,
])[]) {
  test(`${row} an import of a record ${what} is an error in its row`, async () => {
    const { backup } = await asked('import_record', importing, (record) => ({
      ...{ backup_service: swiftDriver, backup_url: url(record), backup_hosts: [] },
    }))

    assert.equal(backup()['status'], 'error')
    assert.match(String(backup()['fail_reason']), reason)
    assert.equal(backup()['volume_id'], zeroId)
  })
}

test('M-52 an import that the store knows nothing of is an error in its row', async () => {
  const works: RunOperation = async () => {
    throw new AgentError('BACKUP_NOT_FOUND', 'it is not there')
  }
  const { backup } = await asked(
    'import_record',
    importing,
    (record) => ({
      ...{ backup_service: swiftDriver, backup_hosts: [] },
      backup_url: encodeBackupUrl(exportOf(record)),
    }),
    { works },
  )

  assert.equal(backup()['status'], 'error')
  assert.equal(backup()['fail_reason'], 'BACKUP_NOT_FOUND: it is not there')
})

test('M-60, M-61 a reset of what another driver, or none, has made changes no row', async () => {
  for (const [service, code] of [
    ['x.y.Other', 'BACKUP_NOT_OURS'],
    [null, null],
  ]) {
    const { answer, isUntouched } = await asked(
      'reset_status',
      { service: service ?? null, status: 'error', temp_volume_id: randomUUID() },
      () => ({ status: 'available' }),
    )

    assert.ok(isUntouched)
    if (code === null) assert.deepEqual(answer, { kind: 'answered', result: null })
    else assert.equal((answer as AgentError).code, code)
  }
})
