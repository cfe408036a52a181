import assert from 'node:assert/strict'
import { test } from 'node:test'

import { misspelling, nearest } from '#src/config/misspelling.ts'
import { namedOptions } from '#src/config/schema.ts'
import { runPeer } from '../support/python.ts'

type TheirOption = {
  readonly section: string
  readonly option: string
  readonly default: unknown
  readonly deprecated: readonly string[]
}

const theirs = (await runPeer('cinder_options.py')) as readonly TheirOption[]

// Where ours differ on purpose: names of the machine, and options whose default changed upstream.
const ownDefaults = ['DEFAULT.host', 'DEFAULT.my_ip', 'DEFAULT.state_path']
const newerDefaults = [
  'oslo_messaging_rabbit.ssl_enforce_hostname_verification', // True since 18.1.
]

test('a name with letters changed is recognised, another name is not', () => {
  const names = ['backup_swift_url', 'backup_swift_auth_url']

  assert.equal(nearest('backup_swft_ulr', names), 'backup_swift_url')
  assert.equal(nearest('backup_posix_path', names), null)
})

test('no option of the real Cinder or oslo.messaging is called misspelt', () => {
  const accused = theirs
    .flatMap(({ section, option, deprecated }) =>
      [option, ...deprecated].map((name) => ({ section, option: name })),
    )
    .filter((place) => misspelling(place) !== null)

  assert.ok(theirs.length > 500)
  assert.deepEqual(accused, [])
})

test("defaults are those of Debian's Cinder and oslo.messaging", () => {
  const compared = namedOptions.flatMap((ours) => {
    const their = theirs.find((each) => `${each.section}.${each.option}` === ours.name)
    if (their === undefined || ownDefaults.includes(ours.name)) return []
    if (newerDefaults.includes(ours.name)) return []
    const isUnset = ours.default === null || ours.default === ''
    return [{ name: ours.name, ours: isUnset ? '' : ours.default, theirs: their.default ?? '' }]
  })

  assert.ok(compared.length > 60, `${compared.length}`)
  assert.deepEqual(
    compared.filter(({ ours, theirs: their }) => String(ours) !== String(their)),
    [],
  )
})
