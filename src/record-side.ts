import type { Config } from './config.ts'
import { delay, monotonicMs } from './lib/clock.ts'
import { every } from './lib/every.ts'
import type { Cinder } from './open-database.ts'
import { databaseRows } from './operations/database-rows.ts'
import type { FindDeps } from './operations/find-backup.ts'
import { cinderJobVolumes, type JobVolumes, pathJobVolumes } from './operations/job-volumes.ts'
import { lookForLost } from './operations/look-for-lost.ts'
import { strandedNames } from './operations/name-stranded.ts'
import { temporaryRemover } from './operations/remove-temporaries.ts'
import { serviceReport } from './operations/report-service.ts'
import { rowPathVolumes } from './operations/row-path-volumes.ts'
import { noRows, type Rows } from './operations/rows.ts'
import type { JobRunner } from './operations/run-jobs.ts'
import {
  endOfGoneHost,
  endUnclaimed,
  rowsLeft,
  sweepLost,
  sweepRows,
} from './operations/sweep-rows.ts'
import {
  databaseVolumeMetadata,
  requestedVolumeMetadata,
  type VolumeMetadata,
} from './operations/volume-metadata.ts'
import type { Journal } from './ports/journal.ts'
import type { Log } from './ports/log.ts'
import type { RpcServer } from './ports/rpc.ts'
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
  readonly server: Pick<RpcServer, 'session' | 'isDrained'>
  /** Whether the store answers; null: nobody has asked it yet, or nobody can. */
  readonly storeState: () => boolean | null
  /** Told whether an operator has disabled the service. */
  readonly onDisabled: (isDisabled: boolean) => void
  readonly log: Log
}

/** What Cinder's services read out of our row. Source: cinder/objects/base.py, 1.39 of Zed and later. */
const objectVersion = '1.39'

/** When a row is known to have no message any more, looked at each `lookMs`: see lookForLost. */
const lost = { soonMs: 20_000, lateMs: 300_000, lookMs: 10_000 }

/** Where nothing is away a start takes requests by then. */
const promptMs = 20_000

/** It reads all backups in the making of the whole cloud. */
const strandedLookMs = 900_000

const refusedRetryMs = 30_000

/** A cinder-volume that works has begun by then with what an earlier start asked for. */
const earlierAskMs = 30_000

/** A cinder-volume that works has answered by then, where it has nothing to copy. */
const askAgainMs = 60_000
const unheardMs = 120_000
const busyMs = 600_000

export function messageSide({ journal, volumes, onDisabled }: Parts): RecordSide {
  return {
    ...{ rows: noRows, handlerRows: null, known: journal, capabilitiesMs: null },
    ...{ volumes: pathJobVolumes(volumes), metadata: requestedVolumeMetadata },
    begin: async () => onDisabled(false),
    run: async () => undefined,
  }
}

export function databaseSide(cinder: Cinder, config: Config, parts: Parts): RecordSide {
  const { records, storage } = cinder
  const { journal, server, log, storeState } = parts
  const { host, availabilityZone, service, limits, driver, backups } = config
  const makingMs = limits.deviceWaitMs
  const promptUntilMs = monotonicMs() + promptMs
  const remover =
    storage === null ? null : temporaryRemover({ records, storage, journal, makingMs, log })
  const onEnded: HandlerRows['onEnded'] = (record) => remover?.ended(record)
  const report = serviceReport({
    ...{ records, log, intervalMs: service.reportIntervalMs, isUp: () => storeState() !== false },
    onDisabled: parts.onDisabled,
    row: {
      ...{ host, availabilityZone, objectVersion, rpcVersion: service.advertisedRpcVersion },
      disabled: !service.isNewEnabled,
    },
  })
  const sweeping = ({ take }: Pick<JobRunner, 'take'>) => {
    return { records, storage, journal, host, take, onEnded, log }
  }
  const { goneHostMs } = limits
  const ofOthers = sweeping({ take: () => undefined })
  const stranded = strandedNames({
    ...{ records, host, log, endMs: limits.deviceWaitMs, goneMs: goneHostMs },
    end: (row, within) => endUnclaimed(row, ofOthers, within),
    endGone: (row, within) => endOfGoneHost(row, goneHostMs, ofOthers, within),
  })
  const lookForStranded = (signal: AbortSignal) =>
    stranded.look(signal).catch((error: unknown) => {
      if (!signal.aborted) log.warn('cannot look for backups that nobody works on', { error })
    })

  return {
    rows: databaseRows({
      ...{ records, host, availabilityZone, onEnded, log, refusedRetryMs },
      service: driver.classPath,
      isReady: () => storeState() !== false,
    }),
    handlerRows: { records, onEnded },
    known: { record: (backupId, signal) => records.backup(backupId, signal) },
    volumes:
      storage === null
        ? rowPathVolumes({ volumes: parts.volumes, records })
        : cinderJobVolumes({
            ...{ storage, records, askAgainMs, earlierAskMs, unheardMs, busyMs },
            session: () => server.session,
            deviceWaitMs: limits.deviceWaitMs,
          }),
    metadata: databaseVolumeMetadata({ records, version: backups.metadataVersion }),
    capabilitiesMs: service.capabilitiesIntervalMs,
    async begin(runner, signal) {
      await report.begin(signal)
      await sweepRows(sweeping(runner), signal)
    },
    run: (runner, signal) =>
      Promise.all([
        report.run(signal),
        remover?.run(signal),
        storage?.run(signal),
        lookForLost(
          {
            left: (within) => rowsLeft(sweeping(runner), within),
            sweep: (left, within) => sweepLost(sweeping(runner), left, within),
            ...{ ...lost, promptUntilMs, server, log },
          },
          signal,
        ),
        delay(lost.lateMs, signal)
          .catch(() => undefined) // The loop sees the end.
          .then(() => every(strandedLookMs, signal, lookForStranded)),
      ]),
  }
}
