import assert from 'node:assert/strict'
import { test } from 'node:test'

import { levelNamed, logLevelList, logRequestFrom } from '#src/adapters/rpc/log-level-object.ts'
import type { Json } from '#src/domain/json.ts'
import { stockArgs, stockCalls } from '../../support/stock-calls.ts'

test('what the API of Cinder asks with is read', () => {
  const asked = logRequestFrom(stockArgs('get-and-set-log-levels')['log_request'])

  assert.deepEqual(asked, { prefix: 'cinder.b', level: '' })
})

test('a plain object is read too, and what it leaves out is empty', () => {
  assert.deepEqual(logRequestFrom({ level: 'DEBUG' }), { prefix: '', level: 'DEBUG' })
})

test('an answer has the form in which the real service gave it', () => {
  const [, answer] = stockCalls('get-and-set-log-levels')
  const result = answer?.['result'] as Record<string, { readonly objects: readonly Json[] }>
  const names = result['versioned_object.data']?.objects.map((one) => {
    const data = (one as Record<string, { readonly prefix: string }>)['versioned_object.data']
    return [data?.prefix ?? '', 'info'] as const
  })

  assert.deepEqual(logLevelList(names ?? []), result)
  assert.equal(names?.length, 7)
})

test('levels are known by the names of Cinder, in any case', () => {
  const named = ['DEBUG', 'info', 'Warning', 'ERROR'].map(levelNamed)

  assert.deepEqual(named, ['debug', 'info', 'warn', 'error'])
})

for (const wrong of ['', 'WARN', 'CRITICAL', 'x'.repeat(5000)]) {
  test(`${wrong.slice(0, 20) || 'nothing'} is no level, in the words of Cinder`, () => {
    const reason = `${wrong.slice(0, 80)} is not a valid log level.`

    assert.throws(() => levelNamed(wrong), {
      code: 'ARGUMENT_INVALID',
      message: `Invalid input received: ${reason}`,
      context: { reason },
    })
  })
}

for (const wrong of [
  undefined,
  null,
  7,
  [],
  { prefix: 1 },
  { 'versioned_object.name': 'Backup' },
]) {
  test(`${JSON.stringify(wrong)} is no request for log levels`, () => {
    assert.throws(() => logRequestFrom(wrong), { code: 'ARGUMENT_INVALID' })
  })
}
