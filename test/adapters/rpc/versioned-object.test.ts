import assert from 'node:assert/strict'
import { test } from 'node:test'

import { backupFromPrimitive, backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import type { Json, JsonObject } from '#src/domain/json.ts'
import { wireSample } from '../../support/wire-samples.ts'

const id = '6c9b1c1a-6d24-4d4c-9b7a-0a1b2c3d4e5f'
const volumeId = 'b1f0c0de-1111-4222-8333-444455556666'
const least = { id, volume_id: volumeId }

function sampleBackup(name: string): JsonObject {
  const args = wireSample(name).message_decoded['args'] as JsonObject
  return args['backup'] as JsonObject
}

function dataOf(primitive: JsonObject): JsonObject {
  return primitive['versioned_object.data'] as JsonObject
}

for (const name of ['create_backup', 'create_backup-changes', 'restore_backup', 'delete_backup']) {
  test(`the backup of rpc-cast-${name} is read field by field, and written as it came`, () => {
    const primitive = sampleBackup(`rpc-cast-${name}`)

    const backup = backupFromPrimitive(primitive)

    assert.deepEqual(backup, { record: dataOf(primitive), parent: null })
    const { 'versioned_object.changes': _changes, ...unchanged } = primitive
    const { parent, ...written } = dataOf(backupToPrimitive(backup))
    assert.equal(parent, null)
    assert.deepEqual({ ...backupToPrimitive(backup), 'versioned_object.data': written }, unchanged)
  })
}

test('a plain object is read as a backup, what is missing by its default', () => {
  const { record } = backupFromPrimitive({ ...least, size: 2, unknown_field: [1] })

  assert.equal(record.size, 2)
  assert.equal(record.status, null)
  assert.equal(record.object_count, 0)
  assert.equal(record.num_dependent_backups, 0)
  assert.deepEqual(record.metadata, {})
  assert.equal(record.deleted, false)
  assert.equal('unknown_field' in record, false)
})

test('a plain backup may have a wrapped parent, and the other way round', () => {
  const wrapped = (data: JsonObject): JsonObject => ({
    'versioned_object.name': 'Backup',
    'versioned_object.namespace': 'cinder',
    'versioned_object.version': '1.9',
    'versioned_object.data': data,
  })
  const mixed = { ...least, parent: wrapped({ ...least, size: 2, parent: { ...least, size: 3 } }) }

  const { parent } = backupFromPrimitive(mixed)

  assert.equal(parent?.record.size, 2)
  assert.equal(parent?.parent?.record.size, 3)
  assert.equal(parent?.parent?.parent, null)
})

test('a chain is written and read back, each parent in its child', () => {
  const chain = backupFromPrimitive({
    ...least,
    parent_id: volumeId,
    parent: { ...least, id: volumeId, data_timestamp: '2026-11-22T10:11:12Z' },
  })

  assert.deepEqual(backupFromPrimitive(backupToPrimitive(chain)), chain)
})

test('a parent that is not known is left out, as a field that was never loaded', () => {
  const orphan = backupFromPrimitive({ ...least, parent_id: volumeId })

  assert.equal(Object.hasOwn(dataOf(backupToPrimitive(orphan)), 'parent'), false)
})

test('an import brings its backup under another name', () => {
  const primitive = { ...sampleBackup('rpc-cast-create_backup') }

  const imported = backupFromPrimitive({ ...primitive, 'versioned_object.name': 'BackupImport' })

  assert.deepEqual(imported, backupFromPrimitive(primitive))
})

test('a backup of a newer minor version, with fields that nobody knows yet, is read', () => {
  const newer = {
    ...sampleBackup('rpc-cast-create_backup'),
    'versioned_object.version': '1.99',
    'versioned_object.surprise': true,
  }
  const data = { ...dataOf(newer), shelf_life: { days: 7 } }

  const { record } = backupFromPrimitive({ ...newer, 'versioned_object.data': data })

  assert.deepEqual(record, backupFromPrimitive(sampleBackup('rpc-cast-create_backup')).record)
})

const times: readonly [string, string][] = [
  ['2026-11-22T10:11:12Z', '2026-11-22T10:11:12Z'],
  ['2026-11-22T10:11:12', '2026-11-22T10:11:12Z'],
  ['2026-11-22 10:11:12.345678', '2026-11-22T10:11:12.345678Z'],
  ['2026-11-22T10:11:12+00:00', '2026-11-22T10:11:12Z'],
  ['2026-11-22T10:11:12.5+02:00', '2026-11-22T10:11:12.5+02:00'],
  ['2026-11-22T10:11:12-0530', '2026-11-22T10:11:12-05:30'],
  ['20261122T101112Z', '2026-11-22T10:11:12Z'],
  ['2026-11-22', '2026-11-22T00:00:00Z'],
]

for (const [sent, expected] of times) {
  test(`the time ${sent} is read as ${expected}`, () => {
    const { record } = backupFromPrimitive({ ...least, data_timestamp: sent })
    assert.equal(record.data_timestamp, expected)
  })
}

const wrapper = sampleBackup('rpc-cast-create_backup')
const refused: readonly [string, Json, RegExp][] = [
  ['text', 'a backup', /^argument backup is not a backup: "a backup"$/],
  ['a list', [], /^argument backup is not a backup: an array$/],
  [
    'an id that is no UUID',
    { ...least, id: '../../etc' },
    /backup\.id is not a UUID: "..\/..\/etc"/,
  ],
  ['an id that is a number', { ...least, id: 7 }, /backup\.id is not a UUID: 7/],
  ['a parent_id that is no UUID', { ...least, parent_id: 'x' }, /backup\.parent_id is not a UUID/],
  ['a snapshot_id that is no UUID', { ...least, snapshot_id: '' }, /backup\.snapshot_id is not/],
  [
    'control characters in an id',
    { ...least, id: `a\n\u001b[2J${'x'.repeat(500)}` },
    /is not a UUID: "a\\n\\u001b\[2Jx{60,80}…$/,
  ],
  ['a size of text', { ...least, size: '1' }, /backup\.size is not a whole number: "1"/],
  ['a negative size', { ...least, size: -1 }, /backup\.size is not a whole number: -1/],
  ['an endless size', { ...least, size: 1e300 }, /backup\.size is not a whole number/],
  ['an unknown status', { ...least, status: 'fine' }, /backup\.status is not a status/],
  [
    'a container that is an object',
    { ...least, container: {} },
    /backup\.container is not a string/,
  ],
  ['metadata of numbers', { ...least, metadata: { a: 1 } }, /backup\.metadata is not an object of/],
  ['deleted as text', { ...least, deleted: 'no' }, /backup\.deleted is not true or false/],
  [
    'a time of words',
    { ...least, created_at: 'yesterday' },
    /backup\.created_at is not an ISO 8601/,
  ],
  ['a month 13', { ...least, created_at: '2026-13-01T00:00:00Z' }, /backup\.created_at is not an/],
  ['a bad parent', { ...least, parent: { ...least, id: 'x' } }, /backup\.parent\.id is not a UUID/],
  ['a parent of text', { ...least, parent: 'x' }, /backup\.parent is not a backup/],
  [
    'another object',
    { ...wrapper, 'versioned_object.name': 'Volume' },
    /versioned object named "Volume"/,
  ],
  [
    'another namespace',
    { ...wrapper, 'versioned_object.namespace': 'nova' },
    /namespace "nova", not cinder/,
  ],
  ['version 2', { ...wrapper, 'versioned_object.version': '2.0' }, /has version "2.0", not 1\.x/],
  [
    'a version that cannot be made a text',
    { ...wrapper, 'versioned_object.version': { toString: 'x', valueOf: 'x' } },
    /has version an object, not 1\.x/,
  ],
  ['an empty wrapper', { ...wrapper, 'versioned_object.data': 7 }, /has no versioned_object\.data/],
]

for (const [what, json, message] of refused) {
  test(`${what} is refused as ARGUMENT_INVALID, naming the field`, () => {
    assert.throws(() => backupFromPrimitive(json), { code: 'ARGUMENT_INVALID', message })
  })
}

for (const [what, json, field] of [
  ['no backup', undefined, 'backup'],
  ['null', null, 'backup'],
  ['no id', { volume_id: volumeId }, 'backup.id'],
  ['no volume_id', { id }, 'backup.volume_id'],
] as const) {
  test(`${what} is refused as ARGUMENT_MISSING`, () => {
    assert.throws(() => backupFromPrimitive(json), {
      code: 'ARGUMENT_MISSING',
      message: `missing argument: ${field}`,
    })
  })
}

test('fields of the prototype are no fields of a backup', () => {
  const data: JsonObject = Object.setPrototypeOf({ ...least }, { size: 7 })

  assert.equal(backupFromPrimitive(data).record.size, null)
})

test('a thousand ancestors are read, and one more is refused', () => {
  const chainOf = (ancestors: number): JsonObject => {
    let backup: JsonObject = least
    for (let count = 0; count < ancestors; count += 1) backup = { ...least, parent: backup }
    return backup
  }

  assert.ok(backupFromPrimitive(chainOf(1_000)).parent)
  assert.throws(() => backupFromPrimitive(chainOf(1_001)), { code: 'ARGUMENT_INVALID' })
})
