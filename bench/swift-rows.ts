// The rows whose store is a real Swift.

import { randomUUID } from 'node:crypto'

import { startBenchAgent } from './bench-agent.ts'
import { delayingProxy } from './delaying-proxy.ts'
import { type PeerStore, peerPrefix, runPeer } from './peer.ts'
import { type RealSwift, realSwift, swiftCpuSeconds } from './real-swift.ts'
import { cinderName, type Row, type Sample, type Side, type Targets, variants } from './row.ts'
import { deletedObjects, slowRounds, sparseGib } from './settings.ts'
import { sparseFile } from './volumes.ts'

const storeOf = (swift: RealSwift, url = swift.url): PeerStore => ({
  url,
  projectId: swift.projectId,
  token: swift.token,
  container: swift.container,
  isSink: false,
})

const cinderSparseGib = 10
const dataMibOf = (gib: number) => gib * 3 // 3 GiB in 1 TiB.

/** A large volume with little in it; cinder gets a small one with as much for its size. */
export function sparseRow(name: string, targets: Targets): Row {
  const factor = sparseGib / cinderSparseGib
  return {
    name,
    rounds: slowRounds,
    note:
      `${sparseGib} GiB for us; cinder backed ${cinderSparseGib} GiB up, and its wall and CPU are ` +
      `${factor} times what it took`,
    async prepare(bench, stack) {
      const swift = await realSwift(stack)
      const small = await sparseFile(cinderSparseGib, dataMibOf(cinderSparseGib))
      const file = await sparseFile(sparseGib, dataMibOf(sparseGib))
      const cinder = async (): Promise<Sample> => {
        const chain = [randomUUID()]
        const sample = await runPeer(storeOf(swift), { verb: 'backup', chain, file: small })
        await runPeer(storeOf(swift), { verb: 'delete', chain })
        const { wallSeconds, cpuSeconds, peakMib } = sample
        const extrapolated = { wallSeconds: wallSeconds * factor, cpuSeconds: cpuSeconds * factor }
        return { ...extrapolated, peakMib, storedBytes: null }
      }
      const sides: Side[] = [{ name: cinderName, targets: {}, run: cinder }]
      for (const variant of variants(targets)) {
        const ownOptions = { ...variant.ownOptions, zero_chunks: 'compat' }
        const chosen = { storeUrl: swift.url, user: swift, container: swift.container, ownOptions }
        const run = async (): Promise<Sample> => {
          await using own = stack.use(new AsyncDisposableStack())
          const agent = await startBenchAgent(bench, own, chosen)
          const volumeId = randomUUID()
          await agent.attach(volumeId, file)
          const { sample, record } = await agent.backUp(volumeId)
          await agent.run('delete', { ...record, status: 'deleting' })
          const facts = { minutes: sample.wallSeconds / 60, objects: record.object_count ?? 0 }
          return { ...sample, storedBytes: null, facts }
        }
        sides.push({ name: variant.name, targets: variant.targets, run })
      }
      return sides
    },
  }
}

/** `delayMs` are added to each answer on its way. */
export function deleteRow(name: string, delayMs: number, targets: Targets): Row {
  return {
    name,
    rounds: slowRounds,
    note: `${deletedObjects} objects of a few bytes; "swift CPU" is that of all its servers`,
    async prepare(bench, stack) {
      const swift = await realSwift(stack)
      const url =
        delayMs === 0 ? swift.url : `${await delayingProxy(stack, swift.origin, delayMs)}/v1/AUTH_`
      const agent = await startBenchAgent(bench, stack, {
        storeUrl: url,
        user: swift,
        container: swift.container,
        warmUpMib: 4, // A delete has no chunks, and needs no memory for them.
      })
      const measured = async (
        prefix: string,
        remove: () => Promise<Omit<Sample, 'storedBytes'>>,
      ): Promise<Sample> => {
        await swift.makeChunks(prefix, deletedObjects)
        const before = await swiftCpuSeconds()
        const sample = await remove()
        const facts = { 'swift CPU': (await swiftCpuSeconds()) - before }
        if (!(await swift.isEmpty(prefix))) throw new Error(`objects are left under ${prefix}`)
        return { ...sample, storedBytes: null, facts }
      }
      const cinder = () => {
        const [id, volumeId] = [randomUUID(), randomUUID()]
        const store = storeOf(swift, url)
        return measured(peerPrefix(id, volumeId), () =>
          runPeer(store, { verb: 'delete', chain: [id], volumeId }),
        )
      }
      const ours = () => {
        const volumeId = randomUUID()
        const asked = agent.asked(volumeId, { status: 'deleting', object_count: deletedObjects })
        const service_metadata = peerPrefix(asked.id, volumeId)
        return measured(
          service_metadata,
          async () => (await agent.run('delete', { ...asked, service_metadata })).sample,
        )
      }
      return [
        { name: cinderName, targets: {}, run: cinder },
        { name: 'ours', targets, run: ours },
      ]
    },
  }
}
