// A volume is attached to this host, opened, and given back when what was opened is closed.

import path from 'node:path'
import { AgentError, hasCode, toAgentError } from '../../domain/errors.ts'
import type { JsonObject } from '../../domain/json.ts'
import { delay, monotonicMs } from '../../lib/clock.ts'
import type { Asking } from '../../ports/block-storage.ts'
import type { HostAttach, HostConnection } from '../../ports/host-attach.ts'
import type { VolumeReader } from '../../ports/volumes.ts'
import { type DevicePath, locateDevice } from './device-path.ts'
import {
  type Attachable,
  attachFailed,
  type Connection,
  initializeConnection,
  takeBack,
} from './export-calls.ts'
import type { CallOptions } from './volume-calls.ts'

export type AttachOptions = CallOptions & {
  /** What is told of this host where nobody attaches to it: only local volumes can be. */
  readonly connector: JsonObject
  readonly attach: HostAttach
}

export type { Attachable }

type Access = HostConnection['access']

/** One volume on its way to this host and back. */
type Attachment = {
  readonly what: Attachable
  readonly access: Access
  /** By which the host knows it. */
  readonly hostId: string
  readonly asking: Asking
  /** What cinder-volume was told of this host: it is to be told the same when it takes the volume back. */
  connector: JsonObject
  /** Whether this host may have it connected. */
  isOnHost: boolean
}

const gibibyte = 2 ** 30

/** An agent that is told to stop is gone in ten seconds; what stays attached is attached again. */
const detachMsOfAStop = 3_000

/** What was not attached, or so it seems, is not waited for long. */
const afterFailureMs = 10_000

/** What may be connected to this host must not stay so: until the unit that was killed is there again. */
const disconnectAfterFailureMs = 60_000

/** A unit that starts again, or a device that somebody looks at. */
const disconnectRetryMs = 2_000

/**
 * Attaches, opens and, when what was opened is disposed, detaches; each volume once at a time, for one
 * that ends would take it away from the other.
 */
export function attachments(options: AttachOptions) {
  const held = new Set<string>()

  return async <Opened extends VolumeReader>(
    what: Attachable,
    access: Access,
    asking: Asking,
    signal: AbortSignal,
    open: (located: DevicePath) => Promise<Opened>,
  ): Promise<Opened> => {
    const hostId = `${what.kind}-${what.id}`
    if (held.has(hostId)) {
      const text = `${what.kind} ${what.id} is attached for another job: wait for that to end, or cancel it`
      throw new AgentError('VOLUME_IN_USE', text, { id: what.id })
    }
    held.add(hostId)
    const { connector } = options
    const attachment = { what, access, hostId, asking, connector, isOnHost: false }
    try {
      const volume = await openAttached(options, attachment, signal, open)
      const closed = onceOnly(() =>
        close(options, attachment, volume, signal).finally(() => held.delete(hostId)),
      )
      return { ...volume, [Symbol.asyncDispose]: closed }
    } catch (error) {
      held.delete(hostId)
      throw error
    }
  }
}

async function openAttached<Opened extends VolumeReader>(
  options: AttachOptions,
  attachment: Attachment,
  signal: AbortSignal,
  open: (located: DevicePath) => Promise<Opened>,
): Promise<Opened> {
  const { what, asking } = attachment
  try {
    const told = await options.attach.connector(signal)
    if (told !== null) attachment.connector = told
    const connection = await initializeConnection(
      options,
      what,
      attachment.connector,
      asking,
      signal,
    ).catch((error: unknown) => {
      throw told === null && !signal.aborted ? withoutUnit(error) : error
    })
    const devicePath = await devicePathOf(options, attachment, connection, signal)
    const volume = await open(await locate(devicePath))
    await checkSize(what, volume, asking)
    return volume
  } catch (error) {
    const patienceMs = { disconnect: disconnectAfterFailureMs, takeBack: 0 }
    await detach(options, attachment, patienceMs, lastTries(signal)).catch((reason: unknown) => {
      asking.log.warn('what could not be opened may still be attached', { error: reason })
    })
    throw error
  }
}

