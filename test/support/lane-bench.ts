import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { threadLanes } from '#src/adapters/lanes/thread-lanes.ts'
import { type RecordingLog, recordingLog } from '#src/adapters/log/recording-log.ts'
import { pathVolumes } from '#src/adapters/volumes/path-volumes.ts'
import type { LaneData } from '#src/lane.ts'
import { openLaneStores, sharedStoreRates } from '#src/lane-stores.ts'
import { sharedRate } from '#src/lib/shared-rate.ts'

import type { LanesFixture } from '../contracts/lanes.ts'
import { container, never } from './chains.ts'

export type LaneChoices = {
  readonly entry?: URL
  /** What a lane gets besides its stores. */
  readonly data?: Record<string, unknown>
  readonly workers?: number
  readonly memoryMax?: number
}

export type ThreadBench = LanesFixture & {
  readonly log: RecordingLog
  /** From now on every call of a lane to the store waits. */
  closeStore(): void
  openStore(): void
}

/** Lanes in threads, with a real store and real volumes in a folder of their own. */
export async function threadBench(choices: LaneChoices = {}): Promise<ThreadBench> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-lanes-'))
  const log = recordingLog()
  const requests = sharedRate(0)
  const rates = { requests, bandwidth: sharedRate(0) }
  const writer = { host: 'node1@swift', run: randomUUID() }
  const stores: LaneData['stores'] = {
    store: { kind: 'posix', root: path.join(folder, 'store'), writer },
    retry: { attemptsMin: 2, backoffMs: 1, budgetMs: 1 },
  }
  const store = openLaneStores(stores, rates).bareStoreFor(null)
  await store.ensureContainer(container, never)
  const { workers = 1, memoryMax = 64 * 1_048_576, data } = choices
  const lanes = threadLanes({
    entry: choices.entry ?? new URL('../../src/lane.ts', import.meta.url),
    data: { stores, rates: sharedStoreRates(rates), ...data },
    ...{ workers, memoryMax, log },
  })
  const volumePaths = [path.join(folder, '{volume_id}')]
  const volumes = pathVolumes({ volumePaths, snapshotPaths: [], volumeRoots: [folder] })

  async function put(bytes: Uint8Array): Promise<string> {
    const volumeId = randomUUID()
    await writeFile(path.join(folder, volumeId), bytes)
    return volumeId
  }

  return {
    ...{ lanes, store, log },
    source: async (bytes) =>
      volumes.openSource({ volumeId: await put(bytes), snapshotId: null }, never),
    target: async (bytes) => volumes.openTarget(await put(bytes), never),
    closeStore() {
      requests.set(1)
      void requests.take(1_000_000, never) // Nobody's turn comes soon.
    },
    openStore: () => requests.set(0),
    async [Symbol.asyncDispose]() {
      await lanes[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
