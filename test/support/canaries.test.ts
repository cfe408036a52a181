import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'

import { canaries } from './canaries.ts'

const birds = canaries()
const secret = birds.awkward('here')
const other = birds.plain('elsewhere')

const hidings: readonly (readonly [string, string])[] = [
  ['as it is', `password ${secret}.`],
  ['in a URL', `http://u:${encodeURIComponent(secret)}@h/`],
  ['in JSON in JSON', JSON.stringify(JSON.stringify({ secret }))],
  ['in hexadecimal', Buffer.from(`_${secret}_`).toString('hex')],
  ...['', 'u:', 'PLAIN'].flatMap((before) =>
    (['base64', 'base64url'] as const).map((form): [string, string] => [
      `in ${form} behind "${before}"`,
      `Basic ${Buffer.from(`${before}${secret} more`).toString(form)}`,
    ]),
  ),
]

for (const [name, text] of hidings) {
  test(`a canary is seen ${name}`, () => {
    assert.deepEqual(birds.seenIn(Buffer.from(text)), ['here'])
  })
}

test('where there is none, none is seen', () => {
  assert.deepEqual(birds.seenIn('a text with *** and *** in it'), [])
})

test('a canary in a file is named with the file', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-canary-'))
  t.after(() => rm(folder, { recursive: true }))
  await writeFile(path.join(folder, 'note'), `it is ${other}`)
  assert.deepEqual(await birds.seenBelow(folder), ['note: elsewhere'])
})
