// Configuration files as nobody sane would write them, and some as people do.

import fc from 'fast-check'

import { type NamedOption, namedOptions } from '#src/config/schema.ts'

/** One argument of a command: a file with its text, or a folder with the files in it. */
export type Part =
  | { readonly kind: 'file'; readonly text: string }
  | { readonly kind: 'folder'; readonly files: readonly (readonly [name: string, text: string])[] }

const sections = [...new Set(namedOptions.map(({ section }) => section))]

/** Every name that a reference can have; oslo knows no group of the name DEFAULT. */
const references = namedOptions.flatMap(({ section, option }) =>
  section === 'DEFAULT' ? [option] : [option, `${section}.${option}`],
)

const pick = <T>(...values: readonly T[]) => fc.constantFrom(...values)

const word = pick(
  ...['a', 'B c', 'ü', '日本', '🙂', '#x', ';', '=', ':', '"', "'", '$$', '\\$', '$', '${', '}'],
  ...[',', '\\', '\\n', '%', '@', '/', '\t', '\u00a0', '\u0085', '\ufeff', '\u001f', '$1', '$é'],
)

const reference = fc
  .tuple(pick(...references, 'no_such_option', 'no_group.at_all'), fc.boolean())
  .map(([name, isBraced]) => (isBraced ? `\${${name}}` : `$${name}`))

const text = fc
  .array(fc.oneof({ weight: 12, arbitrary: word }, { weight: 1, arbitrary: reference }), {
    maxLength: 4,
  })
  .map((parts) => parts.join(''))

const url = pick(
  ...[
    'http://swift/v1/AUTH_',
    'https://u:p@h:8080/a%20b',
    'http://[::1]:80/v1',
    'http://h',
    'swift',
  ],
  ...[
    'http://',
    'http:///v1',
    'http://u@/',
    'http://:80/',
    'http://@h/',
    'http://[::1',
    'http://h:/',
    'http://h o/',
    'http://h:x/',
    'http://h/ä',
    'ftp://h/',
    '//h/',
    '',
  ],
  ...['http://h/%zz', 'http://300.1.1.1/', 'http://1.2.3.4/', 'http://h:99999/', 'http://h?a b#c'],
  ...['1http://h/', 'http://h/a b', 'http://u@@h/', 'HTTP://H/', 'http://h/$host', 'http://h\\a/'],
)

const boolean = pick(
  ...['true', 'True', 'FALSE', '1', '0', 'on', 'Off', 'yes', 'NO', '"yes"', "' no '", 'tru', ''],
  ...['t', '2', 'none', '$debug', 'constructor'],
)

const number = pick(
  ...[
    '1',
    '1.5',
    '.5',
    '4.',
    '2e0',
    '-1',
    '99',
    'one',
    '1_0',
    '1__0',
    '0x1',
    '1e',
    '٣',
    ' ',
    '"2"',
  ],
  ...['', '-0', '+3', '1.5 ', 'infinity', '1_0.5', '1,5', '$rabbit_retry_backoff'],
)

function whole({ minimum = 0, maximum = 2 ** 31 }: NamedOption): fc.Arbitrary<string> {
  const inRange = fc.integer({ min: minimum, max: Math.floor(Math.min(maximum, 2 ** 31 - 1)) })
  const written = inRange.chain((value) =>
    pick(
      `${value}`,
      ` ${value} `,
      `+${value}`,
      `'${value}'`,
      `"${value} "`,
      `0${value}`,
      `${value}_0`,
    ),
  )
  const odd = pick(
    ...[
      `${minimum - 1}`,
      `${maximum + 1}`,
      'x',
      '',
      '" "',
      '1.0',
      '1e3',
      '0x10',
      '１２',
      '1__0',
      '_1',
    ],
    ...['-', '- 1', '١', '$report_interval', '"\u001f7"', '"\ufeff7"', '"\u00a07"', '1 0'],
  )
  return fc.oneof({ weight: 3, arbitrary: written }, { weight: 1, arbitrary: odd })
}

const list = fc.oneof(
  pick('a', 'a,b', ' a , b ', 'a,', ',a', 'a,,b', '"a,b"', '', ',', 'a , ,', '"\ufeffa\u001f,b"'),
  text,
)

