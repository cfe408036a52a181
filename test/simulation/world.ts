import { memoryJournals, type OpenJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { wrapStore } from '#src/adapters/object-store/wrap-store.ts'
import { type MemoryBus, memoryBus } from '#src/adapters/rpc/memory-bus.ts'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import { AgentError } from '#src/domain/errors.ts'
import { delay } from '#src/lib/clock.ts'
import type { Journal, Outbox } from '#src/ports/journal.ts'
import type { ObjectSink, ObjectStore } from '#src/ports/object-store.ts'
import type { Spool, SpoolFile } from '#src/ports/spool.ts'
import type { Volumes, VolumeWriter } from '#src/ports/volumes.ts'
import type { Draw } from '../support/seeded-draw.ts'
import type { Life } from './life.ts'

/** What outlives an agent: broker, store, disks; and how badly off they are at the moment. */
export type World = {
  readonly bus: MemoryBus
  readonly store: ObjectStore
  readonly spool: Spool
  /** Volumes and snapshots by their id. */
  readonly volumes: Map<string, Uint8Array>
  readonly openJournal: () => OpenJournal
  /** The share of store calls that fail, and of steps before or after which the agent dies. */
  storeFaults: number
  crashes: number
  isJournalFull: boolean
}

export function newWorld(): World {
  return {
    ...{ bus: memoryBus(), store: memoryStore(50), spool: memorySpool() },
    ...{ volumes: new Map(), openJournal: memoryJournals() },
    ...{ storeFaults: 0, crashes: 0, isJournalFull: false },
  }
}

/** The store as one life sees it: slow, and failing as often as `world` says. */
export function storeIn(world: World, life: Life, draw: Draw): ObjectStore {
  const flipping: ObjectStore = {
    ...world.store,
    getUndigested: (id, sink, signal, part) =>
      world.store.getUndigested(id, isStruck(0.3) ? flips(sink) : sink, signal, part),
  }
  function isStruck(share = 1): boolean {
    return draw.share() < world.storeFaults * share
  }
  const failure = () =>
    new AgentError('STORE_UNAVAILABLE', 'the simulated store does not answer', { simulated: true })

  return wrapStore(flipping, ({ method }, run, signal) =>
    life.around(async () => {
      signal.throwIfAborted()
      await delay(draw.share() < 0.03 ? 5000 : 5 + draw.below(300), signal)
      if (isStruck()) throw failure()
      if (isStruck(0.05)) throw new AgentError('STORE_REFUSED', 'the simulated store refuses', {})
      if (method === 'putObject' && isStruck(0.5)) {
        throw new AgentError('UPLOAD_CORRUPT', 'what arrived in the simulated store is other', {})
      }
      const result = await run()
      if (isStruck(0.5)) throw failure() // Done, but the answer is lost.
      return result
    }),
  )
}

/** One bit of what comes is another one, and nobody says so. */
function flips(sink: ObjectSink): ObjectSink {
  let isDone = false
  return {
    start: () => sink.start(),
    write: (piece) => {
      if (isDone || piece.byteLength === 0) return sink.write(piece)
      isDone = true
      const other = Buffer.from(piece)
      other.writeUInt8(other.readUInt8(piece.byteLength >> 1) ^ 4, piece.byteLength >> 1)
      return sink.write(other)
    },
  }
}

const journalWrites = [
  ...['accept', 'refuse', 'begin', 'update', 'end', 'nextSequence'],
  ...['eventSent', 'replySent', 'forgetOld'],
]

export function journalIn(world: World, life: Life): Journal & Outbox {
  const journal = world.openJournal()
  const guarded = Object.entries(journal).map(([name, method]) => [
    name,
    (...args: unknown[]) =>
      life.aroundSync(() => {
        if (world.isJournalFull && journalWrites.includes(name)) {
          throw new AgentError('JOURNAL_UNAVAILABLE', 'the simulated disk is full', {})
        }
        return (method as (...all: unknown[]) => unknown)(...args)
      }),
  ])
  return Object.fromEntries(guarded)
}

export function spoolIn(world: World, life: Life): Spool {
  async function guarded(opening: () => Promise<SpoolFile>): Promise<SpoolFile> {
    const file = await life.around(async () => {
      const opened = await opening()
      life.onDeath(() => void opened[Symbol.asyncDispose]()) // As the kernel closes it.
      return opened
    })
    return {
      get sizeBytes() {
        return file.sizeBytes
      },
      append: (bytes) => life.around(() => file.append(bytes)),
      write: (offsetBytes, bytes) => life.around(() => file.write(offsetBytes, bytes)),
      clear: () => life.around(() => file.clear()),
      sync: () => life.around(() => file.sync()),
      read: (offsetBytes, into) => life.around(() => file.read(offsetBytes, into)),
      [Symbol.asyncDispose]: () => life.around(async () => file[Symbol.asyncDispose]()),
    }
  }
  const { spool } = world
  return {
    open: () => guarded(() => spool.open()),
    keep: (jobId, name) => guarded(() => spool.keep(jobId, name)),
    forget: (jobId) => life.around(() => spool.forget(jobId)),
    forgetAllBut: (jobIds) => life.around(() => spool.forgetAllBut(jobIds)),
  }
}

/** Locks are the process's: each life has its own. */
export function volumesIn(world: World, life: Life): Volumes {
  const volumes = memoryVolumes(world.volumes)
  return {
    openSource: (source, signal) => life.around(() => volumes.openSource(source, signal)),
    openTarget: async (volumeId, signal): Promise<VolumeWriter> => {
      const writer = await life.around(() => volumes.openTarget(volumeId, signal))
      return {
        ...writer,
        write: (offsetBytes, data) => life.around(() => writer.write(offsetBytes, data)),
        punch: (extent) => life.around(() => writer.punch(extent)),
        sync: () => life.around(() => writer.sync()),
      }
    },
  }
}

/** The connection of one life: what it had in hand goes back when it ends. */
export function busIn({ bus }: World, life: Life): MemoryBus {
  const whileAlive = (work: () => void) => {
    if (!life.isDead) work()
  }
  return {
    ...bus,
    get isUp() {
      return bus.isUp
    },
    declareQueue: (queue) => {
      whileAlive(() => bus.declareQueue(queue))
      if (queue.includes('_fanout_')) life.onDeath(() => bus.deleteQueue(queue))
    },
    deleteQueue: (queue) => whileAlive(() => bus.deleteQueue(queue)),
    bind: (...args) => whileAlive(() => bus.bind(...args)),
    publish: (message, signal) => life.around(() => bus.publish(message, signal)),
    consume: (queue, { prefetch, take }) => {
      if (life.isDead) return () => undefined
      const back = life.died.then(() => 'requeue' as const)
      const cancel = bus.consume(queue, {
        prefetch,
        take: (message) => Promise.race([life.around(() => take(message)), back]),
      })
      life.onDeath(cancel)
      return cancel
    },
  }
}
