// The rows of restores from our sink.

import { randomUUID } from 'node:crypto'
import { rm, truncate } from 'node:fs/promises'
import path from 'node:path'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Bench } from './bench.ts'
import { asking, type BenchAgent } from './bench-agent.ts'
import { type Sink, startSink } from './native-tools.ts'
import { runPeer } from './peer.ts'
import { cinderName, type Row, type Sample, type Side, type Targets } from './row.ts'
import { chainLength, rounds } from './settings.ts'
import { agentOf, peerStoreOf } from './sink-rows.ts'
import { assertSame, copyVolume, emptyVolume, mutate, volumeFile } from './volumes.ts'

type Made = {
  readonly bench: Bench
  readonly sink: Sink
  readonly codec: string
  readonly targets: Targets
  /** Of cinder's backup, from the full one to the one that is restored. */
  readonly chain: readonly string[]
  readonly agent: BenchAgent
  readonly record: BackupRecord
  /** What the target must hold in the end. */
  readonly expected: string
  /** Whether what is fetched is told, as a share of the volume. */
  readonly tellsFetched: boolean
}

// It is for uploads alone: a restore always checks what it got.
const variant = { ownOptions: { verify_upload: 'off' }, env: {} }

export function restoreRow(name: string, codec: string, targets: Targets): Row {
  return {
    name,
    rounds,
    async prepare(bench, stack) {
      const sink = await startSink(stack)
      const file = await volumeFile('mixed')
      const chain = [randomUUID()]
      await runPeer(peerStoreOf(sink), { verb: 'backup', chain, file, codec })
      const agent = await agentOf(bench, stack, sink, codec, variant)
      const volumeId = randomUUID()
      await agent.attach(volumeId, file)
      const { record } = await agent.backUp(volumeId)
      const made = { chain, agent, record, expected: file, tellsFetched: false }
      return restorers({ ...made, bench, sink, codec, targets })
    },
  }
}

/** A full backup, and incremental ones of which each found 5 % of the blocks changed. */
export function chainRow(name: string, targets: Targets): Row {
  const codec = 'none' // Or the bytes that are fetched would not compare with the volume's.
  return {
    name,
    rounds,
    async prepare(bench, stack) {
      const sink = await startSink(stack)
      const file = path.join(bench.volumes, 'chain.img')
      const chain: string[] = []
      const agent = await agentOf(bench, stack, sink, codec, variant)
      const volumeId = randomUUID()
      let record: BackupRecord | null = null
      await copyVolume(await volumeFile('mixed'), file)
      await agent.attach(volumeId, file)
      for (let link = 1; ; link += 1) {
        chain.push(randomUUID())
        await runPeer(peerStoreOf(sink), { verb: 'backup', chain, file, codec })
        record = (await agent.backUp(volumeId, record)).record
        if (link >= chainLength) break
        await mutate(file, link)
      }
      const made = { chain, agent, record, expected: file, tellsFetched: true }
      return restorers({ ...made, bench, sink, codec, targets })
    },
  }
}

function restorers(made: Made): readonly Side[] {
  const { bench, sink, agent, record, targets, chain, codec } = made
  const onto = async (
    volumeId: string,
    restore: (file: string) => Promise<Omit<Sample, 'storedBytes'>>,
  ): Promise<Sample> => {
    const target = path.join(bench.volumes, `target-${volumeId}`)
    await emptyVolume(target)
    await agent.attach(volumeId, target)
    const before = await sink.stats()
    const sample = await restore(target)
    const { getBytes } = await sink.stats()
    await assertSame(made.expected, target)
    await truncate(target) // The agent's name of it goes with the agent.
    await rm(target)
    const fetched = (getBytes - before.getBytes) / bench.volumeBytes
    return { ...sample, storedBytes: null, ...(made.tellsFetched ? { facts: { fetched } } : {}) }
  }
  return [
    {
      name: cinderName,
      targets: {},
      run: () =>
        onto(randomUUID(), (file) =>
          runPeer(peerStoreOf(sink), { verb: 'restore', chain, file, codec }),
        ),
    },
    {
      name: 'ours',
      targets,
      run: () => {
        const volumeId = randomUUID()
        return onto(volumeId, async () => {
          const asked = asking(record, 'restoring')
          return (await agent.run('restore', asked, { volume_id: volumeId })).sample
        })
      },
    },
  ]
}