/** What may be written behind the name of an option. */
function valueFor(option: NamedOption): fc.Arbitrary<string> {
  const { choices, format, multi } = option
  if (choices !== undefined) {
    return fc.oneof(pick(...choices), pick('other', 'NONE', 'Zlib', 'BZ2', '', '" zlib"', '$host'))
  }
  const ofFormat: Readonly<Record<string, fc.Arbitrary<string>>> = {
    boolean,
    number,
    integer: whole(option),
    bytes: whole(option),
    list: multi === true ? text : list,
    uri: url,
  }
  const plain = ofFormat[format] ?? text
  const quoted = fc.tuple(plain, pick('"', "'")).map(([value, quote]) => `${quote}${value}${quote}`)
  return fc.oneof({ weight: 8, arbitrary: plain }, { weight: 1, arbitrary: quoted })
}

const equals = pick('=', ' = ', ':', ' : ', '\t=\t', ' =')

/** `option = value`, under one of the names that the option has or had. */
function assignment(option: NamedOption, names: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.oneof({ weight: 4, arbitrary: fc.constant(option.option) }, pick(...names)), equals)
    .chain(([name, between]) => valueFor(option).map((value) => `${name}${between}${value}`))
}

const aside = pick(
  ...['', '   ', '\t', '# a comment', '; another', '#x = y', 'unknown = 1', 'Host = X'],
  ...['Debug: true', 'backup_swift_urll: u', 'unread_one=b', '\u00a0host = x', '\u001f'],
)
const goingOn = pick('  and on', '\tand on', '  # no comment', '  x = y', ' ;', ' "', ' $host')
const broken = pick('nonsense', '[', '[]', '[open', '= x', ': y', '] [', 'a', '[x] # no', '\ufeff')

type Naming = (option: NamedOption) => readonly string[]

/** An option in its own section, mostly, with what may follow its line. */
function ownLines(own: readonly NamedOption[], naming: Naming): fc.Arbitrary<readonly string[]> {
  const following = fc.array(goingOn, { minLength: 1, maxLength: 2 })
  return fc
    .tuple(
      pick(...own).chain((option) => assignment(option, naming(option))),
      fc.oneof({ weight: 9, arbitrary: fc.constant([]) }, following),
    )
    .map(([line, more]) => [line, ...more])
}

function block(naming: Naming, isBroken: boolean): fc.Arbitrary<readonly string[]> {
  const anywhere = pick(...namedOptions).chain((option) => assignment(option, naming(option)))
  return pick(...sections).chain((section) => {
    const own = namedOptions.filter((option) => option.section === section)
    const odd = section === 'DEFAULT' ? ['default', ' DEFAULT'] : [section.toUpperCase()]
    const header = fc
      .oneof({ weight: 8, arbitrary: fc.constant(section) }, pick(...odd, `${section} `))
      .map((name) => `[${name}]`)
    const lines = fc.oneof(
      { weight: 60, arbitrary: ownLines(own, naming) },
      { weight: 8, arbitrary: anywhere.map((line) => [line]) },
      { weight: 8, arbitrary: aside.map((line) => [line]) },
      { weight: isBroken ? 8 : 0, arbitrary: fc.oneof(goingOn, broken).map((line) => [line]) },
    )
    return fc
      .tuple(header, fc.array(lines, { maxLength: 7 }))
      .map(([name, all]) => [name, ...all.flat()])
  })
}

function fileText(naming: Naming, isBroken: boolean): fc.Arbitrary<string> {
  const head = isBroken ? pick([], ['# head'], ['a = b']) : pick([], ['# head'])
  const lineEnd = pick('\n', '\n', '\r\n', '\r')
  return fc
    .tuple(head, fc.array(block(naming, isBroken), { maxLength: 4 }), lineEnd)
    .map(([first, blocks, end]) => [...first, ...blocks.flat()].join(end))
}

const names = pick(
  ...['a.conf', 'B.conf', 'b.conf', '10.conf', '9.conf', 'é.conf', '\uff5e.conf', '🙂.conf'],
  ...['.hidden.conf', '.conf', 'c.conf~', 'd.cnf', 'E.CONF', '-.conf', ' .conf', 'README'],
)

/** The files and folders of one command; `naming` gives the older names of an option. */
export function configParts(naming: Naming): fc.Arbitrary<readonly Part[]> {
  const content = fc.oneof(
    { weight: 9, arbitrary: fileText(naming, false) },
    { weight: 1, arbitrary: fileText(naming, true) },
  )
  const file = content.map((each): Part => ({ kind: 'file', text: each }))
  const folder = fc
    .uniqueArray(fc.tuple(names, content), { maxLength: 4, selector: ([name]) => name })
    .map((files): Part => ({ kind: 'folder', files }))
  return fc.array(fc.oneof({ weight: 3, arbitrary: file }, { weight: 1, arbitrary: folder }), {
    minLength: 1,
    maxLength: 3,
  })
}
