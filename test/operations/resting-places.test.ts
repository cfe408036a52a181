import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import type { RunOperation } from '#src/operations/operation.ts'
import { aDevice, aRecord, aRequest } from '../support/builders.ts'
import { runnerBench } from '../support/runner-bench.ts'

test('a job whose device came while another had its place rises when that one waits in its turn', async (t) => {
  const [first, second] = [aRecord(), aRecord()]
  const steps: string[] = []
  const gate = Promise.withResolvers<void>()
  const nameOf = (id: string) => (id === first.id ? 'first' : 'second')
  const create: RunOperation = async (run, signal) => {
    const name = nameOf(run.record().id)
    steps.push(`${name} begins`)
    if (name === 'second') await gate.promise
    await run.device(600_000, signal)
    steps.push(`${name} goes on`)
    return { record: {} }
  }
  const bench = runnerBench({ create }, 1)
  t.after(() => bench.stop())
  bench.ask(aRequest('create', first))
  bench.ask(aRequest('create', second))
  while (!steps.includes('second begins')) await setImmediate()
  bench.runner.giveDevice(first.id, aDevice())
  for (let turn = 0; turn < 10; turn++) await setImmediate()
  assert.deepEqual(steps, ['first begins', 'second begins'])

  gate.resolve()
  for (let turn = 0; turn < 100 && !steps.includes('first goes on'); turn++) await setImmediate()
  bench.runner.giveDevice(second.id, aDevice())
  for (let turn = 0; turn < 100 && bench.runner.count > 0; turn++) await setImmediate()

  assert.equal(bench.runner.count, 0)
  assert.deepEqual(steps.slice(2), ['first goes on', 'second goes on'])
})
