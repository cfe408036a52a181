import assert from 'node:assert/strict'
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import { test } from 'node:test'

import { machineIdle } from '#src/adapters/lanes/machine-idle.ts'

test('it tells the part that was idle of the time of all cores since it was last asked', (t) => {
  const busy = { user: 0, nice: 0, sys: 0, irq: 0 }
  let times = [
    { ...busy, idle: 1000 },
    { ...busy, idle: 1000 },
  ]
  t.mock.method(os, 'cpus', () => times.map((one) => ({ model: '', speed: 0, times: one })))
  syncBuiltinESMExports()
  t.after(() => {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  })
  const idle = machineIdle()

  times = [
    { ...busy, idle: 1100 },
    { user: 40, nice: 20, sys: 30, irq: 10, idle: 1000 },
  ]
  const [half, none] = [idle(), idle()]
  times = times.map((one) => ({ ...one, idle: one.idle + 50 }))

  assert.deepEqual([half, none, idle()], [0.5, 0, 1])
})

test('it tells of this machine', async () => {
  const share = machineIdle()()

  assert.ok(share >= 0 && share <= 1)
})
