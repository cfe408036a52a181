import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'

import { AgentError, hasCode } from '#src/domain/errors.ts'
import { metadataReader } from '#src/domain/metadata-document.ts'
import type { StoredChunk } from '#src/domain/stored-chunk.ts'

const backupId = '02c8ea74-96ca-4a12-bffe-c82c21a7e2bc'
const volumeId = '41514981-daa2-4f6e-9fca-6d3e3256440e'
const prefix = `volume_${volumeId}/20261123002624/az_nova_backup_${backupId}`
const expected = { backupId, volumeId, prefix }
const md5 = 'adb9ad0ec507871867e137d1caa57938'

type Entry = Record<string, unknown>

function anEntry(number: number, fields: Entry = {}): Entry {
  const [length, offset] = [512, (number - 1) * 512]
  const name = `${prefix}-${String(number).padStart(5, '0')}`
  return { [name]: { compression: 'zlib', length, md5, offset, ...fields } }
}

function aDocument(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    backup_description: null,
    backup_id: backupId,
    backup_name: 'bk "1" \u00e9',
    created_at: '2026-11-22 23:51:59+00:00',
    objects: [anEntry(1), anEntry(2), anEntry(3)],
    parent_id: null,
    version: '1.0.0',
    volume_id: volumeId,
    volume_meta: '{"version": 2}',
    ...fields,
  }
}

function read(text: string | Uint8Array, pieceBytes = 1 << 30) {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  const reader = metadataReader('the metadata', expected)
  const chunks: StoredChunk[] = []
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) {
    reader.write(bytes.subarray(at, at + pieceBytes))
    chunks.push(...reader.taken())
  }
  reader.end()
  return { ...reader.result(), chunks }
}

const refusals: readonly (readonly [string, string, RegExp])[] = [
  ['another version', JSON.stringify(aDocument({ version: '9.9.9' })), /"9\.9\.9" for version/],
  ['another backup', JSON.stringify(aDocument({ backup_id: volumeId })), /for backup_id/],
  ['another volume', JSON.stringify(aDocument({ volume_id: backupId })), /for volume_id/],
  ['no objects', JSON.stringify(aDocument({ objects: undefined })), /has no objects/],
  ['objects that are no list', JSON.stringify(aDocument({ objects: {} })), /no list/],
  ['a parent that is no text', JSON.stringify(aDocument({ parent_id: 7 })), /parent_id/],
  ['itself as parent', JSON.stringify(aDocument({ parent_id: backupId })), /itself/],
  ['volume_meta that is no text', JSON.stringify(aDocument({ volume_meta: {} })), /volume_meta/],
  ['a repeated key', '{"version": "1.0.0", "version": "1.0.0"}', /"version" twice/],
  ['no chunks and no parent', JSON.stringify(aDocument({ objects: [] })), /names no chunk/],
  ['a truncated text', JSON.stringify(aDocument()).slice(0, -1), /ends too early/],
  ['a second document', `${JSON.stringify(aDocument())}{}`, /goes on after its end/],
  ['a missing comma', '{"version": "1.0.0" "x": 1}', /without a comma/],
  ['a missing colon', '{"version" "1.0.0"}', /without a colon/],
  ['a trailing comma', '{"version": "1.0.0",}', /no key/],
  ['an empty element', '{"objects": [,]}', /not JSON|broken list|without a comma/],
  ['nothing', '', /ends too early/],
  ['a list', '[]', /no JSON object/],
  ['NaN', JSON.stringify(aDocument()).replace('null', 'NaN'), /not JSON/],
  ['bytes that are no UTF-8', `{"x": "\u00ff"}`, /not JSON/],
  ['a depth of 200000', `{"x": ${'['.repeat(200_000)}`, /deeper than 32/],
  ['a deep entry', `{"objects": [${'{"a":'.repeat(100_000)}`, /deeper than 32/],
  ['a huge value', `{"x": "${'a'.repeat(5_000_000)}"}`, /more than 4194304 bytes/],
  [
    '101 keys',
    `{${Array.from({ length: 101 }, (_, k) => `"k${k}":1`).join()}}`,
    /more than 100 keys/,
  ],
]

for (const [what, text, why] of refusals) {
  test(`metadata with ${what} is refused with MANIFEST_INVALID`, () => {
    const bytes = what.includes('UTF-8') ? Buffer.from(text, 'latin1') : text
    assert.throws(
      () => read(bytes, 4096),
      (error) => hasCode(error, 'MANIFEST_INVALID') && why.test(error.message),
    )
  })
}

const badEntries: readonly (readonly [string, unknown, RegExp])[] = [
  ['two keys', { ...anEntry(1), ...anEntry(2) }, /2 keys/],
  ['no key', {}, /0 keys/],
  ['a number for an entry', 7, /is no object/],
  ['nothing under its name', { [`${prefix}-00001`]: null }, /nothing under/],
  ['an object of another backup', { 'volume_x-00001': {} }, /of another backup/],
  ['a name that leaves the prefix', { [`${prefix}-../x`]: {} }, /no chunk/],
  ['the metadata for a chunk', { [`${prefix}_metadata`]: {} }, /of another backup/],
  ['__proto__ for a name', JSON.parse('{"__proto__": {}}'), /of another backup/],
  ['a negative length', anEntry(1, { length: -512 }), /length/],
  ['a length of 0', anEntry(1, { length: 0 }), /length/],
  ['a broken length', anEntry(1, { length: 1.5 }), /length/],
  ['a length of 2 to the 60th', anEntry(1, { length: 2 ** 60 }), /length/],
  ['a negative offset', anEntry(1, { offset: -1 }), /offset/],
  ['an offset of 2 to the 53rd', anEntry(1, { offset: 2 ** 53 - 1 }), /offset/],
  ['a text for an offset', anEntry(1, { offset: '0' }), /offset/],
  ['an unknown compression', anEntry(1, { compression: 'lzma' }), /"lzma", which is unknown/],
  ['toString for a compression', anEntry(1, { compression: 'toString' }), /unknown/],
  ['no compression', anEntry(1, { compression: undefined }), /unknown/],
  ['no md5', anEntry(1, { md5: null }), /md5/],
  ['a sha1 for an md5', anEntry(1, { md5: `${md5}00000000` }), /md5/],
]

