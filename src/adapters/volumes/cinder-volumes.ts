import path from 'node:path'
import type { BackupWithParents } from '../../domain/backup-record.ts'
import { AgentError, hasCode, toAgentError } from '../../domain/errors.ts'
import type { BackupDevice } from '../../domain/job.ts'
import { isJsonObject, type Json, type JsonObject } from '../../domain/json.ts'
import { monotonicMs } from '../../lib/clock.ts'
import type { Accelerator } from '../../ports/accelerator.ts'
import type { Asking, BlockStorage } from '../../ports/block-storage.ts'
import type { Columns, SnapshotRow, VolumeRow } from '../../ports/records.ts'
import type { VolumeReader } from '../../ports/volumes.ts'
import { locateDevice } from './device-path.ts'
import { openReader, openWriter } from './open-device.ts'
import { openOnce } from './open-once.ts'
import { type CallOptions, call, callUntil, castsOf, type Target } from './volume-calls.ts'

export type CinderVolumesOptions = CallOptions & {
  /** The form in which Cinder's services send each other what rows hold. */
  readonly forms: {
    readonly backup: (backup: BackupWithParents) => JsonObject
    readonly volume: (columns: Columns) => JsonObject
    readonly snapshot: (columns: Columns) => JsonObject
  }
  /** What is told of this host. */
  readonly connector: JsonObject
  readonly accelerator: Accelerator | null
}

/** A volume or a snapshot as the methods of cinder-volume name it. */
type Attachable = {
  readonly kind: 'volume' | 'snapshot'
  readonly id: string
  readonly sizeGib: number
  readonly object: JsonObject
  readonly target: Target
}

const gibibyte = 2 ** 30

/** An agent that is told to stop is gone in ten seconds; what stays attached is attached again. */
const detachMsOfAStop = 3_000

/** What was not attached, or so it seems, is not waited for long. */
const afterFailureMs = 10_000

/**
 * Volumes by way of cinder-volume: asked for over RPC, opened as the devices of this host that they are.
 * Of the ways in which it may export one, `local` is attached: the device is here already.
 * Source: cinder/backup/manager.py, `_attach_device`; cinder/volume/rpcapi.py.
 */
