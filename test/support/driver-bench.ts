import { randomUUID } from 'node:crypto'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { JobRequest, Operation } from '#src/domain/job.ts'
import { metadataName } from '#src/domain/object-names.ts'
import { swiftLayout } from '#src/domain/store-layout.ts'
import { localLanes } from '#src/engine/local-lanes.ts'
import { type CreateDeps, createBackup } from '#src/operations/create-backup.ts'
import { deleteBackup } from '#src/operations/delete-backup.ts'
import { importRecord } from '#src/operations/import-record.ts'
import { pathJobVolumes } from '#src/operations/job-volumes.ts'
import type { Result, RunOperation } from '#src/operations/operation.ts'
import { listObjects } from '#src/operations/remove-objects.ts'
import { resetStatus } from '#src/operations/reset-status.ts'
import { restoreBackup } from '#src/operations/restore-backup.ts'
import { requestedVolumeMetadata } from '#src/operations/volume-metadata.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import type { Volumes } from '#src/ports/volumes.ts'

import { aContext, aRecord, aRequest } from './builders.ts'
import { times } from './soak.ts'

// The operations on memory alone: what a job runs, without the bus and the journal.

export const windowBytes = 4096
export const blockBytes = 512

export type Ended = { readonly record: BackupRecord; readonly extra: Result['extra'] }

export type BenchOptions = Partial<Omit<CreateDeps, 'stores' | 'journal' | 'volumes'>> & {
  readonly store?: ObjectStore
  readonly wrapVolumes?: (volumes: Volumes) => Volumes
}

type Start = { readonly jobId?: string; readonly stop?: AbortSignal }

export function driverBench({
  store = memoryStore(),
  wrapVolumes = (volumes) => volumes,
  ...options
}: BenchOptions = {}) {
  const contents = new Map<string, Uint8Array>()
  const records = new Map<string, BackupRecord>()
  const reached: number[] = []
  const log = recordingLog()
  const signal = AbortSignal.timeout(times(60_000, 1_800_000))
  const layout = swiftLayout('volumebackups', 'nova')
  const memoryMax = 4 * 1024 * 1024
  const deps: CreateDeps = {
    journal: { record: (id) => records.get(id) ?? null },
    stores: { layout, storeFor: () => store, accessFor: () => null },
    volumes: pathJobVolumes(wrapVolumes(memoryVolumes(contents))),
    metadata: requestedVolumeMetadata,
    spool: memorySpool(),
    lanes: localLanes(),
    accelerator: null,
    service: 'cinder.backup.drivers.swift.SwiftBackupDriver',
    availabilityZone: 'nova',
    sizes: { objectSizeBytes: windowBytes, blockSizeBytes: blockBytes, memoryMax, workers: 2 },
    compression: 'zlib',
    effort: 'compatible',
    zeroChunks: 'compat',
    verifyUpload: 'on',
    uploadsMax: 4,
    ...options,
  }
  const operations: Record<Operation, RunOperation> = {
    create: createBackup(deps),
    restore: restoreBackup(deps),
    delete: deleteBackup({ storeFor: () => store, layout }),
    import: importRecord({ ...deps, host: 'host-1' }),
    reset_status: resetStatus,
  }

  async function run(request: JobRequest, { jobId, stop = signal }: Start = {}): Promise<Ended> {
    const asked = request.backup.record
    let record = (jobId === undefined ? null : records.get(asked.id)) ?? asked
    const job = {
      id: jobId ?? randomUUID(),
      request,
      context: aContext(),
      record,
      run: randomUUID(),
      starts: 1,
      highWaterBytes: 0,
      started: true,
      device: null,
      ending: null,
    }
    const change = async (fields: Partial<BackupRecord>) => {
      record = { ...record, ...fields }
      records.set(record.id, record)
    }
    const result = await operations[request.operation](
      {
        job,
        isFirst: true,
        log,
        record: () => record,
        change,
        reached: (bytesDone) => void reached.push(bytesDone),
        progress: () => undefined,
        device: async () => null,
        keepDevice: async (found) => found,
      },
      stop,
    )
    await change(result.record)
    return { record, extra: result.extra }
  }

  return {
    store,
    contents,
    operations,
    records,
    /** What the operations noted of their progress. */
    reached,
    log,
    signal,

    /** Runs a job; one that was cut short is started again under its id. */
    run,

    /** Backs `bytes` up, as a new volume or as the volume of the parent. */
    create(
      bytes: Uint8Array,
      { volumeMeta = null, ...fields }: Partial<BackupRecord> & { volumeMeta?: string | null } = {},
    ): Promise<Ended> {
      const record = aRecord(fields)
      contents.set(record.volume_id, bytes)
      return run(aRequest('create', record, { volumeMeta }))
    },

    /** Restores onto a new volume that holds `onto`, which is written in place. */
    restore(record: BackupRecord, onto: Uint8Array, volumeIsNew = false): Promise<Ended> {
      const targetVolumeId = randomUUID()
      contents.set(targetVolumeId, onto)
      return run(aRequest('restore', record, { targetVolumeId, volumeIsNew }))
    },

    remove: (record: BackupRecord): Promise<Ended> => run(aRequest('delete', record)),

    /** The names of all objects that begin with `prefix`. */
    async names(container = 'volumebackups', prefix = ''): Promise<string[]> {
      const entries = await Array.fromAsync(listObjects(store, container, prefix, signal))
      return entries.map(({ name }) => name)
    },

    async object(container: string | null, name: string): Promise<Buffer> {
      let pieces: Buffer[] = []
      const sink = {
        start() {
          pieces = []
        },
        write(piece: Uint8Array) {
          pieces.push(Buffer.from(piece))
        },
      }
      await store.getObject({ container: container ?? '', name }, sink, signal)
      return Buffer.concat(pieces)
    },

    /** The metadata object of a backup, as JSON. */
    async metadata({ container, service_metadata: prefix }: BackupRecord): Promise<MetadataText> {
      return JSON.parse(String(await this.object(container, metadataName(prefix ?? ''))))
    },
  }
}

type MetadataText = {
  readonly [key: string]: unknown
  readonly objects: readonly Record<string, Entry>[]
}

type Entry = { compression: string; length: number; md5: string; offset: number }

/** The entries of a metadata object with their names, in its order. */
export function entriesOf({ objects }: MetadataText): (Entry & { name: string })[] {
  return objects.flatMap((one) => Object.entries(one).map(([name, entry]) => ({ name, ...entry })))
}
