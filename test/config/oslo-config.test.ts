import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { after, test } from 'node:test'

import fc from 'fast-check'

import type { Machine } from '#src/config/machine.ts'
import type { ConfigPath } from '#src/config/read-files.ts'
import { readSettings } from '#src/config/read-settings.ts'
import { type NamedOption, namedOptions, placesOf } from '#src/config/schema.ts'
import { configParts, type Part } from '../support/config-files.ts'
import { compareReadings, narrowerThanTheirs, strictlyBounded } from '../support/oslo-comparison.ts'
import { startOsloReader } from '../support/oslo-reader.ts'
import { times } from '../support/soak.ts'

const machine: Machine = {
  hostName: 'node-7',
  address: '192.0.2.7',
  coreCount: 4,
  memoryBytes: 2 ** 34,
  isJournalStream: false,
  hasProgram: () => true,
  hasNativeBz2: false,
  canRead: () => true,
}

// What oslo shall take for defaults: of the machine, and newer than Debian's (since 18.1).
const ownDefaults: Readonly<Record<string, unknown>> = {
  'DEFAULT.host': machine.hostName,
  'DEFAULT.my_ip': machine.address,
  'cinder_backup_agent.workers': machine.coreCount,
  'cinder_backup_agent.memory_max': 2 ** 29,
  'oslo_messaging_rabbit.ssl_enforce_hostname_verification': true,
}
const described = namedOptions.map((option) =>
  option.name in ownDefaults
    ? { ...option, default: ownDefaults[option.name], ownDefault: ownDefaults[option.name] }
    : option,
)

const oslo = await startOsloReader(described)
const folder = mkdtempSync(path.join(tmpdir(), 'cba-oslo-'))
after(async () => {
  rmSync(folder, { recursive: true })
  await oslo[Symbol.asyncDispose]()
})

let written = 0

/** Writes what a command names; resolves to its paths. */
function write(parts: readonly Part[]): readonly ConfigPath[] {
  return parts.map((part) => {
    written += 1
    const named = path.join(folder, `${written}${part.kind === 'file' ? '.conf' : ''}`)
    if (part.kind === 'file') writeFileSync(named, part.text)
    else mkdirSync(named)
    const files = part.kind === 'file' ? [] : part.files
    for (const [name, text] of files) writeFileSync(path.join(named, name), text)
    return { kind: part.kind, path: named }
  })
}

function argumentsOf(paths: readonly ConfigPath[]): readonly string[] {
  return paths.flatMap(({ kind, path: named }) => [
    kind === 'file' ? '--config-file' : '--config-dir',
    named,
  ])
}

/** Reads the parts with both. */
async function readByBoth(parts: readonly Part[]) {
  // Without a file, each would read its own usual ones first.
  const paths = write([{ kind: 'file', text: '' }, ...parts])
  const reading = readSettings({ paths, env: {} }, machine)
  const theirs = await oslo.read(argumentsOf(paths))
  return { reading, theirs, ...compareReadings(reading, theirs, ownDefaults) }
}

test('old names are those that Cinder and its libraries know', () => {
  const ours = namedOptions.map((option) => placesOf(option).slice(1))

  for (const [index, { isReal, deprecated }] of oslo.options.entries()) {
    const names = ours[index]?.map(({ section, option }) => `${section}.${option}`.toLowerCase())
    const theirs = deprecated.map((name) => name.toLowerCase())
    if (isReal) assert.deepEqual(names, theirs, namedOptions[index]?.name)
  }
})

test('only the options that are named have narrower bounds than in Cinder', () => {
  assert.deepEqual(narrowerThanTheirs(oslo.options), [...strictlyBounded])
})

test('generated files are read as the real oslo.config reads them', async (t) => {
  const seed = Number(process.env['CBA_SEED'] ?? randomInt(2 ** 31))
  const naming = (option: NamedOption) => placesOf(option).map((place) => place.option)
  const count = times(40, 1000)
  const seen = { files: 0, read: 0, values: 0, refusedValues: 0 }
  const complaints: string[] = []

  for (const parts of fc.sample(configParts(naming), { numRuns: count, seed })) {
    const { theirs, differences, equalCount, refusedCount } = await readByBoth(parts)
    seen.files += 1
    seen.read += theirs.values === undefined ? 0 : 1
    seen.values += equalCount
    seen.refusedValues += refusedCount
    for (const each of differences) complaints.push(`${each}\n    ${JSON.stringify(parts)}`)
  }

  t.diagnostic(`seed ${seed}: ${JSON.stringify(seen)}`)
  assert.deepEqual(complaints.slice(0, 20), [], `seed ${seed}, ${complaints.length} differences`)
  assert.ok(seen.read > count / 2, `oslo.config read only ${seen.read} of ${count}`)
  assert.ok(seen.values > count, `only ${seen.values} values were compared`)
})
