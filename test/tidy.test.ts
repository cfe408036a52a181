// The rules of the house that a machine can check. Breaking one is a red line here; changing one is
// a reviewed change of this file.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

import { errorCodes } from '#src/domain/errors.ts'
import { rowDifferences } from './cinder/row-differences.ts'

const root = path.join(import.meta.dirname, '..')
process.chdir(root)

const linesMax = 400
const decisionLinesMax = 60

// The layering rule: a folder of src/ → what its files may import beside their own folder.
const mayImport: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  lib: [],
  ports: ['domain', 'lib'],
  engine: ['domain', 'ports', 'lib'],
  operations: ['domain', 'ports', 'lib', 'engine'],
  adapters: ['domain', 'ports', 'lib'],
  top: ['domain', 'ports', 'lib', 'engine', 'operations', 'adapters'],
}

// The outside world belongs to adapters: these layers see it as ports alone.
const worldless = ['domain', 'ports', 'engine', 'operations']
const world = /^node:(fs|net|tls|http|https|http2|dgram|dns|sqlite|os)(\/|$)/

// Who reaches out all the same, and why.
const worldly: Readonly<Record<string, string>> = {
  'src/engine/bz2-filter.ts': 'runs the bzip2 of the host, for Node has none',
}

// Folders at the top of the house: they know every part.
const topFolders = ['cli', 'config']

// Each package has one home, so that replacing it is one folder's work.
const packageHome: Readonly<Record<string, string>> = {
  amqplib: 'adapters/rpc',
  'cli-progress': 'top',
  commander: 'top',
  convict: 'top',
  got: 'adapters/identity',
  kysely: 'adapters/records',
  mysql2: 'adapters/records',
  'p-retry': 'lib',
  pg: 'adapters/records',
  'seek-bzip': 'engine',
  undici: 'adapters/object-store',
  winston: 'adapters/log',
}

// Source files that no test imports, and why that is enough.
const asProcess = 'the system tests run it as a process'
const provenElsewhere: Readonly<Record<string, string>> = {
  'src/main.ts': asProcess,
  'src/lane.ts': 'the tests of the lanes run it in threads',
  'src/engine/bz2-worker.ts': 'bz2-filter.ts runs it as a worker, where there is no bzip2',
}

const licencesAllowed = /^\(?(MIT|ISC|0BSD|BSD-2-Clause|BSD-3-Clause|Apache-2\.0)( OR .*)?\)?$/

type Package = {
  dependencies: Record<string, string>
  optionalDependencies: Record<string, string>
}
type Lock = { packages: Record<string, { license?: string; dev?: boolean }> }

const read = (file: string) => readFileSync(file, 'utf8')
const tracked = execFileSync('git', ['ls-files', '-z', '-co', '--exclude-standard'], {
  encoding: 'utf8',
})
  .split('\0')
  .filter((file) => file !== '' && existsSync(file))
const sources = globSync('src/**/*.ts').sort()
const documents = tracked.filter((file) => file.endsWith('.md'))

/** 'src/adapters/rpc/oslo-message.ts' → 'adapters/rpc'; 'src/cli/send.ts' → 'top'. */
function homeOf(file: string): string {
  const folder = path.relative('src', path.dirname(file))
  return folder === '' || topFolders.includes(folder) ? 'top' : folder
}

const layerOf = (home: string) => home.split(path.sep)[0] ?? 'top'

/** The code without what is said about it. */
function withoutComments(code: string): string {
  return code.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '$1')
}