export function cinderVolumes(options: CinderVolumesOptions): BlockStorage {
  const { accelerator, forms } = options
  const written = new Set<string>()
  const cast = castsOf(options)

  return {
    requestDevice: (backup, volume, asking, signal) =>
      cast(targetOf(volume), 'get_backup_device', '3.17', asking, signal, {
        backup: forms.backup(backup),
        want_objects: true,
        async_call: true,
      }),

    madeDevice: (made) => deviceOfRow(made, forms),

    async openSource(device, volume, asking, signal) {
      const source = sourceOf(device, volume)
      return attached(options, source, asking, signal, async (devicePath) => {
        const located = await locate(devicePath)
        return openReader(located, { accelerator, signal })
      })
    },

    async openTarget(volume, asking, signal) {
      return attached(
        options,
        targetVolume(volume, forms.volume(volume.columns)),
        asking,
        signal,
        async (devicePath) => {
          const located = await locate(devicePath)
          return openOnce(written, located, (onClose) =>
            openWriter(located, { accelerator, signal }, onClose),
          )
        },
      )
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
  const service = (cluster ?? host ?? '').split('#')[0] ?? ''
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

/** Attaches, opens and, when what was opened is disposed, detaches. */
async function attached<Opened extends VolumeReader>(
  options: CinderVolumesOptions,
  what: Attachable,
  asking: Asking,
  signal: AbortSignal,
  open: (devicePath: string) => Promise<Opened>,
): Promise<Opened> {
  const detach = (patienceMs: number, within: AbortSignal) =>
    detachFrom(options, what, asking, patienceMs, within)
  try {
    const connection = await connect(options, what, asking, signal)
    const volume = await open(localPath(what, connection))
    await checkSize(what, volume, asking)
    return {
      ...volume,
      [Symbol.asyncDispose]: onceOnly(() =>
        close(volume, (within) => detach(options.timeoutMs, within), asking, signal),
      ),
    }
  } catch (error) {
    const within = AbortSignal.any([AbortSignal.timeout(afterFailureMs), lastTries(signal)])
    await detach(0, within).catch((reason: unknown) => {
      asking.log.warn('what could not be opened may still be attached', { error: reason })
    })
    throw error
  }
}

async function close(
  volume: VolumeReader,
  detach: (signal: AbortSignal) => Promise<void>,
  { log }: Asking,
  signal: AbortSignal,
): Promise<void> {
  await volume[Symbol.asyncDispose]()
  try {
    await detach(lastTries(signal))
  } catch (error) {
    if (!isStopping(signal)) throw error
    log.info('left attached for the next start', { error })
  }
}

function onceOnly(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | null = null
  return () => {
    done ??= work()
    return done
  }
}

/** For what must be done although nobody waits for the job any more; not for long once the agent stops. */
function lastTries(signal: AbortSignal): AbortSignal {
  const end = new AbortController()
  const hurry = () => {
    if (!isStopping(signal)) return
    const over = AbortSignal.timeout(detachMsOfAStop)
    over.addEventListener('abort', () => end.abort(signal.reason), { once: true })
  }
  if (signal.aborted) hurry()
  else signal.addEventListener('abort', hurry, { once: true })
  return end.signal
}

function isStopping({ aborted, reason }: AbortSignal): boolean {
  return aborted && !hasCode(reason, 'OPERATION_CANCELLED')
}

async function checkSize(
  { kind, id, sizeGib }: Attachable,
  volume: VolumeReader,
  { log }: Asking,
): Promise<void> {
  const { path: devicePath, sizeBytes } = volume
  if (sizeBytes > sizeGib * gibibyte) {
    log.warn('the device is longer than its size says', { path: devicePath, sizeBytes, sizeGib })
  }
  if (sizeBytes >= sizeGib * gibibyte) return
  await volume[Symbol.asyncDispose]()
  throw new AgentError(
    'VOLUME_INVALID_SIZE',
    `${devicePath} of ${kind} ${id} has ${sizeBytes} bytes, less than its ${sizeGib} GiB`,
    { path: devicePath, sizeBytes, sizeGib },
  )
}

type Connection = { readonly type: string; readonly data: JsonObject }

async function connect(
  options: CinderVolumesOptions,
  what: Attachable,
  { context }: Asking,
  signal: AbortSignal,
): Promise<Connection> {
  const { kind, id, object } = what
  const { connector } = options
  const isVolume = kind === 'volume'
  const [method, version, args] = isVolume
    ? (['initialize_connection', '3.0', { connector, volume: object }] as const)
    : (['initialize_connection_snapshot', '3.13', { snapshot_id: id, connector }] as const)
  let answer: Json
  try {
    answer = await call(options, what.target, { method, version, args, context }, signal)
  } catch (error) {
    if (signal.aborted) throw error
    throw attachFailed(what, toAgentError(error).message, error)
  }
  const { driver_volume_type: type, data } = isJsonObject(answer) ? answer : {}
  if (typeof type === 'string' && isJsonObject(data ?? null)) {
    return { type, data: data as JsonObject }
  }
  throw attachFailed(what, 'it answered without driver_volume_type and data')
}

/** Source: os_brick/initiator/connectors/local.py, `connect_volume`. */
function localPath(what: Attachable, { type, data }: Connection): string {
  if (type !== 'local') {
    throw new AgentError(
      'CONNECTION_UNSUPPORTED',
      `${what.kind} ${what.id} is exported as ${type.slice(0, 40)}, and only local volumes can be attached: run the agent on the node that has it`,
      { driverVolumeType: type },
    )
  }
  const { device_path: devicePath } = data
  if (typeof devicePath === 'string' && path.isAbsolute(devicePath)) return devicePath
  throw attachFailed(what, 'it answered without a device_path')
}

/** The path is cinder-volume's word; that a device or a file is there, and no link leads astray, is ours. */
async function locate(devicePath: string) {
  const located = await locateDevice(path.normalize(devicePath), ['/'])
  if ('kind' in located) return located
  throw new AgentError(
    'VOLUME_NOT_FOUND',
    `cinder-volume says ${located.path}, which is not on this host (${located.reason}): run the agent on the node of cinder-volume`,
    { tried: [located] },
  )
}

/**
 * Gives it back, by force: nobody else has it by this connector. What is refused is tried again for
 * `patienceMs`, for a backup that is whole already must not fail for it; both methods may be repeated.
 */
async function detachFrom(
  options: CinderVolumesOptions,
  { kind, id, target }: Attachable,
  { context, log }: Asking,
  patienceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { connector } = options
  const isVolume = kind === 'volume'
  const version = isVolume ? '3.0' : '3.13'
  const named = isVolume ? { volume_id: id } : { snapshot_id: id }
  const suffix = isVolume ? '' : '_snapshot'
  const errors: unknown[] = []
  const deadlineMs = monotonicMs() + patienceMs
  const steps = [
    [`terminate_connection${suffix}`, { ...named, connector, force: true }],
    [`remove_export${suffix}`, named],
  ] as const
  for (const [method, args] of steps) {
    const called = { method, version, args, context }
    try {
      await callUntil(deadlineMs, options, target, called, signal)
    } catch (error) {
      log.warn('not detached', { method, error })
      errors.push(error)
    }
  }
  const [first] = errors
  if (first === undefined) return
  throw new AgentError(
    'DETACH_FAILED',
    `cinder-volume does not take ${kind} ${id} back: ${toAgentError(first).message}`,
    { id },
    first,
  )
}

function attachFailed({ kind, id }: Attachable, why: string, cause?: unknown): AgentError {
  const what = `cinder-volume does not give ${kind} ${id} to this host: ${why}`
  return new AgentError('ATTACH_FAILED', what, { id }, cause)
}
