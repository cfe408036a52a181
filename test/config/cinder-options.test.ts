// The table of Cinder's options in docs/compatibility.md, against what the agent reads.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

import { misspelling } from '#src/config/misspelling.ts'
import { namedOptions } from '#src/config/schema.ts'
import { inspectConfig } from '#src/config.ts'
import { runPeer } from '../support/python.ts'
import { checkout } from '../support/services.ts'

const page = readFileSync(path.join(checkout, 'docs/compatibility.md'), 'utf8')
const rows = [
  ...page.matchAll(/^\| O-\d\d \| `(\w+)` \| (?:`([^`]+)`)? ?\| (not needed|used|read)/gm),
].map(([, option = '', fallback = '', here = '']) => ({ option, fallback, here }))

const known = (option: string) =>
  namedOptions.find((one) => one.section === 'DEFAULT' && one.option === option)

for (const { option, fallback } of rows.filter(({ here }) => here !== 'not needed')) {
  test(`${option} is read, with the default of Cinder`, () => {
    assert.ok(known(option) !== undefined)
    assert.equal(String(known(option)?.default ?? ''), fallback)
    const { settings, problems } = inspectConfig({
      paths: [{ kind: 'file', path: '/dev/null' }],
      env: {},
    })
    assert.deepEqual(problems, [])
    assert.ok(option in settings.DEFAULT)
  })
}

for (const { option } of rows.filter(({ here }) => here === 'not needed')) {
  test(`${option} is taken without a word`, () => {
    assert.equal(known(option), undefined)
    assert.equal(misspelling({ section: 'DEFAULT', option }), null)
  })
}

type TheirOption = { readonly section: string; readonly option: string }

test('every backup option of the real Cinder that concerns us has a row', async () => {
  const theirs = (await runPeer('cinder_options.py')) as readonly TheirOption[]
  const others = /^backup_(ceph|s3|gcs|nfs|glusterfs|tsm|mount|share)/
  const ofTheirs = theirs
    .filter(({ section, option }) => section === 'DEFAULT' && option.startsWith('backup_'))
    .map(({ option }) => option)
    .filter((option) => !others.test(option))
  const listed = rows.map(({ option }) => option)
  assert.ok(ofTheirs.length > 20, `${ofTheirs.length}`)
  assert.deepEqual(
    ofTheirs.filter((option) => !listed.includes(option)),
    [],
  )
})
