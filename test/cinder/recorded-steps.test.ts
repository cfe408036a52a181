// A recorded session of Cinder with its own backup service, step by step again with our agent in that
// place: what each step leaves in Cinder's database, beside what was recorded. A difference stands in
// row-differences.ts with its reason, or it is a failure here; so is one that is no more.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { placeOfOurs, stopBackupService } from '../support/backup-service.ts'
import { CinderUser } from '../support/real-cinder.ts'
import { changesBetween, differencesOf, RowStory, type Rows } from '../support/row-changes.ts'
import { cinderSnapshot, recordedSteps } from '../support/stock-rows.ts'
import { betweenSteps, type StepContext, stepsDone, warmUp } from './recorded-steps.ts'
import { rowDifferences } from './row-differences.ts'

/** Later than the second of what was done last, the least that the database tells apart. */
async function settledSnapshot(): Promise<Rows> {
  await sleep(1500)
  return cinderSnapshot()
}

test('the steps that were recorded leave the rows that were recorded', async (t) => {
  // Cinder's own service gives a store up after seconds, ours by default after a quarter of an hour.
  await stopBackupService()
  const place = await placeOfOurs(t, ['retry_budget = 10'])
  const context: StepContext = {
    demo: await CinderUser.login('demo'),
    admin: await CinderUser.login('admin'),
    place,
    made: {} as StepContext['made'],
  }
  await place.start()
  await warmUp(context)

  const [theirStory, ourStory] = [new RowStory(), new RowStory()]
  let before = await settledSnapshot()
  for (const { name, number, changes } of recordedSteps()) {
    await t.test(name, async () => {
      const expected = theirStory.factsOf(number, changes)
      await stepsDone[name]?.(context)
      const after = await settledSnapshot()
      const done = changesBetween(before, after)
      await betweenSteps[name]?.(context)
      before = name in betweenSteps ? await settledSnapshot() : after
      const hasHeartbeats = /idle|start/.test(name)
      const kept = done.filter(({ table }) => table !== 'services' || hasHeartbeats)
      const found = differencesOf(number, expected, ourStory.factsOf(number, kept))

      const keyOf = (table: string, column: string) => `${table}.${column}`
      const listed = rowDifferences
        .filter(({ step }) => step === number)
        .flatMap(({ table, columns }) => columns.map((column) => keyOf(table, column)))
      const isListed = new Set(listed)
      const unlisted = found.filter(({ table, column }) => !isListed.has(keyOf(table, column)))
      assert.deepEqual(unlisted, [], 'a difference is not listed')
      const occurred = new Set(found.map(({ table, column }) => keyOf(table, column)))
      const gone = listed.filter((one) => !occurred.has(one))
      assert.deepEqual(gone, [], 'a listed difference did not occur')
    })
  }
  await context.demo.removeAll()
  await context.admin.removeAll()
  await place.end('SIGTERM')
  await context.demo.removeObjectsOf(context.made.ofSnapshot)
})
