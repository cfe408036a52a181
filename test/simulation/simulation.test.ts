// The whole agent on memory alone, under messages and faults that a seed decides.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { times } from '../support/soak.ts'
import { testSeed } from '../support/volume-files.ts'
import { simulate } from './simulate.ts'

/** Seeds under which the agent, or the simulation itself, once was wrong. */
const kept = ['300485795', '1230935369', '975983153', '1285783852', '472998241', '703348050']

for (const seed of kept) {
  test(`seed ${seed} breaks no invariant`, async () => {
    const { broken } = await simulate(seed)
    assert.deepEqual(broken, [])
  })
}

test('fresh seeds break no invariant', async (t) => {
  const from = testSeed(t)
  let runs = 0
  for (let count = 0; count < times(30, 2000); count += 1) {
    const result = await simulate(`${from} ${count}`)
    runs += result.runs
    assert.deepEqual(result.broken, [], `make simulate SEED='${result.seed}'`)
  }
  assert.ok(runs > 30, 'something was done')
})

test('the same seed is the same run', async () => {
  const [first, second] = [await simulate('7'), await simulate('7')]
  const plain = ({ story }: typeof first) =>
    story.map((line) => line.replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '…'))
  assert.deepEqual(plain(first), plain(second))
})
