import type { BackupWithParents } from '../../domain/backup-record.ts'
import { AgentError } from '../../domain/errors.ts'
import type { BackupDevice } from '../../domain/job.ts'
import type { Json, JsonObject } from '../../domain/json.ts'
import { isCompatible } from '../../domain/rpc-version.ts'
import type { Accelerator } from '../../ports/accelerator.ts'
import type { BlockStorage } from '../../ports/block-storage.ts'
import type { Columns, SnapshotRow, VolumeRow } from '../../ports/records.ts'
import { attachments } from './attachments.ts'
import type { AttachOptions } from './detaching.ts'
import type { Attachable } from './export-calls.ts'
import { openReader, openWriter } from './open-device.ts'
import { openOnce } from './open-once.ts'
import { call, castsOf, type Target } from './volume-calls.ts'

export type CinderVolumesOptions = AttachOptions & {
  /** The form in which Cinder's services send each other what rows hold. */
  readonly forms: {
    readonly backup: (backup: BackupWithParents) => JsonObject
    readonly volume: (columns: Columns) => JsonObject
    readonly snapshot: (columns: Columns) => JsonObject
    readonly device: (answer: Json) => BackupDevice
  }
  /** The lowest RPC version of Cinder's volume services; null where none says one. */
  readonly versionPin: (signal: AbortSignal) => Promise<string | null>
  readonly accelerator: Accelerator | null
  /** How often what could not be disconnected is tried again. Others than a minute: tests. */
  readonly retryMs?: number
}

/** From which on `get_backup_device` answers by `continue_backup`, and before. Source: cinder/volume/rpcapi.py. */
const castVersion = '3.17'
const callVersion = '3.2'

/**
 * Volumes by way of cinder-volume: asked for over RPC, attached, and opened as the devices of this host that they are.
 * Source: cinder/backup/manager.py, `_attach_device`; cinder/volume/rpcapi.py.
 */
export function cinderVolumes(options: CinderVolumesOptions): BlockStorage {
  const { accelerator, forms } = options
  const written = new Set<string>()
  const cast = castsOf(options)
  const attached = attachments(options)

  return {
    async requestDevice(backup, volume, asking, signal) {
      const method = 'get_backup_device'
      const args = { backup: forms.backup(backup), want_objects: true }
      const pin = await options.versionPin(signal)
      if (pin === null || isCompatible(pin, castVersion)) {
        const more = { ...args, async_call: true }
        await cast(targetOf(volume), method, castVersion, asking, signal, more)
        return null
      }
      const called = { method, version: callVersion, args, context: asking.context }
      return forms.device(await call(options, targetOf(volume), called, signal))
    },

    madeDevice: (made) => deviceOfRow(made, forms),

    openSource: async (device, volume, asking, signal) =>
      attached.open(sourceOf(device, volume), 'read', asking, signal, (located) =>
        openReader(located, { accelerator, signal }),
      ),

    openTarget: async (volume, asking, signal) =>
      attached.open(
        targetVolume(volume, forms.volume(volume.columns)),
        'write',
        asking,
        signal,
        (located) =>
          openOnce(written, located, (onClose) =>
            openWriter(located, { accelerator, signal }, onClose),
          ),
      ),

    checkReleased: attached.checkReleased,
    run: attached.run,

    async detachVolume(volume, attachmentId, { context }, signal) {
      const args = {
        ...{ volume_id: volume.id, attachment_id: attachmentId },
        volume: forms.volume(volume.columns),
      }
      const called = { method: 'detach_volume', version: '3.4', args, context }
      await call(options, targetOf(volume), called, signal)
    },

    deleteVolume: (volume, asking, signal) =>
      cast(targetOf(volume), 'delete_volume', '3.0', asking, signal, {
        volume: forms.volume(volume.columns),
        unmanage_only: false,
        cascade: false,
      }),

    deleteSnapshot: (snapshot, volume, asking, signal) =>
      cast(targetOf(volume), 'delete_snapshot', '3.0', asking, signal, {
        snapshot: forms.snapshot(snapshot.columns),
        unmanage_only: false,
      }),
  }
}

/**
 * Where a volume's service listens: the backend's topic, on its node.
 * Source: cinder/volume/rpcapi.py, `_get_cctxt`; cinder/volume/volume_utils.py, `extract_host`.
 */
function targetOf({ host, cluster_name: cluster, id }: HostedVolume): Target {
  const service = (cluster || host || '').split('#')[0] ?? ''
  if (service === '') {
    const what = `volume ${id} is on no host: it was never made, or its service is gone`
    throw new AgentError('ATTACH_FAILED', what, { volumeId: id })
  }
  return { topic: `cinder-volume.${service}`, server: service.split('@')[0] ?? service }
}

type HostedVolume = Pick<VolumeRow, 'id' | 'host' | 'cluster_name'>

function deviceOfRow(
  made: { readonly volume: VolumeRow } | { readonly snapshot: SnapshotRow },
  forms: CinderVolumesOptions['forms'],
): BackupDevice {
  if ('snapshot' in made) {
    const { id, columns } = made.snapshot
    const sizeGib = Number(columns['volume_size'])
    const object = forms.snapshot(columns)
    return { kind: 'snapshot', id, sizeGib, host: null, clusterName: null, object }
  }
  const { id, size: sizeGib, host, cluster_name: clusterName, columns } = made.volume
  return { kind: 'volume', id, sizeGib, host, clusterName, object: forms.volume(columns) }
}

function targetVolume(volume: VolumeRow, object: JsonObject): Attachable {
  const { id, size: sizeGib } = volume
  return { kind: 'volume', id, sizeGib, object, target: targetOf(volume) }
}

/** What is temporary may be elsewhere than its volume; a snapshot never is. */
function sourceOf({ kind, id, sizeGib, object, ...at }: BackupDevice, of: VolumeRow): Attachable {
  const hosted = kind === 'volume' ? { id, host: at.host, cluster_name: at.clusterName } : of
  return { kind, id, sizeGib, object, target: targetOf(hosted) }
}