/** Every module that a file names, however it imports it. */
function importsOf(code: string): string[] {
  const found = code.matchAll(
    /(?:^|\n)(?:import|export)\s(?:[^'\n]|\n(?!\n))*?from '([^']+)'|\bimport\(\s*'([^']+)'|(?:^|\n)import '([^']+)'/g,
  )
  return [...found].map(([, from, dynamic, bare]) => from ?? dynamic ?? bare ?? '')
}

function packageOf(specifier: string): string {
  const parts = specifier.split('/')
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? '')
}

function assertImportAllowed(file: string, specifier: string): void {
  const home = homeOf(file)
  const layer = layerOf(home)
  if (specifier.startsWith('.')) {
    const targetHome = homeOf(path.join(path.dirname(file), specifier))
    if (targetHome === home) return
    const isAllowed = mayImport[layer]?.includes(layerOf(targetHome))
    assert.ok(isAllowed, `${home} must not import ${targetHome}`)
  } else if (specifier.startsWith('node:')) {
    assert.notEqual(layer, 'domain', `domain touches nothing outside itself: ${specifier}`)
    const isWorld = worldless.includes(layer) && !(file in worldly) && world.test(specifier)
    assert.ok(!isWorld, `${layer} knows the world only as ports: ${specifier}`)
  } else {
    const name = packageOf(specifier)
    assert.equal(
      home,
      packageHome[name],
      `the home of ${name} is ${packageHome[name] ?? 'unknown'}`,
    )
  }
}

/** What a file of ours imports of src/, beside types, as paths from the root. */
function ownImportsOf(file: string): string[] {
  const code = withoutComments(read(file)).replaceAll(/^(import|export) type [^']*'[^']+'/gm, '')
  return importsOf(code)
    .map((specifier) => {
      if (specifier.startsWith('#src/')) return specifier.replace('#', '')
      return specifier.startsWith('.') ? path.join(path.dirname(file), specifier) : ''
    })
    .filter((target) => target.startsWith('src/'))
}

/**
 * A source file is proven by a test that imports it, or as a part: it is imported in its own home
 * only, by a file that is proven.
 */
function findProven(): Set<string> {
  const tested = globSync('test/**/*.ts').flatMap(ownImportsOf)
  const proven = new Set([...tested, ...Object.keys(provenElsewhere)])
  const importers = new Map<string, string[]>(sources.map((file) => [file, []]))
  for (const file of sources) {
    for (const target of ownImportsOf(file)) importers.get(target)?.push(file)
  }
  for (let before = -1; before !== proven.size; ) {
    before = proven.size
    for (const [file, users] of importers) {
      const isPart = users.every((user) => homeOf(user) === homeOf(file))
      if (isPart && users.some((user) => proven.has(user))) proven.add(file)
    }
  }
  return proven
}

const provenFiles = findProven()

for (const file of sources) {
  const code = withoutComments(read(file))

  test(`${file} keeps to its layer`, () => {
    for (const specifier of importsOf(code)) assertImportAllowed(file, specifier)
  })

  test(`${file} leaves clock, timers and console to those who own them`, () => {
    const forbidden: [RegExp, string][] = [[/\bconsole\b/, '']]
    if (file !== 'src/lib/clock.ts') forbidden.push([/\bDate\.now\b|\bnew Date\b/, 'lib/clock.ts'])
    if (layerOf(homeOf(file)) !== 'lib') forbidden.push([/(?<!\.)\bset(Timeout|Interval)\b/, 'lib'])
    for (const [pattern, owner] of forbidden) {
      assert.equal(code.match(pattern)?.[0], undefined, `it belongs to ${owner || 'nobody'}`)
    }
  })

  test(`${file} is proven`, () => {
    // Types alone are proven by the compiler; a port has its contract besides.
    const hasCode = /^export (async )?(function|const|class)\b|^(await|try|[a-z]\w*\()/m.test(code)
    assert.ok(provenFiles.has(file) || !hasCode, 'neither a test nor a reason')
  })
}

for (const file of globSync('src/ports/*.ts')) {
  const contract = read(file).match(/`(test\/contracts\/[^`]+)`/)?.[1]
  if (contract === undefined) continue
  test(`${file} has the contract that it names`, () => assert.ok(existsSync(contract)))
}

for (const file of globSync([
  '{src,test,scripts,bench}/**/*.ts',
  'native/*.{c,h}',
  'attach/*.py',
]).sort()) {
  test(`${file} has at most ${linesMax} lines`, () => {
    assert.ok(read(file).split('\n').length - 1 <= linesMax)
  })
}

for (const file of globSync('test/**/*.test.ts').sort()) {
  test(`${file} skips nothing`, () => {
    const skipped = /\b(test|it|describe)\.(skip|only|todo)\b|\b(skip|only|todo): true\b|\.skip\(/
    assert.equal(withoutComments(read(file)).match(skipped)?.[0], undefined)
  })
}

test('no reason stands for a source file that is gone', () => {
  assert.deepEqual(
    Object.keys(provenElsewhere).filter((file) => !existsSync(file)),
    [],
  )
})

test('every error code has a heading in docs/operations.md, and no heading lacks its code', () => {
  const headings = [...read('docs/operations.md').matchAll(/^### ([A-Z][A-Z_]+)$/gm)]
  assert.deepEqual(headings.map(([, code]) => code).sort(), [...errorCodes].sort())
})

test('every dependency has its exact version, one home and a sentence in the decisions', () => {
  const { dependencies, optionalDependencies } = JSON.parse(read('package.json')) as Package
  const decisions = globSync('docs/decisions/*.md').map(read).join('\n')
  for (const [name, version] of Object.entries({ ...dependencies, ...optionalDependencies })) {
    assert.match(version, /^\d+\.\d+\.\d+$/, name)
    assert.match(decisions, new RegExp(`^\\| \`${name}\` \\| \\S`, 'm'), name)
  }
  assert.deepEqual(Object.keys(packageHome).sort(), Object.keys(dependencies).sort())
})

test('every package has a licence that we may ship', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as Lock
  const refused = Object.entries(packages)
    // The lock says nothing of tools for platforms that it was not made on.
    .filter(([name, { license, dev }]) => name !== '' && (!dev || license !== undefined))
    .filter(([, { license }]) => !licencesAllowed.test(license ?? ''))
    .map(([name, { license }]) => `${name}: ${license}`)
  assert.deepEqual(refused, [])
})

test('no tracked file names a build machine or a package registry', () => {
  // Put together here, so that this file does not name them either.
  const names = [
    ['', 'work', 'main'].join('/'),
    ['', 'work', 'shared'].join('/'),
    ['', 'work', '.library'].join('/'),
    ['', 'tmp', 'helper'].join('/'),
    ['registry', 'npmjs'].join('.'),
    ['deb', 'debian', 'org'].join('.'),
  ]
  const found = tracked
    .filter((file) => statSync(file).size < 4 * 1024 * 1024)
    .flatMap((file) =>
      names.filter((name) => read(file).includes(name)).map((n) => `${file}: ${n}`),
    )
  assert.deepEqual(found, [])
})

/** A heading's anchor as the usual viewers make it: '`a-b` & c' → 'a-b--c'. */
function anchorOf(heading: string): string {
  const kept = heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
  return kept.trim().replaceAll(/\s/g, '-')
}

for (const file of documents) {
  test(`${file} links to what is there`, () => {
    const text = read(file).replaceAll(/^```[\s\S]*?^```/gm, '')
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [name = '', anchor] = target.split('#')
      const linked = name === '' ? file : path.join(path.dirname(file), name)
      assert.ok(existsSync(linked), target)
      if (anchor === undefined) continue
      const headings = [...read(linked).matchAll(/^#+ (.+)$/gm)].map(([, h = '']) => anchorOf(h))
      assert.ok(headings.includes(anchor), target)
    }
  })
}

for (const file of globSync('docs/decisions/*.md').sort()) {
  test(`${file} has at most ${decisionLinesMax} lines`, () => {
    assert.match(path.basename(file), /^\d{4}-[a-z0-9-]+\.md$/)
    assert.ok(read(file).split('\n').length - 1 <= decisionLinesMax)
  })
}

/**
 * The titles of a file's tests, those of cases of the state tables included; what a title takes from a
 * variable may be anything.
 */
function titlesOf(code: string): RegExp[] {
  const quoted = /(?:\btest\(\s*|^ {2}\[?(?='[MEK]-\d))(?:'([^'\n]+)'|"([^"\n]+)"|`([^`\n]+)`)/gm
  const found = code.matchAll(quoted)
  return [...found].map(([, single, double, template = '']) => {
    const literals = single !== undefined || double !== undefined
    const parts = literals ? [single ?? double ?? ''] : template.split(/\$\{[^}]*\}/)
    return new RegExp(`^${parts.map((part) => RegExp.escape(part)).join('.+')}$`)
  })
}

test('docs/compatibility.md has a row for each of S-01 to S-52', () => {
  const rows = [...read('docs/compatibility.md').matchAll(/^\| (S-\d\d) \|/gm)].map(([, id]) => id)
  const expected = Array.from({ length: 52 }, (_, i) => `S-${String(i + 1).padStart(2, '0')}`)
  assert.deepEqual(rows, expected)
})

/** 'CF-001', 'CF-002' …: what is numbered from `first` to `last`, both included. */
function ids(prefix: string, digits: number, ...ranges: readonly (readonly [number, number])[]) {
  return ranges.flatMap(([first, last]) =>
    Array.from(
      { length: last - first + 1 },
      (_, at) => `${prefix}-${String(first + at).padStart(digits, '0')}`,
    ),
  )
}

test('docs/conformance.md has each case once: proven, not built yet, or without an object', () => {
  const cases = [
    ...ids('CF', 3, [1, 38], [40, 56], [60, 99], [100, 102], [110, 110], [120, 122], [130, 130]),
    ...ids('CX', 2, [1, 25]),
  ]
  const found = [...read('docs/conformance.md').matchAll(/\bC[FX]-\d+\b/g)].map(([id]) => id)
  assert.deepEqual(found.sort(), cases)
})

test('docs/state-tables.md has each row of the state tables once', () => {
  const rows = [
    ...ids('M', 2, [1, 17], [20, 30], [40, 46], [50, 55], [60, 62]),
    ...[...ids('E', 2, [1, 5]), ...ids('K', 2, [1, 9])],
  ]
  const found = [...read('docs/state-tables.md').matchAll(/^\| ([MEK]-\d\d) \|/gm)]
  assert.deepEqual(found.map(([, id]) => id).toSorted(), rows.toSorted())
})

test('docs/compatibility.md lists the rows that ours leaves otherwise, as the test of them does', () => {
  const listed = [...read('docs/compatibility.md').matchAll(/^\| \d\d \|.*$/gm)].map(([row]) => row)
  const known = rowDifferences.map(
    ({ step, table, columns, reason }) =>
      `| ${step} | ${table} | ${columns.join(', ').replace('*', 'a row')} | ${reason} |`,
  )
  assert.deepEqual(listed, known)
})

test('docs/compatibility.md numbers its options without a gap', () => {
  const rows = [...read('docs/compatibility.md').matchAll(/^\| O-(\d\d) \|/gm)]
  assert.deepEqual(
    rows.map(([, number]) => Number(number)),
    rows.map((_, index) => index + 1),
  )
})

test('docs/rpc.md has a row for each line of the checklist of the wire', () => {
  const rows = [...read('docs/rpc.md').matchAll(/^\| (W-\d\d) \|/gm)].map(([, id]) => id)
  const expected = Array.from({ length: 17 }, (_, i) => `W-${String(i + 1).padStart(2, '0')}`)
  assert.deepEqual(rows, expected)
})

const proving = ['compatibility', 'conformance', 'state-tables', 'security', 'rpc']
for (const file of proving.map((name) => `docs/${name}.md`)) {
  test(`every test that ${file} names is there`, () => {
    const rows = [...read(file).matchAll(/^\| ([A-Z]+-\d+) \|.*\|([^|]+)\|$/gm)]
    const missing = rows.flatMap(([, row = '', proofs = '']) => missingOf(row, proofs))
    assert.ok(rows.length > 0)
    assert.deepEqual(missing, [])
  })
}

/** The tests that a row's proofs name and that are not there; a row must name one. */
function missingOf(row: string, proofs: string): string[] {
  const named = [...proofs.matchAll(/`(test\/[^`]+)`: \*([^*]+)\*/g)]
  if (named.length === 0) return [`${row}: names no test`]
  return named.flatMap(([, file = '', title = '']) => {
    const isThere = existsSync(file) && titlesOf(read(file)).some((known) => known.test(title))
    return isThere ? [] : [`${row}: ${file}: ${title}`]
  })
}
