import { unitAttach } from './adapters/attach/unit-attach.ts'
import { rabbitRpcClient } from './adapters/rpc/rabbit-rpc-client.ts'
import { backupToPrimitive } from './adapters/rpc/versioned-object.ts'
import { backupDeviceFrom, snapshotObject, volumeObject } from './adapters/rpc/volume-objects.ts'
import { cinderVolumes } from './adapters/volumes/cinder-volumes.ts'
import { hostConnector } from './adapters/volumes/host-connector.ts'
import type { Config } from './config.ts'
import { openRecords } from './open-records.ts'
import type { Accelerator } from './ports/accelerator.ts'
import type { BlockStorage } from './ports/block-storage.ts'
import type { Log } from './ports/log.ts'
import type { Records } from './ports/records.ts'
import type { Publisher } from './ports/rpc.ts'

/** Cinder's own parts of the agent, where it stands in the place of cinder-backup. */
export type Cinder = {
  readonly records: Records
  /** Null where volumes are found by their paths. */
  readonly storage: BlockStorage | null
}

/** Opens them in the scope of `opened`; null with records in messages. Waits for the database. `signal`: the agent ends. */
export async function openCinder(
  config: Config,
  parts: { readonly publisher: Publisher; readonly accelerator: Accelerator | null },
  opened: AsyncDisposableStack,
  log: Log,
  signal: AbortSignal,
): Promise<Cinder | null> {
  if (config.database === null) return null
  const records = opened.use(await openRecords(config, log, signal))
  if (config.volumes.kind !== 'cinder') return { records, storage: null }
  const { transport, rabbit, declare, limits, address, attach } = config
  const bus = {
    ...{ transportUrl: transport.url, controlExchange: transport.controlExchange, rabbit, declare },
    messageBytesMax: limits.messageBytesMax,
  }
  const client = opened.use(rabbitRpcClient(bus, log))
  const storage = cinderVolumes({
    ...{ ...parts, client, connector: hostConnector(address) },
    attach: unitAttach({ ...attach, address }),
    forms: {
      ...{ backup: backupToPrimitive, volume: volumeObject, snapshot: snapshotObject },
      device: backupDeviceFrom,
    },
    // Cinder's services read it once in their life; an upgrade is seen here without a restart.
    versionPin: (within) => records.versionPin('cinder-volume', within),
    timeoutMs: limits.responseWaitMs,
    stop: signal,
  })
  return { records, storage }
}
