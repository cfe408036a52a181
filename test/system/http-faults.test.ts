// Swift and Keystone fail in every way that a network knows, at random: each job ends right, or with
// its reason, and no wrong byte is called good.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { type FaultScene, faultScene, faultsOf, faultyChain } from '../support/fault-chains.ts'
import { times } from '../support/soak.ts'
import { testSeed } from '../support/volume-files.ts'

const chainsAtOnce = times(2, 6)

/** Chains, some at once, until so many faults have struck and so many chains are through. */
async function chainsAt(
  scene: FaultScene,
  seed: string,
  { rate, faults, chainsMin }: { rate: number; faults: number; chainsMin: number },
): Promise<{ chains: number; requests: number }> {
  const from = faultsOf(scene)
  const seenFrom = scene.swift.seen.length
  for (const schedule of scene.schedules) schedule.rate = rate
  let begun = 0
  const worker = async () => {
    while (begun < chainsMin || faultsOf(scene) - from < faults) {
      begun += 1
      await faultyChain(scene, `${seed} ${rate} ${begun}`)
    }
  }
  await Promise.all(Array.from({ length: chainsAtOnce }, worker))
  return { chains: begun, requests: scene.swift.seen.length - seenFrom }
}

test('every fault of HTTP, at 1 %, 10 % and 50 % of requests: jobs end right or with their reason', async (t) => {
  const seed = testSeed(t)
  const here = await faultScene(t, seed, chainsAtOnce)
  const calm = await chainsAt(here, seed, { rate: 0, faults: 0, chainsMin: 2 })
  const perChain = calm.requests / calm.chains
  t.diagnostic(`${perChain.toFixed(1)} requests a chain without faults`)
  const plans = [
    { rate: 0.01, faults: times(0, 30), chainsMin: 2 },
    { rate: 0.1, faults: times(10, 500), chainsMin: 2 },
    { rate: 0.5, faults: times(30, 1470), chainsMin: 1 },
  ]
  for (const plan of plans) {
    const { chains, requests } = await chainsAt(here, seed, plan)
    const ratio = requests / chains / perChain
    t.diagnostic(`${plan.rate * 100} %: ${chains} chains, ${ratio.toFixed(2)} x the requests`)
    assert.ok(ratio > 0.8, `${ratio} x the requests at ${plan.rate}: some go past the proxy`)
    if (plan.rate <= 0.1) assert.ok(ratio <= 3, `${ratio} x the requests at ${plan.rate}`)
  }
  for (const { counts } of here.schedules) {
    for (const [kind, count] of [...counts].sort()) t.diagnostic(`${count} x ${kind}`)
  }
  for (const [how, count] of [...here.ends].sort()) t.diagnostic(`${count} x ${how}`)
  assert.ok(faultsOf(here) >= 40)
})
