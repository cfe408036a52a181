// A volume is attached to this host, opened, and given back when what was opened is closed.

import path from 'node:path'
import { AgentError, hasCode, toAgentError } from '../../domain/errors.ts'
import type { JsonObject } from '../../domain/json.ts'
import type { Asking } from '../../ports/block-storage.ts'
import type { HostConnection } from '../../ports/host-attach.ts'
import type { VolumeReader } from '../../ports/volumes.ts'
import { type Attachment, type AttachOptions, detach } from './detaching.ts'
import { type DevicePath, locateDevice } from './device-path.ts'
import {
  type Attachable,
  attachFailed,
  type Connection,
  initializeConnection,
} from './export-calls.ts'
import { leftConnected } from './left-connected.ts'
import { isStopping, lastTries, stopReason, untilStop } from './stop-signal.ts'

const gibibyte = 2 ** 30

/** What may be connected to this host must not stay so: until the unit that was killed is there again. */
const disconnectAfterFailureMs = 60_000

export type Attachments = {
  /**
   * Attaches, opens and, when what was opened is disposed, detaches; each volume once at a time, for one
   * that ends would take it away from the other.
   */
  open<Opened extends VolumeReader>(
    what: Attachable,
    access: HostConnection['access'],
    asking: Asking,
    signal: AbortSignal,
    open: (located: DevicePath) => Promise<Opened>,
  ): Promise<Opened>
  /** Rejects where this host has it, as far as is known: in this life or, as the unit says, in an earlier one. */
  checkReleased(what: Pick<Attachable, 'kind' | 'id'>, signal: AbortSignal): Promise<void>
  /** Gives back what could not be disconnected before, tried each minute until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}

export function attachments(options: AttachOptions & { readonly retryMs?: number }): Attachments {
  const held = new Set<string>()
  const left = leftConnected(options, options.retryMs)

  function release(attachment: Attachment): void {
    if (attachment.isOnHost) left.keep(attachment)
    held.delete(attachment.hostId)
  }

  return {
    async open(what, access, asking, signal, open) {
      const hostId = `${what.kind}-${what.id}`
      if (held.has(hostId)) throw inUse(what)
      held.add(hostId)
      const { connector } = options
      const attachment = {
        ...{ what, access, hostId, asking, connector },
        ...{ isOnHost: false, isOfOther: false },
      }
      try {
        await left.giveBack(hostId, signal)
        const volume = await openAttached(options, attachment, signal, open)
        const closed = onceOnly(() =>
          close(options, attachment, volume, signal).finally(() => release(attachment)),
        )
        return { ...volume, [Symbol.asyncDispose]: closed }
      } catch (error) {
        release(attachment)
        throw error
      }
    },
    async checkReleased({ kind, id }, signal) {
      const hostId = `${kind}-${id}`
      if (held.has(hostId) || left.has(hostId)) throw stillHere({ kind, id })
      try {
        await options.attach.disconnect(hostId, { ignoreErrors: true }, signal)
      } catch (error) {
        // Where nobody attaches nothing was attached, as far as anybody can tell.
        if ((await options.attach.connector(signal)) !== null) throw error
      }
    },
    run: left.run,
  }
}

function stillHere({ kind, id }: Pick<Attachable, 'kind' | 'id'>): AgentError {
  const text = `${kind} ${id} is attached to this host still, and is left until it is disconnected`
  return new AgentError('DETACH_FAILED', text, { id })
}

function inUse({ kind, id }: Attachable): AgentError {
  const text = `${kind} ${id} is attached for another job: wait for that to end, or cancel it`
  return new AgentError('VOLUME_IN_USE', text, { id })
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
    using uncancelled = untilStop(signal, options.stop)
    const connection = await initializeConnection(
      options,
      what,
      attachment.connector,
      asking,
      signal,
      uncancelled.signal,
    ).catch((error: unknown) => {
      throw told === null && !signal.aborted ? withoutUnit(error) : error
    })
    const devicePath = await devicePathOf(options, attachment, connection, signal)
    const volume = await open(await locate(devicePath))
    await checkSize(what, volume, asking)
    return volume
  } catch (error) {
    const patienceMs = { disconnect: disconnectAfterFailureMs, takeBack: 0 }
    if (attachment.isOfOther) throw error
    using last = lastTries(signal, options.stop)
    await detach(options, attachment, patienceMs, last.signal).catch((reason: unknown) => {
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
    attachment.isOfOther = hasCode(error, 'VOLUME_IN_USE')
    if (attachment.isOfOther || hasCode(error, 'CONNECTION_UNSUPPORTED'))
      attachment.isOnHost = false
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

/** A job that has not given its volume back when the agent stops has not ended: its next start attaches it again, and does. */
async function giveBack(
  options: AttachOptions,
  attachment: Attachment,
  signal: AbortSignal,
): Promise<void> {
  const { stop, timeoutMs } = options
  using last = lastTries(signal, stop)
  try {
    await detach(options, attachment, { disconnect: timeoutMs, takeBack: timeoutMs }, last.signal)
  } catch (error) {
    if (!isStopping(signal, stop)) throw error
    const { hostId: id, asking } = attachment
    if (signal.reason === stopReason(signal, stop)) {
      asking.log.info('left attached for the next start', { id, error })
    } else {
      asking.log.error('the job was cancelled and the agent stops: it stays exported', {
        id,
        error,
      })
    }
    throw stopReason(signal, stop)
  }
}

function onceOnly(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | null = null
  return () => {
    done ??= work()
    return done
  }
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
