// The rows whose store is our sink: full and incremental backups.

import { randomUUID } from 'node:crypto'
import type { Bench } from './bench.ts'
import { type BenchAgent, startBenchAgent } from './bench-agent.ts'
import { type Sink, startSink } from './native-tools.ts'
import { type PeerStore, peerPrefix, runPeer } from './peer.ts'
import { cinderName, type Row, type Sample, type Targets, type Variant, variants } from './row.ts'
import { rounds } from './settings.ts'
import { volumeFile } from './volumes.ts'

const peerProject = 'cinder'

export const peerStoreOf = (sink: Sink): PeerStore => ({
  url: `${sink.origin}/v1/AUTH_`,
  projectId: peerProject,
  isSink: true,
})

const peerObjects = (id: string) => `/v1/AUTH_${peerProject}/volumebackups/${peerPrefix(id)}`

export function agentOf(
  bench: Bench,
  stack: AsyncDisposableStack,
  sink: Sink,
  codec: string,
  { ownOptions, env }: Pick<Variant, 'ownOptions' | 'env'>,
): Promise<BenchAgent> {
  const options = { backup_compression_algorithm: codec }
  return startBenchAgent(bench, stack, {
    storeUrl: `${sink.origin}/v1/AUTH_`,
    options,
    ownOptions,
    env,
  })
}

/** Runs `job` and adds what the sink got meanwhile. */
export async function withStored(
  sink: Sink,
  job: () => Promise<Omit<Sample, 'storedBytes'>>,
): Promise<Sample> {
  const before = await sink.stats()
  const sample = await job()
  const after = await sink.stats()
  return { ...sample, storedBytes: after.putBytes - before.putBytes }
}

type Full = {
  readonly name: string
  readonly kind: 'mixed' | 'random' | 'zero'
  readonly codec: string
  readonly targets: Targets
  readonly unaccelerated?: Targets
  readonly ownOptions?: Readonly<Record<string, string>>
}

export function fullRow(full: Full): Row {
  return {
    name: full.name,
    rounds,
    async prepare(bench, stack) {
      const sink = await startSink(stack)
      const file = await volumeFile(full.kind)
      const cinder = async () => {
        const id = randomUUID()
        const sample = await withStored(sink, () =>
          runPeer(peerStoreOf(sink), { verb: 'backup', chain: [id], file, codec: full.codec }),
        )
        await sink.drop(peerObjects(id))
        return sample
      }
      const sides = [{ name: cinderName, targets: {}, run: cinder }]
      for (const variant of variants(full.targets, full.unaccelerated)) {
        const ownOptions = { ...variant.ownOptions, ...full.ownOptions }
        const agent = await agentOf(bench, stack, sink, full.codec, { ...variant, ownOptions })
        const volumeId = randomUUID()
        await agent.attach(volumeId, file)
        const run = async () => {
          const sample = await withStored(sink, async () => (await agent.backUp(volumeId)).sample)
          await sink.drop(agent.objectRoot)
          return sample
        }
        sides.push({ name: variant.name, targets: variant.targets, run })
      }
      return sides
    },
  }
}

type Incremental = {
  readonly name: string
  readonly kind: 'mixed' | 'mixed5'
  readonly codec: string
  /** Of the store's answer to each PUT. */
  readonly delayMs?: number
  readonly targets: Targets
  readonly unaccelerated?: Targets
}

/** Against a full backup of `mixed`, made before. */
export function incrementalRow(row: Incremental): Row {
  const { name, kind, codec, delayMs = 0 } = row
  return {
    name,
    rounds,
    async prepare(bench, stack) {
      const sink = await startSink(stack, delayMs)
      const [base, file] = [await volumeFile('mixed'), await volumeFile(kind)]
      const [store, parentId] = [peerStoreOf(sink), randomUUID()]
      await runPeer(store, { verb: 'backup', chain: [parentId], file: base, codec })
      const cinder = async () => {
        const id = randomUUID()
        const sample = await withStored(sink, () =>
          runPeer(store, { verb: 'backup', chain: [parentId, id], file, codec }),
        )
        await sink.drop(peerObjects(id))
        return sample
      }
      const sides = [{ name: cinderName, targets: {}, run: cinder }]
      for (const variant of variants(row.targets, row.unaccelerated)) {
        const agent = await agentOf(bench, stack, sink, codec, variant)
        const volumeId = randomUUID()
        await agent.attach(volumeId, base)
        const { record: parent } = await agent.backUp(volumeId)
        await agent.attach(volumeId, file)
        const run = async () => {
          let prefix: string | null = null
          const sample = await withStored(sink, async () => {
            const job = await agent.backUp(volumeId, parent)
            prefix = job.record.service_metadata
            return job.sample
          })
          await sink.drop(`${agent.objectRoot}${prefix}`)
          return sample
        }
        sides.push({ name: variant.name, targets: variant.targets, run })
      }
      return sides
    },
  }
}
