import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { sampleFile } from '#src/config/sample.ts'
import { namedOptions } from '#src/config/schema.ts'
import { inspectConfig } from '#src/config.ts'
import { configurationPage } from '../../scripts/configuration-page.ts'

test('the sample file is what the schema says (make docs)', () => {
  assert.equal(readFileSync('config/agent.conf.sample', 'utf8'), sampleFile())
})

test('docs/configuration.md is what the schema says (make docs)', () => {
  assert.equal(readFileSync('docs/configuration.md', 'utf8'), configurationPage())
})

test('every option says what it means, in a sentence', () => {
  const silent = namedOptions.filter(({ doc }) => !/^[\w ].{6,}\.$/s.test(doc))

  assert.deepEqual(
    silent.map(({ name }) => name),
    [],
  )
})

for (const file of ['config/agent.conf.example', 'config/agent.conf.sample']) {
  test(`${file} has no mistake`, () => {
    const env = { CBA_DEFAULT_TRANSPORT_URL: 'rabbit://u:p@h/' }

    const { problems, warnings } = inspectConfig({ paths: [{ kind: 'file', path: file }], env })

    assert.deepEqual([problems, warnings], [[], []])
  })
}

test('every default of the sample file can be written as it stands', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-sample-'))
  const file = path.join(folder, 'all.conf')
  // Nothing that could be written says that a URL or an address is not set, as in oslo.config.
  const withDefaults = /^#(?=\w+ =)(?!(?:backup_swift_(?:auth_)?url|my_ip) =$)/gm
  writeFileSync(file, sampleFile().replaceAll(withDefaults, ''))
  const env = { CBA_DEFAULT_TRANSPORT_URL: 'rabbit://u:p@h/' }

  const { problems, warnings, origins } = inspectConfig({
    paths: [{ kind: 'file', path: file }],
    env,
  })
  rmSync(folder, { recursive: true })

  assert.deepEqual([problems, warnings], [[], []])
  const unset = origins.entries().filter(([, origin]) => origin === 'default')
  assert.deepEqual(unset.map(([name]) => name).toArray(), [
    'DEFAULT.my_ip',
    'DEFAULT.backup_swift_url',
    'DEFAULT.backup_swift_auth_url',
  ])
})
