import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { test } from 'node:test'

import type { Machine } from '#src/config/machine.ts'
import { readSettings } from '#src/config/read-settings.ts'
import { type NamedOption, namedOptions } from '#src/config/schema.ts'
import { settingOf } from '#src/config/secret-values.ts'
import { runPeer } from '../support/python.ts'
import { times } from '../support/soak.ts'

const machine: Machine = {
  hostName: 'node-7',
  coreCount: 4,
  memoryBytes: 2 ** 34,
  isJournalStream: false,
  hasProgram: () => true,
  hasNativeBz2: false,
  canRead: () => true,
}

/** What oslo shall take for the defaults that depend on the machine. */
const described = namedOptions.map((option) => {
  const defaults: Record<string, unknown> = {
    'DEFAULT.host': machine.hostName,
    'cinder_backup_agent.workers': machine.coreCount,
    'cinder_backup_agent.memory_max': 2 ** 29,
  }
  return { ...option, default: defaults[option.name] ?? option.default }
})

type Answer = { readonly value?: unknown; readonly error?: string }

type Dice = { readonly below: (end: number) => number; readonly pick: <T>(from: readonly T[]) => T }

/** The same throws for the same seed: mulberry32, which is in the public domain. */
function dice(seed: number): Dice {
  let state = seed
  const below = (end: number) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * end)
  }
  const pick = <T>(from: readonly T[]): T => {
    const picked = from[below(from.length)]
    if (picked === undefined) throw new Error('nothing to pick from')
    return picked
  }
  return { below, pick }
}

// A reference to any other kind of option would show Python's way to write its value.
const referable = namedOptions.filter(
  ({ format, choices }) => format === 'text' && choices === undefined,
)

function randomText({ below, pick }: Dice): string {
  const word = () =>
    pick(['a', 'B c', 'ü', '#x', ';', '=', ':', '"', "'", '$$', '\\$', '$', '${', ','])
  const reference = () => {
    const { option, section } = pick(referable)
    // Unlike us, oslo has no group of the name DEFAULT.
    const name = section === 'DEFAULT' ? option : pick([option, `${section}.${option}`])
    return pick([`$${name}`, `\${${name}}`])
  }
  const part = () => (below(6) === 0 ? reference() : below(40) === 0 ? '$no_such_option' : word())
  const text = Array.from({ length: below(4) }, part).join('')
  return pick([text, text, `"${text}"`, `'${text}'`, ` ${text} `])
}

function randomValue(option: NamedOption, throws: Dice): string {
  const { below, pick } = throws
  const { format, choices, minimum = 0, maximum = 2 ** 31 } = option
  if (choices !== undefined) return below(10) === 0 ? 'other' : pick([...choices, 'NONE', 'Zlib'])
  switch (format) {
    case 'boolean':
      return pick(['true', 'True', 'FALSE', '1', '0', 'on', 'Off', 'yes', 'no', '"yes"', 'tru', ''])
    case 'integer':
    case 'bytes': {
      const number = minimum + below(Math.min(maximum - minimum, 2 ** 31))
      return pick([
        `${number}`,
        `${number}`,
        ` ${number} `,
        `+${number}`,
        `${minimum - 1}`,
        `'${number}'`,
        'x',
      ])
    }
    case 'number':
      return pick(['1', '1.5', '.5', '4.', '2e0', '-1', '99', 'one'])
    default:
      return option.format === 'list' && option.multi !== true
        ? pick(['a', 'a,b', ' a , b ', 'a,', ',a', 'a,,b', '"a,b"', '', ','])
        : randomText(throws)
  }
}

function randomLine(throws: Dice): string {
  const { below, pick } = throws
  if (below(60) === 0) return pick(['nonsense', '[', '[]', '[open', '= x', ': y', '] [', 'a'])
  switch (below(12)) {
    case 0:
      return pick(['', '   ', '\t', '# a comment', '; another', '#x = y'])
    case 1:
      return pick(['  and on', '\tand on', '  # no comment', '  x = y']) // Goes on with the line above.
    case 2:
      return pick(['unknown = 1', 'Host = X', 'backup_swift_urll: u'])
    default: {
      const option = pick(namedOptions)
      const names = [option.option, option.option, ...(option.deprecatedNames ?? [])]
      const name = pick(names.map((each) => each.split('.').at(-1) ?? each))
      return `${name}${pick(['=', ' = ', ':', ' : ', '\t=\t'])}${randomValue(option, throws)}`
    }
  }
}

