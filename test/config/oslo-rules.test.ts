// The rules of oslo.config one by one, each as an operator meets it; test/config/oslo-config.test.ts
// compares with the real one.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'

import type { Machine } from '#src/config/machine.ts'
import type { ConfigPath } from '#src/config/read-files.ts'
import { readSettings } from '#src/config/read-settings.ts'
import { settingOf } from '#src/config/secret-values.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'cba-rules-'))
after(() => rmSync(folder, { recursive: true }))

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

let count = 0
function newPath(): string {
  count += 1
  return path.join(folder, String(count))
}

function file(text: string): ConfigPath {
  const named = newPath()
  writeFileSync(named, text)
  return { kind: 'file', path: named }
}

function confDir(files: Readonly<Record<string, string>>): ConfigPath {
  const named = newPath()
  mkdirSync(named)
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(named, name), text)
  return { kind: 'folder', path: named }
}

/** The value of `section.option`, or why it has none. */
function read(name: string, ...paths: readonly ConfigPath[]): unknown {
  const [section = '', option = ''] = name.split('.')
  const { settings, problems } = readSettings({ paths, env: {} }, machine)
  const complaint = problems.find((problem) => problem.option === `[${section}] ${option}`)
  return complaint?.what ?? settingOf(settings, section, option)
}

const dollar = '$'

const rules: readonly [rule: string, text: string, name: string, value: unknown][] = [
  [
    'a line that starts with a blank goes on with the value above',
    '[DEFAULT]\ncontrol_exchange = a\n  b\n',
    'DEFAULT.control_exchange',
    'a\nb',
  ],
  [
    'an indented line is no comment and no option',
    '[DEFAULT]\ncontrol_exchange = a\n  # b\n\thost = c\n',
    'DEFAULT.control_exchange',
    'a\n# b\nhost = c',
  ],
  [
    'an empty line ends a value',
    '[DEFAULT]\ncontrol_exchange = a\n\nhost = c\n',
    'DEFAULT.control_exchange',
    'a',
  ],
  [
    '$option is the value of an option of the same section, or of [DEFAULT]',
    '[DEFAULT]\nhost = h\n[service_user]\nusername = u-$host\n',
    'service_user.username',
    'u-h',
  ],
  [
    'the own section goes before [DEFAULT]',
    '[oslo_messaging_notifications]\ntransport_url = rabbit://n/\ntopics = $transport_url\n',
    'oslo_messaging_notifications.topics',
    ['rabbit://n/'],
  ],
  [
    'an option that a section does not have hides nothing of [DEFAULT]',
    '[DEFAULT]\nhost = h\n[service_user]\nhost = x\nusername = $host\n',
    'service_user.username',
    'h',
  ],
  [
    `${dollar}{group.option} is that of another section`,
    `[service_user]\nusername = u\n[keystone_authtoken]\nusername = ${dollar}{service_user.username}2\n`,
    'keystone_authtoken.username',
    'u2',
  ],
  [
    'a reference to an old name is one to the option',
    '[DEFAULT]\nlogfile = f\ncontrol_exchange = $logfile\n',
    'DEFAULT.control_exchange',
    'f',
  ],
  [
    'a reference gives what Python would write',
    '[DEFAULT]\ndebug = yes\nhost = $debug-$report_interval\n',
    'DEFAULT.host',
    'True-10',
  ],
  [
    '[DEFAULT] is no group of a reference',
    '[DEFAULT]\nhost = h\ncontrol_exchange = $DEFAULT.host\n',
    'DEFAULT.control_exchange',
    'refers to $DEFAULT.host, but [DEFAULT] has no name there; write $host',
  ],
  [
    '$$ and \\$ are a dollar sign, also through a reference',
    '[DEFAULT]\nhost = a$$b\\$c\ncontrol_exchange = $host$$host\n',
    'DEFAULT.control_exchange',
    'a$b$c$host',
  ],
  [
    'of a key that comes again the last counts',
    '[DEFAULT]\nhost = a\nhost = b\n[database]\n[DEFAULT]\nhost = c\n',
    'DEFAULT.host',
    'c',
  ],
  [
    'of a multi-valued key all count, the older name first',
    '[oslo_messaging_notifications]\ndriver = a\ndriver = b\n[DEFAULT]\nnotification_driver = c\n',
    'oslo_messaging_notifications.driver',
    ['c', 'a', 'b'],
  ],
  [
    'an old name counts where the new one is missing',
    '[service_user]\nuser-name = u\n',
    'service_user.username',
    'u',
  ],
  [
    'the database has old names too',
    '[DEFAULT]\nsql_connection = mysql://h/c\n',
    'database.connection',
    'mysql://h/c',
  ],
  ['# and ; start a comment', '#[x]\n; y\n[DEFAULT]\nhost = a # b\n', 'DEFAULT.host', 'a # b'],
  ['one pair of quotes is taken off', '[DEFAULT]\nhost = "\'a\'"\n', 'DEFAULT.host', "'a'"],
  ['a lone quote stays', '[DEFAULT]\nhost = "a\n', 'DEFAULT.host', '"a'],
  [
    'a list has commas, and none at its end',
    '[cinder_backup_agent]\nvolume_roots = /a , /b,,\n',
    'cinder_backup_agent.volume_roots',
    ['/a', '/b'],
  ],
  [
    'int() takes underscores and digits of any script',
    '[DEFAULT]\nreport_interval = 1_0٣\n',
    'DEFAULT.report_interval',
    103,
  ],
  [
    'int() does not take the separators that strip() does',
    '[DEFAULT]\nreport_interval = "\u001f7"\n',
    'DEFAULT.report_interval',
    'must be a whole number: value was "\u001f7"'.replace('\u001f', '\\u001f'),
  ],
  [
    'an empty number is the default',
    '[DEFAULT]\nreport_interval =\nbackup_max_operations = 7\n[cinder_backup_agent]\njobs_max =\n',
    'cinder_backup_agent.jobs_max',
    7,
  ],
]
for (const [rule, text, name, value] of rules) {
  test(rule, () => {
    assert.deepEqual(read(name, file(text)), value)
  })
}

