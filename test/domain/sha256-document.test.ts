import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'

import type { DocumentHeader } from '#src/domain/document-header.ts'
import { AgentError, hasCode } from '#src/domain/errors.ts'
import { sha256Frame, sha256Lines, sha256Reader } from '#src/domain/sha256-document.ts'

const backupId = '02c8ea74-96ca-4a12-bffe-c82c21a7e2bc'
const volumeId = '41514981-daa2-4f6e-9fca-6d3e3256440e'
const header: DocumentHeader = {
  backup_id: backupId,
  backup_name: '"sha256s": "\u0000" \u00e9 \ud83d\ude00 \x7f',
  backup_description: null,
  created_at: '2026-11-22 23:51:59+00:00',
  volume_id: volumeId,
}

function documentOf(digests: Uint8Array): Buffer {
  const { head, tail, sizeBytes } = sha256Frame(header, 32_768, digests.byteLength / 32)
  const text = Buffer.concat([head, sha256Lines(digests, true), tail])
  assert.equal(text.byteLength, sizeBytes)
  return text
}

function read(text: Uint8Array, pieceBytes = 1 << 30) {
  const reader = sha256Reader('the sha256file', { backupId, volumeId })
  const taken: Uint8Array[] = []
  for (let at = 0; at < text.byteLength; at += pieceBytes) {
    reader.write(text.subarray(at, at + pieceBytes))
    taken.push(Buffer.from(reader.taken()))
  }
  reader.end()
  return { ...reader.result(), digests: Buffer.concat(taken) }
}

for (const count of [0, 1, 2, 5000]) {
  test(`a sha256file of ${count} digests is what JSON.stringify gives, and is read again`, () => {
    const digests = randomBytes(count * 32)
    const text = documentOf(digests)

    const sha256s = Array.from({ length: count }, (_, index) =>
      digests.toString('hex', index * 32, index * 32 + 32),
    )
    const { volume_id, created_at, ...names } = header
    const { backup_description, backup_id, backup_name } = names
    const whole = { backup_description, backup_id, backup_name, chunk_size: 32_768, created_at }
    const wanted = JSON.stringify({ ...whole, sha256s, version: '1.0.0', volume_id }, null, 2)
    const escaped = wanted.replace(/[^ -~\n]/g, (unit) => {
      return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
    })
    assert.equal(text.toString(), escaped)
    assert.deepEqual(read(text, 100), { blockSizeBytes: 32_768, digestCount: count, digests })
  })
}

const digest = '1bcc5648b814b26bed7d5122016272eb7c57872a95b89de3646183c990d2af20'
const document = {
  backup_id: backupId,
  volume_id: volumeId,
  version: '1.0.0',
  chunk_size: 32_768,
  sha256s: [digest] as unknown,
}

const refusals: readonly (readonly [string, Record<string, unknown>])[] = [
  ['a digest that is too short', { sha256s: [digest.slice(1)] }],
  ['a digest that is no hex', { sha256s: [`g${digest.slice(1)}`] }],
  ['a digest of other characters', { sha256s: [`\u00e9${digest.slice(2)}`] }],
  ['a list for a digest', { sha256s: [[digest.slice(2)]] }],
  ['a number for a digest', { sha256s: [7] }],
  ['a text for the list', { sha256s: digest }],
  ['no list', { sha256s: undefined }],
  ['a chunk_size of 0', { chunk_size: 0 }],
  ['a negative chunk_size', { chunk_size: -1 }],
  ['no chunk_size', { chunk_size: undefined }],
  ['more bytes than can be counted', { chunk_size: 2 ** 53 - 1, sha256s: [digest, digest] }],
  ['another backup', { backup_id: volumeId }],
  ['another volume', { volume_id: backupId }],
  ['another version', { version: '2.0.0' }],
]

for (const [what, fields] of refusals) {
  test(`a sha256file with ${what} is refused with MANIFEST_INVALID`, () => {
    const text = Buffer.from(JSON.stringify({ ...document, ...fields }))

    assert.throws(
      () => read(text),
      (error) => hasCode(error, 'MANIFEST_INVALID'),
    )
  })
}

test('digests in upper case and without white space are read', () => {
  const text = JSON.stringify({ ...document, sha256s: [digest.toUpperCase(), digest] })

  assert.equal(read(Buffer.from(text)).digests.toString('hex'), digest + digest)
})

test('whatever is changed in a sha256file, it is read or refused with MANIFEST_INVALID', () => {
  const text = documentOf(randomBytes(320))
  const change = fc.record({
    at: fc.nat(text.byteLength),
    removed: fc.nat(80),
    added: fc.uint8Array({ maxLength: 20 }),
    pieceBytes: fc.integer({ min: 1, max: 1500 }),
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
    { numRuns: 2000 },
  )
})