/** A section and options that mostly belong to it. */
function randomFile(throws: Dice): string {
  const { below, pick } = throws
  const sections = [...new Set(namedOptions.map(({ section }) => section))]
  const lines = Array.from({ length: below(6) }, () => {
    const section = pick(sections)
    const shown = section === 'DEFAULT' ? section : pick([section, section.toUpperCase()])
    const own = namedOptions.filter((option) => option.section === section)
    const ownLines = Array.from({ length: below(8) }, () => {
      const option = pick(own)
      return `${option.option} = ${randomValue(option, throws)}`
    })
    const others = Array.from({ length: below(4) }, () => randomLine(throws))
    return [below(50) === 0 ? '' : `[${shown}]`, ...ownLines, ...others]
  })
  return lines.flat().join(pick(['\n', '\n', '\r\n'])) + pick(['', '\n'])
}

/** What counts as the same: oslo keeps an empty text where we say that nothing is set. */
function comparable(option: NamedOption, value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((item) => item !== '' || option.multi !== true)
  if (value === '' || value === null)
    return option.default === '' ? comparable(option, machine.hostName) : null
  return option.ignoreCase === true ? String(value).toLowerCase() : value
}

test('files are read as the real oslo.config reads them', async () => {
  const seed = Number(process.env['CBA_SEED'] ?? randomInt(2 ** 31))
  const count = times(200, 10_000)
  const throws = dice(seed)
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-oslo-'))
  try {
    const cases = Array.from({ length: count }, (_, index) =>
      Array.from({ length: 1 + throws.below(2) }, (_each, part) => {
        const file = path.join(folder, `${index}-${part}.conf`)
        writeFileSync(file, randomFile(throws))
        return file
      }),
    )
    const input = { options: described, cases }
    const answers = (await runPeer('read_with_oslo.py', { input })) as (null | Answer[])[]

    let refusedCount = 0
    let faultyCount = 0
    for (const [index, files] of cases.entries()) {
      const { settings, problems } = readSettings({ files, dirs: [], env: {} }, machine)
      const where = `case ${index} of seed ${seed}, ${folder}`
      const answer = answers[index]
      const isRefused = problems.some(({ option }) => option === null)
      assert.equal(isRefused, answer === null, where)
      if (answer === null || answer === undefined) {
        refusedCount += 1
        continue
      }
      for (const [position, option] of namedOptions.entries()) {
        const { section, option: name } = option
        const theirs: Answer = answer[position] ?? {}
        const complaint = problems.find((problem) => problem.option === `[${section}] ${name}`)
        // A reference to an option that only others know, which counts here where a file sets it.
        if (theirs.error === 'NoSuchOptError' && complaint === undefined) continue
        // A reference to an option that cannot be read itself: oslo then takes one of [DEFAULT].
        const isReference = complaint?.what.startsWith('refers to') && problems.length > 1
        if (theirs.error === undefined && isReference) continue
        assert.equal(
          complaint !== undefined,
          theirs.error !== undefined,
          `${name}: ${where}: ${complaint?.what} ${theirs.error}`,
        )
        if (complaint !== undefined) {
          faultyCount += 1
          continue
        }
        // 0 takes the value of another option.
        if (name === 'jobs_max' && theirs.value === 0) continue
        const ours = settingOf(settings, section, name)
        assert.deepEqual(
          comparable(option, ours),
          comparable(option, theirs.value),
          `${name}: ${where}`,
        )
      }
    }
    assert.ok(refusedCount > 0 && refusedCount < count / 2, `${refusedCount} of ${count} refused`)
    assert.ok(faultyCount > 0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
