import type { Config } from './config.ts'
import { delay } from './lib/clock.ts'
import type { Cinder } from './open-database.ts'
import { databaseRows } from './operations/database-rows.ts'
import type { FindDeps } from './operations/find-backup.ts'
import { cinderJobVolumes, type JobVolumes, pathJobVolumes } from './operations/job-volumes.ts'
import { temporaryRemover } from './operations/remove-temporaries.ts'
import { serviceReport } from './operations/report-service.ts'
import { noRows, type Rows } from './operations/rows.ts'
import type { JobRunner } from './operations/run-jobs.ts'
import { sweepRows } from './operations/sweep-rows.ts'
import {
  databaseVolumeMetadata,
  requestedVolumeMetadata,
  type VolumeMetadata,
} from './operations/volume-metadata.ts'
import type { Journal } from './ports/journal.ts'
import type { Log } from './ports/log.ts'
import type { Volumes } from './ports/volumes.ts'
import type { HandlerRows } from './rpc-devices.ts'

/** All in which the two ways to keep records differ: with the requests, or in Cinder's database. */
export type RecordSide = {
  readonly rows: Rows
  readonly handlerRows: HandlerRows | null
  readonly known: FindDeps['journal']
  readonly volumes: JobVolumes
  readonly metadata: VolumeMetadata
  readonly capabilitiesMs: number | null
  /** To be done before any request is taken. */
  begin(runner: Pick<JobRunner, 'take'>, signal: AbortSignal): Promise<void>
  run(runner: Pick<JobRunner, 'take'>, signal: AbortSignal): Promise<unknown>
}

type Parts = {
  readonly journal: Journal
  readonly volumes: Volumes
  /** Whether the store answers; null: nobody has asked it yet, or nobody can. */
  readonly storeState: () => boolean | null
  readonly log: Log
}

/** What Cinder's services read out of our row. Source: cinder/objects/base.py, 1.39 of Zed and later. */
const objectVersion = '1.39'

/** By then a message that waited in the queue has been taken. */
const lateSweepMs = 300_000

const refusedRetryMs = 30_000

/** A cinder-volume that works has answered by then, where it has nothing to copy. */
const askAgainMs = 60_000

export function messageSide({ journal, volumes }: Parts): RecordSide {
  return {
    ...{ rows: noRows, handlerRows: null, known: journal, capabilitiesMs: null },
    ...{ volumes: pathJobVolumes(volumes), metadata: requestedVolumeMetadata },
    begin: async () => undefined,
    run: async () => undefined,
  }
}

export function databaseSide(cinder: Cinder, config: Config, parts: Parts): RecordSide {
  const { records, storage } = cinder
  const { journal, log, storeState } = parts
  const { host, availabilityZone, service, limits, driver, backups } = config
  const remover = storage === null ? null : temporaryRemover({ records, storage, journal, log })
  const onEnded: HandlerRows['onEnded'] = (record) => remover?.ended(record)
  const report = serviceReport({
    ...{ records, log, intervalMs: service.reportIntervalMs, isUp: () => storeState() !== false },
    row: {
      ...{ host, availabilityZone, objectVersion, rpcVersion: service.advertisedRpcVersion },
      disabled: !service.isNewEnabled,
    },
  })
  const sweep = ({ take }: Pick<JobRunner, 'take'>, signal: AbortSignal) =>
    sweepRows({ records, journal, host, take, onEnded, log }, left, signal)
  let left: ReadonlySet<string> | null = null

  return {
    rows: databaseRows({
      ...{ records, availabilityZone, onEnded, log, refusedRetryMs, service: driver.classPath },
      isReady: () => storeState() !== false,
    }),
    handlerRows: { records, onEnded },
    known: { record: (backupId, signal) => records.backup(backupId, signal) },
    volumes:
      storage === null
        ? pathJobVolumes(parts.volumes)
        : cinderJobVolumes({ storage, records, deviceWaitMs: limits.deviceWaitMs, askAgainMs }),
    metadata: databaseVolumeMetadata({ records, version: backups.metadataVersion }),
    capabilitiesMs: service.capabilitiesIntervalMs,
    async begin(runner, signal) {
      await report.begin(signal)
      left = await sweep(runner, signal)
    },
    run: (runner, signal) =>
      Promise.all([
        report.run(signal),
        remover?.run(signal),
        delay(lateSweepMs, signal)
          .then(() => sweep(runner, signal))
          .catch((error: unknown) => {
            if (!signal.aborted) log.error('the late look at the rows failed', { error })
          }),
      ]),
  }
}
