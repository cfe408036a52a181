import assert from 'node:assert/strict'
import { test } from 'node:test'

import { AgentError } from '#src/domain/errors.ts'
import type { Log, LogLevels } from '#src/ports/log.ts'

/** One line as it was told. */
export type ToldLine = {
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

export type OpenLog = {
  readonly log: Log & LogLevels & { addSecret(value: string): void }
  readonly lines: () => Promise<readonly ToldLine[]>
}

function cyclic(): object {
  const ring: Record<string, unknown> = {}
  ring['self'] = ring
  return ring
}

const awkward: readonly [what: string, value: unknown, shown: unknown][] = [
  ['a cycle', cyclic(), { self: '[circular]' }],
  ['a bigint', 12n, '12'],
  ['a function', () => 1, '[function]'],
  ['a symbol', Symbol('x'), '[symbol]'],
  ['not a number', Number.NaN, 'NaN'],
  ['bytes', Buffer.alloc(5), '[5 bytes]'],
  ['a date', new Date(0), '1970-01-01T00:00:00.000Z'],
  ['an invalid date', new Date(Number.NaN), null],
  ['a map', new Map([['a', 1]]), { a: 1 }],
  ['a set', new Set([1, 2]), [1, 2]],
  [
    'a getter that throws',
    {
      get x() {
        throw new Error('no')
      },
    },
    { x: '[unreadable]' },
  ],
  ['half a character', '\ud800', '\ud800'],
]

/** What every Log must do. Each adapter's test file calls this with its own factory. */
export function testLog(adapter: string, open: () => OpenLog): void {
  test(`${adapter}: a line has its level, its message and its fields`, async () => {
    const { log, lines } = open()

    log.info('backup created', { backupId: 'b1', sizeBytes: 5, isNew: true, parent: null })
    log.warn('slow')
    log.error('broken')

    assert.deepEqual(await lines(), [
      {
        level: 'info',
        message: 'backup created',
        fields: { backup_id: 'b1', size_bytes: 5, is_new: true, parent: null },
      },
      { level: 'warn', message: 'slow', fields: {} },
      { level: 'error', message: 'broken', fields: {} },
    ])
  })

  test(`${adapter}: a child's fields are on each of its lines and on no other`, async () => {
    const { log, lines } = open()
    const child = log.child({ requestId: 'r' }).child({ backupId: 'b' })

    child.info('first', { backupId: 'c', step: 1 })
    log.info('second')

    assert.deepEqual(
      (await lines()).map(({ fields }) => fields),
      [{ request_id: 'r', backup_id: 'c', step: 1 }, {}],
    )
  })

  test(`${adapter}: a level set for some names holds at once, for what was made of them too`, async () => {
    const { log, lines } = open()
    const jobs = log.named('jobs')
    const job = jobs.child({ backupId: 'b' })
    const store = log.named('store')

    log.setLevel((name) => name.endsWith('.jobs'), 'error')
    for (const one of [jobs, job, jobs.named('late')]) one.warn('not told')
    job.error('told')
    store.debug('told of the store')
    log.setLevel(() => true, 'info')
    job.info('told again')
    store.debug('not told')
    log.debug('not told')

    assert.deepEqual(
      (await lines()).map(({ message }) => message),
      ['told', 'told of the store', 'told again'],
    )
    assert.deepEqual(Object.fromEntries(log.levels()), {
      cinder_backup_agent: 'info',
      'cinder_backup_agent.jobs': 'info',
      'cinder_backup_agent.jobs.late': 'info',
      'cinder_backup_agent.store': 'info',
    })
  })

  for (const [what, value, shown] of awkward) {
    test(`${adapter}: ${what} does no harm`, async () => {
      const { log, lines } = open()

      log.info('look', { value })

      assert.deepEqual((await lines())[0]?.fields['value'], shown)
    })
  }

  test(`${adapter}: fields that cannot be read do no harm`, async () => {
    const { log, lines } = open()
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()

    log.info('look', proxy)

    assert.equal((await lines())[0]?.message, 'look')
  })

  test(`${adapter}: large values are cut`, async () => {
    const { log, lines } = open()
    const deep = Array.from({ length: 100 }).reduce<object>((inner) => ({ inner }), {})

    log.info('x'.repeat(1e6), { long: 'y'.repeat(1e6), many: Array(1e5).fill(1), deep })

    const [line] = await lines()
    assert.ok(JSON.stringify(line).length < 8000)
    assert.match(String(line?.fields['long']), /^yyy.*… \(1000000 characters\)$/)
  })

  test(`${adapter}: an error shows its code, its message, its causes and its context`, async () => {
    const { log, lines } = open()
    const root = Object.assign(new Error('connect refused'), { code: 'ECONNREFUSED' })
    const middle = new Error('no answer', { cause: root })
    const error = new AgentError('STORE_UNAVAILABLE', 'put: 503', { status: 503 }, middle)

    log.error('upload failed', { error })

    assert.deepEqual((await lines())[0]?.fields['error'], {
      code: 'STORE_UNAVAILABLE',
      message: 'put: 503',
      context: { status: 503 },
      causes: ['Error: no answer', 'ECONNREFUSED: connect refused'],
    })
  })

  test(`${adapter}: a defect shows its stack`, async () => {
    const { log, lines } = open()

    log.error('unexpected', { error: new TypeError('x is not y') })

    const error = (await lines())[0]?.fields['error'] as { code: string; stack: string }
    assert.equal(error.code, 'TypeError')
    assert.match(error.stack, /log.ts/)
  })

  test(`${adapter}: secrets are hidden by the name of their field`, async () => {
    const { log, lines } = open()

    log.info('login', {
      password: 'a',
      authToken: 'b',
      backup_swift_key: 'c',
      headers: { 'X-Auth-Token': 'd', 'x-service-token': 'e', authorization: 'f' },
      nested: [{ clientSecret: 'g' }],
      validateTokens: true,
      encryptionKeyId: 'shown',
    })

    assert.deepEqual((await lines())[0]?.fields, {
      password: '***',
      auth_token: '***',
      backup_swift_key: '***',
      headers: { 'x-auth-token': '***', 'x-service-token': '***', authorization: '***' },
      nested: [{ client_secret: '***' }],
      validate_tokens: true,
      encryption_key_id: 'shown',
    })
  })

  test(`${adapter}: secrets are hidden by their value, wherever they are`, async () => {
    const { log, lines } = open()
    const child = log.child({ note: 'has s3cret/1 in it' })
    log.addSecret('s3cret/1')

    const error = new AgentError('STORE_REFUSED', 'sent s3cret/1', { url: 'x?k=s3cret%2F1' })
    child.error('s3cret/1 was refused', { error, s3cret_key: 's3cret/1', other: ['s3cret/1'] })

    assert.doesNotMatch(JSON.stringify(await lines()), /s3cret(?:\/|%2F)1/)
  })

  test(`${adapter}: secrets are hidden by their form`, async () => {
    const { log, lines } = open()

    log.info('look', {
      url: 'rabbit://u:canary1@h1:5672,u:canary2@h2/v',
      json: '{"_context_auth_token": "canary3", "adminPassword":"canary4"}',
      python: "{'password': 'canary5'}",
      header: 'X-Auth-Token: canary6',
      fernet: `token gAAAAABl${'canary7'.repeat(8)}= was refused`,
    })

    const told = JSON.stringify(await lines())
    assert.doesNotMatch(told, /canary/)
    assert.match(told, /rabbit:\/\/u:\*\*\*@h1:5672,u:\*\*\*@h2\/v/)
  })

  test(`${adapter}: a secret is hidden also where a long text is cut`, async () => {
    const { log, lines } = open()
    const secret = 'k'.repeat(3000)
    log.addSecret(secret)

    for (const before of [0, 1000, 2000, 63_000, 65_000]) {
      log.info('long', { text: `${'.'.repeat(before)}${secret}${'.'.repeat(5000)}` })
    }

    assert.doesNotMatch(JSON.stringify(await lines()), /kkkk/)
  })
}
