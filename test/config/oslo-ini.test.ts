import assert from 'node:assert/strict'
import { test } from 'node:test'

import { allValues, lastValue, parseIni } from '#src/config/oslo-ini.ts'
import { substitute } from '#src/config/substitute.ts'

const inDefault = (option: string) => [{ section: 'DEFAULT', option }]

function textOf(file: string, option = 'key'): string | undefined {
  return lastValue([parseIni(file, 'a.conf')], inDefault(option))?.value.text
}

const values: readonly [what: string, line: string, expected: string][] = [
  ['an equals sign', 'key = value', 'value'],
  ['a colon', 'key: value', 'value'],
  ['whichever of both comes first', 'key: a=b', 'a=b'],
  ['blanks around the value', 'key =   value  ', 'value'],
  ['double quotes', 'key = " value "', ' value '],
  ['single quotes', "key = ' value '", ' value '],
  ['different quotes', `key = "value'`, `"value'`],
  ['a comment sign inside', 'key = a # b', 'a # b'],
  ['nothing', 'key =', ''],
  ['an indented line', 'key = a\n  b\n\tc', 'a\nb\nc'],
  ['an indented line that looks like a comment', 'key = a\n # b', 'a\n# b'],
  ['a later value', 'key = a\nkey = b', 'b'],
  ['Windows line ends', 'key = a\r\nother = b\r\n', 'a'],
]
for (const [what, line, expected] of values) {
  test(`a value may have ${what}`, () => {
    assert.equal(textOf(`[DEFAULT]\n${line}\n`), expected)
  })
}

const mistakes: readonly [what: string, file: string, line: number][] = [
  ['a line without = and :', '[DEFAULT]\nnonsense\n', 2],
  ['an option without a name', '[DEFAULT]\n= value\n', 2],
  ['a section that does not end', '[DEFAULT\n', 1],
  ['a section without a name', '[]\n', 1],
  ['an indented line after nothing', '[DEFAULT]\n\n  more\n', 3],
  ['an option in front of every section', 'key = value\n', 1],
]
for (const [what, file, line] of mistakes) {
  test(`${what} is a problem at its line`, () => {
    const { problems } = parseIni(file, '/etc/x.conf')

    assert.deepEqual(
      problems.map(({ where }) => where),
      [`/etc/x.conf:${line}`],
    )
  })
}

test('every value knows its file and line', () => {
  const file = parseIni('# first\n[DEFAULT]\n\nkey = a\n  b\n', '/etc/x.conf')

  const found = lastValue([file], inDefault('key'))

  assert.deepEqual(found?.value, { text: 'a\nb', file: '/etc/x.conf', line: 4 })
})

test('a later file wins, and a multi-valued option keeps the values of all', () => {
  const files = ['[DEFAULT]\nkey = a\nkey = b\n', '[DEFAULT]\nkey = c\n'].map((text, index) =>
    parseIni(text, `${index}.conf`),
  )

  assert.equal(lastValue(files, inDefault('key'))?.value.text, 'c')
  assert.deepEqual(
    allValues(files, inDefault('key')).map(({ text }) => text),
    ['a', 'b', 'c'],
  )
})

test('the case of a section does not count, that of an option does', () => {
  const file = parseIni('[Database]\nConnection = a\nconnection = b\n', 'a.conf')

  const found = lastValue([file], [{ section: 'database', option: 'connection' }])

  assert.equal(found?.value.text, 'b')
})

const substitutions: readonly [text: string, expected: string][] = [
  ['$name', '<name>'],
  ['$' + '{name}s', '<name>s'],
  ['$group.name/x', '<group.name>/x'],
  ['a$$b', 'a$b'],
  ['a\\$b', 'a$b'],
  ['$$name', '$name'],
  ['5$ and $1', '5$ and $1'],
  ['$' + '{name', '$' + '{name'],
]
for (const [text, expected] of substitutions) {
  test(`${text} becomes ${expected}`, () => {
    assert.equal(
      substitute(text, (name) => `<${name}>`),
      expected,
    )
  })
}