/** `local` is a device that is here already; every other type is connected, with root, to this host. */
async function devicePathOf(
  { attach }: AttachOptions,
  attachment: Attachment,
  { type, data }: Connection,
  signal: AbortSignal,
): Promise<string> {
  const { what, access, hostId } = attachment
  if (type === 'local') return localPath(what, data)
  attachment.isOnHost = true
  try {
    return await attach.connect({ id: hostId, type, data, access }, signal)
  } catch (error) {
    if (hasCode(error, 'CONNECTION_UNSUPPORTED')) attachment.isOnHost = false
    throw error
  }
}

/** Source: os_brick/initiator/connectors/local.py, `connect_volume`. */
function localPath(what: Attachable, { device_path: devicePath }: JsonObject): string {
  if (typeof devicePath === 'string' && path.isAbsolute(devicePath)) return devicePath
  throw attachFailed(what, 'it answered without a device_path')
}

/** A backend that needs an initiator says only that it has none. */
function withoutUnit(error: unknown): unknown {
  if (!hasCode(error, 'ATTACH_FAILED')) return error
  const { message, context } = toAgentError(error)
  const why =
    'cinder-backup-agent-attach.service is not running, so that cinder-volume was told of no initiator'
  return new AgentError('ATTACH_FAILED', `${message} (${why})`, context, error)
}

async function close(
  options: AttachOptions,
  attachment: Attachment,
  volume: VolumeReader,
  signal: AbortSignal,
): Promise<void> {
  try {
    await volume[Symbol.asyncDispose]()
  } finally {
    // A file that a network loses at its close is closed all the same.
    await giveBack(options, attachment, signal)
  }
}

async function giveBack(
  options: AttachOptions,
  attachment: Attachment,
  signal: AbortSignal,
): Promise<void> {
  try {
    const patienceMs = { disconnect: options.timeoutMs, takeBack: options.timeoutMs }
    await detach(options, attachment, patienceMs, lastTries(signal))
  } catch (error) {
    if (!isStopping(signal)) throw error
    attachment.asking.log.info('left attached for the next start', { error })
  }
}

/**
 * From this host first, and only then from its backend: another volume may come to lie behind a device that
 * stays. Whatever is refused is tried again while there is patience, for a backup that is whole already must not
 * fail for it.
 */
async function detach(
  options: AttachOptions,
  attachment: Attachment,
  patienceMs: { readonly disconnect: number; readonly takeBack: number },
  signal: AbortSignal,
): Promise<void> {
  const { what, connector, asking } = attachment
  if (attachment.isOnHost) {
    await disconnect(options, attachment, monotonicMs() + patienceMs.disconnect, signal)
    attachment.isOnHost = false
  }
  const isLastTry = patienceMs.takeBack === 0
  const within = isLastTry ? AbortSignal.any([AbortSignal.timeout(afterFailureMs), signal]) : signal
  await takeBack(options, what, connector, asking, monotonicMs() + patienceMs.takeBack, within)
}

/** What was written is safe already: it is synced before a restore ends. Source: cinder/backup/manager.py, `_detach_device`. */
async function disconnect(
  { attach }: AttachOptions,
  { hostId, access, asking }: Attachment,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<void> {
  while (true) {
    try {
      return await attach.disconnect(hostId, { ignoreErrors: access === 'read' }, signal)
    } catch (error) {
      if (signal.aborted || monotonicMs() + disconnectRetryMs > deadlineMs) throw error
      asking.log.debug('not disconnected yet', { error })
    }
    await delay(disconnectRetryMs, signal)
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

/** The path is cinder-volume's word; that a device or a file is there, and no link leads astray, is ours. */
async function locate(devicePath: string): Promise<DevicePath> {
  const located = await locateDevice(path.normalize(devicePath), ['/'])
  if ('kind' in located) return located
  throw new AgentError(
    'VOLUME_NOT_FOUND',
    `cinder-volume says ${located.path}, which is not on this host (${located.reason}): run the agent on the node of cinder-volume`,
    { tried: [located] },
  )
}
