import assert from 'node:assert/strict'
import { test } from 'node:test'

import { hasCode } from '#src/domain/errors.ts'
import {
  checkPrefix,
  chunkName,
  posixContainer,
  posixPrefix,
  swiftPrefix,
} from '#src/domain/object-names.ts'

const volumeId = '41514981-daa2-4f6e-9fca-6d3e3256440e'
const backupId = '02c8ea74-96ca-4a12-bffe-c82c21a7e2bc'
const record = { id: backupId, volume_id: volumeId }
const parts = { volumeId, backupId, stamp: '20261123002624' }

test('prefixes are spelled as Cinder spells them', () => {
  assert.equal(
    swiftPrefix(parts, 'nova'),
    `volume_${volumeId}/20261123002624/az_nova_backup_${backupId}`,
  )
  assert.equal(posixPrefix(parts), `volume_${volumeId}_20261123002624_backup_${backupId}`)
  assert.equal(posixContainer(backupId), `02/c8/${backupId}`)
})

test('chunk names count from 00001 and grow beyond five digits', () => {
  assert.deepEqual(
    [1, 99_999, 100_000].map((number) => chunkName('p', number)),
    ['p-00001', 'p-99999', 'p-100000'],
  )
})

test('the prefixes that we write pass the check', () => {
  checkPrefix(swiftPrefix(parts, 'zone \u00e9'), record)
  checkPrefix(posixPrefix(parts), record)
})

test('a backup that has the id of its volume does not own what else is of that volume', () => {
  assert.throws(
    () => checkPrefix(`volume_${volumeId}`, { id: volumeId, volume_id: volumeId }),
    (error) =>
      hasCode(error, 'RECORD_MISMATCH') && /does not contain the backup id/.test(error.message),
  )
})

const longZone = 'z'.repeat(200)
const refused: readonly (readonly [string, string, RegExp])[] = [
  ['an empty prefix', '', /does not start with/],
  [
    'a prefix of another backup',
    swiftPrefix({ ...parts, backupId: volumeId }, 'nova'),
    /backup id/,
  ],
  ['a prefix of another volume', `volume_x/1/az_nova_backup_${backupId}`, /does not start with/],
  ['a prefix that is too long', swiftPrefix(parts, longZone), /255 at most/],
  ['a prefix that climbs', `volume_${volumeId}/../backup_${backupId}`, /\. or \.\./],
  ['a prefix with an empty part', `volume_${volumeId}//backup_${backupId}`, /an empty part/],
  ['a prefix with half a character', `volume_${volumeId}/\ud800_backup_${backupId}`, /half a char/],
  ['a prefix with a line feed', `volume_${volumeId}/\n/backup_${backupId}`, /control characters/],
]

for (const [what, prefix, why] of refused) {
  test(`${what} is refused with RECORD_MISMATCH`, () => {
    assert.throws(
      () => checkPrefix(prefix, record),
      (error) => hasCode(error, 'RECORD_MISMATCH') && why.test(error.message),
    )
  })
}
