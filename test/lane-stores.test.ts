import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'

import { loadConfig } from '#src/config.ts'
import {
  laneStoreOptions,
  openLaneStores,
  sharedStoreRates,
  storeRates,
  storeRatesOf,
} from '#src/lane-stores.ts'
import { collectingSink } from './contracts/object-store.ts'
import { keystoneAccess, swiftContainer } from './support/stores.ts'

const signal = AbortSignal.timeout(60_000)

function configured(options: Readonly<Record<string, string>>) {
  const env = { CBA_DEFAULT_TRANSPORT_URL: 'rabbit://u:p@h/', ...options }
  return loadConfig({ paths: [], env }).config
}

/** Options and rates as another thread gets them. */
function sent(config: ReturnType<typeof configured>) {
  const rates = storeRates(config)
  // A clone is a copy, but of shared memory it is another view.
  const { options, shared } = structuredClone({
    options: laneStoreOptions(config),
    shared: sharedStoreRates(rates),
  })
  return { rates, options, there: storeRatesOf(shared) }
}

test('a lane writes to a folder what another reads, and keeps the rates of all', async (t) => {
  const root = await mkdtemp(path.join(tmpdir(), 'cba-lane-'))
  t.after(() => rm(root, { recursive: true, force: true }))
  const { rates, options, there } = sent(
    configured({
      CBA_DEFAULT_BACKUP_DRIVER: 'cinder.backup.drivers.posix.PosixBackupDriver',
      CBA_DEFAULT_BACKUP_POSIX_PATH: root,
      CBA_CINDER_BACKUP_AGENT_REQUESTS_MAX: '1000',
    }),
  )
  await using one = openLaneStores(options, there)
  await using other = openLaneStores(options, rates)
  const id = { container: 'c', name: 'a' }
  const sink = collectingSink()

  await one.storeFor(null, () => {}).ensureContainer('c', signal)
  await one.storeFor(null, () => {}).putObject(id, Buffer.from('body'), signal)
  await other.storeFor(null, () => {}).getUndigested(id, sink, signal)

  assert.equal(sink.bytes().toString(), 'body')
  assert.equal(there.requests.perSecond, 1000)
  rates.bandwidth.set(5)
  assert.equal(there.bandwidth.perSecond, 5)
})

test('a lane reaches Swift with the access that it is given', async (t) => {
  const real = await keystoneAccess('demo')
  const { name: container } = await swiftContainer(t, async () => real)
  const { options, there } = sent(
    configured({
      CBA_DEFAULT_BACKUP_DRIVER: 'cinder.backup.drivers.swift.SwiftBackupDriver',
    }),
  )
  await using lane = openLaneStores(options, there)
  const store = lane.storeFor({ access: async () => real, renew: async () => real }, () => {})

  await store.putObject({ container, name: 'a' }, Buffer.from('body'), signal)

  assert.equal((await store.listPage(container, '', '', signal)).length, 1)
})
