import assert from 'node:assert/strict'
import { test } from 'node:test'

import { AgentError, hasCode } from '#src/domain/errors.ts'
import type { Json } from '#src/domain/json.ts'
import { parseVolumeMeta, volumeMetaText } from '#src/domain/volume-meta.ts'

const base = { id: 'x', provider_auth: 'CHAP user secret', display_name: 'v\u00e9' }

test('an object becomes the text that Cinder would keep, without the attachment secret', () => {
  const given = { version: 2, 'volume-base-metadata': base, 'volume-metadata': { key: 'value' } }

  assert.equal(
    volumeMetaText(given),
    '{"version": 2, "volume-base-metadata": {"id": "x", "provider_auth": null, ' +
      '"display_name": "v\\u00e9"}, "volume-metadata": {"key": "value"}}',
  )
})

test('a text without a secret is kept as it is', () => {
  const text = '{"version":1,  "volume-base-metadata": {"provider_auth": null}}'

  assert.equal(volumeMetaText(text), text)
})

test('a text with a secret loses the secret', () => {
  const text = JSON.stringify({ version: 1, 'volume-base-metadata': base })

  const kept = volumeMetaText(text)

  assert.ok(!kept?.includes('CHAP'))
  const parsed = parseVolumeMeta(kept ?? '')
  assert.deepEqual(parsed['volume-base-metadata'], { ...base, provider_auth: null })
})

test('what cinder-backup has kept is read without the secret', () => {
  const text = JSON.stringify({ version: 2, 'volume-base-metadata': base, 'volume-metadata': {} })

  assert.deepEqual(parseVolumeMeta(text), {
    ...{ version: 2, 'volume-metadata': {} },
    'volume-base-metadata': { ...base, provider_auth: null },
  })
})

test('nothing stays nothing', () => {
  assert.deepEqual([volumeMetaText(null), volumeMetaText('')], [null, null])
})

const refused: readonly (readonly [string, Json])[] = [
  ['version 3', { version: 3 }],
  ['no version', {}],
  ['version "2"', { version: '2' }],
  ['a list', []],
  ['a number', 7],
  ['broken JSON', '{'],
  ['two million characters', `{"version": 2, "x": "${'x'.repeat(2_000_000)}"}`],
  ['an object of two million characters', { version: 2, x: 'x'.repeat(2_000_000) }],
]

for (const [what, given] of refused) {
  test(`volume_meta with ${what} is refused with ARGUMENT_INVALID`, () => {
    assert.throws(
      () => volumeMetaText(given),
      (error) => hasCode(error, 'ARGUMENT_INVALID'),
    )
  })
}

test('a stored text of another version is refused with MANIFEST_INVALID', () => {
  assert.throws(
    () => parseVolumeMeta('{"version": 3}'),
    (error) => hasCode(error, 'MANIFEST_INVALID'),
  )
})

const deep = (depth: number) =>
  `{"version": 2, "x": ${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`

test('what is nested deeper than an event can tell is neither kept nor restored', () => {
  for (const depth of [33, 200_000]) {
    const refused = (code: string) => (error: unknown) =>
      error instanceof AgentError && error.code === code && /deeper than 32/.test(error.message)
    assert.throws(() => volumeMetaText(deep(depth)), refused('ARGUMENT_INVALID'))
    assert.throws(() => parseVolumeMeta(deep(depth)), refused('MANIFEST_INVALID'))
  }
  assert.equal(volumeMetaText(deep(32)), deep(32))
})