for (const [what, entry, why] of badEntries) {
  test(`an entry with ${what} is refused with MANIFEST_INVALID`, () => {
    const text = JSON.stringify(aDocument({ objects: [entry] }))
    assert.throws(
      () => read(text),
      (error) => hasCode(error, 'MANIFEST_INVALID') && why.test(error.message),
    )
  })
}

test('any order of keys, white space and unknown keys are accepted', () => {
  const unknown = [{}, [], 'x', -1.5e3, true, { a: [1] }]
  const { objects, ...rest } = aDocument({ unknown, volume_meta: null })
  const text = JSON.stringify({ ...rest, objects }, null, '\t').replaceAll('": ', '" :\r\n')

  assert.equal(read(text, 5).chunks.length, 3)
})

test('how a document is cut into pieces makes no difference', () => {
  const text = JSON.stringify(aDocument({ backup_name: '\ud83d\ude00 "\\' }), null, 2)
  const whole = read(text)

  for (const pieceBytes of [1, 2, 3, 7, 64]) assert.deepEqual(read(text, pieceBytes), whole)
})

test('every alias of a compression is read, in any case', () => {
  for (const compression of ['none', 'off', 'no', 'ZLIB', 'Gzip', 'bz2', 'bzip2', 'zstd']) {
    const { chunks } = read(JSON.stringify(aDocument({ objects: [anEntry(1, { compression })] })))
    assert.equal(chunks[0]?.compression, compression.toLowerCase())
  }
})

test('offsets of before Kilo are ends, and the two witnesses must agree', () => {
  const ends = [1, 2, 3].map((number) => anEntry(number, { offset: number * 512 }))
  const { parent_id: _, ...old } = aDocument({ objects: ends })

  assert.equal(read(JSON.stringify(old)).offsetsAre, 'end')
  assert.equal(read(JSON.stringify(old)).endBytes, 1536)
  assert.equal(read(JSON.stringify(aDocument())).offsetsAre, 'start')
  for (const [document, why] of [
    [{ ...old, objects: [anEntry(1), anEntry(2)] }, /no parent_id/],
    [{ ...old, objects: [anEntry(2), anEntry(1)] }, /do not follow/],
    [aDocument({ objects: ends }), /ends of chunks/],
  ] as const) {
    assert.throws(
      () => read(JSON.stringify(document)),
      (error) => hasCode(error, 'MANIFEST_INVALID') && why.test(error.message),
    )
  }
})

test('chunks that overlap or are out of order are refused', () => {
  const overlapping = [anEntry(1), anEntry(2, { offset: 511 })]
  const backwards = [anEntry(2), anEntry(1)]
  const gap = [anEntry(1), anEntry(3)]
  const incremental = { parent_id: volumeId }

  for (const fields of [
    { objects: overlapping },
    { objects: backwards },
    { objects: gap },
    { objects: overlapping, ...incremental },
    { objects: backwards, ...incremental },
  ]) {
    assert.throws(
      () => read(JSON.stringify(aDocument(fields))),
      (error) => hasCode(error, 'MANIFEST_INVALID'),
    )
  }
  assert.equal(read(JSON.stringify(aDocument({ objects: gap, ...incremental }))).chunks.length, 2)
})

test('a full backup without its zeros may leave gaps, and says how far they reach', () => {
  const ours = { volume_bytes: 4096, zero_chunks: 'sparse' }
  const sparse = { objects: [anEntry(3)], extra_metadata: { cinder_backup_agent: ours } }

  const { endBytes, zeroFilledBytes } = read(JSON.stringify(aDocument(sparse)))

  assert.deepEqual({ endBytes, zeroFilledBytes }, { endBytes: 4096, zeroFilledBytes: 4096 })
})

test('whatever is changed in a document, it is read or refused with MANIFEST_INVALID', () => {
  const text = Buffer.from(JSON.stringify(aDocument(), null, 2))
  const change = fc.record({
    at: fc.nat(text.byteLength),
    removed: fc.nat(20),
    added: fc.uint8Array({ maxLength: 20 }),
    pieceBytes: fc.integer({ min: 1, max: 3000 }),
  })
  fc.assert(
    fc.property(change, ({ at, removed, added, pieceBytes }) => {
      const changed = Buffer.concat([text.subarray(0, at), added, text.subarray(at + removed)])
      try {
        read(changed, pieceBytes)
      } catch (error) {
        assert.ok(error instanceof AgentError && error.code === 'MANIFEST_INVALID', String(error))
      }
    }),
    { numRuns: 3000 },
  )
})