for (const [text, value] of [
  ['True', true],
  ['YES', true],
  ['on', true],
  ['1', true],
  ['"no"', false],
  ['Off', false],
  ['0', false],
  ['t', 'must be true or false: value was "t"'],
  ['" yes"', 'must be true or false: value was " yes"'],
  ['', 'must be true or false'],
  ['constructor', 'must be true or false: value was "constructor"'],
] as const) {
  test(`the boolean ${JSON.stringify(text)} is ${JSON.stringify(value)}`, () => {
    assert.equal(read('DEFAULT.debug', file(`[DEFAULT]\ndebug = ${text}\n`)), value)
  })
}

const noUrl = 'must be a URL such as https://host:8080/v1; leave the line out to set none'
for (const text of ['', 'http://', 'http:///v1', '1http://h/', 'h:80', 'http://h:x/']) {
  test(`the URL ${JSON.stringify(text)} is refused`, () => {
    const url = read('DEFAULT.backup_swift_url', file(`[DEFAULT]\nbackup_swift_url = ${text}\n`))
    assert.equal(url, text === '' ? noUrl : `${noUrl}: value was ${JSON.stringify(text)}`)
  })
}

test('files and folders count in the order of the command line, those of a folder by name', () => {
  const a = file('[DEFAULT]\nhost = a\n')
  const b = file('[DEFAULT]\nhost = b\n')
  const dir = confDir({
    '9.conf': '[DEFAULT]\nhost = nine\n',
    '10.conf': '[DEFAULT]\nhost = ten\n',
    '.x.conf': '[DEFAULT]\nhost = hidden\n',
    'z.txt': '[DEFAULT]\nhost = text\n',
  })

  const orders = [
    [a, b],
    [b, a],
    [a, dir],
    [dir, a],
  ].map((paths) => read('DEFAULT.host', ...paths))

  assert.deepEqual(orders, ['b', 'a', 'nine', 'a'])
})
