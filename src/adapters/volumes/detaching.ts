// How a volume leaves this host, and goes back to its backend.

import type { JsonObject } from '../../domain/json.ts'
import { delay, monotonicMs } from '../../lib/clock.ts'
import type { Asking } from '../../ports/block-storage.ts'
import type { HostAttach, HostConnection } from '../../ports/host-attach.ts'
import { type Attachable, takeBack } from './export-calls.ts'
import type { CallOptions } from './volume-calls.ts'

export type AttachOptions = CallOptions & {
  /** What is told of this host where nobody attaches to it: only local volumes can be. */
  readonly connector: JsonObject
  readonly attach: HostAttach
  /** The agent ends: what tells a job so tells no more once the job is cancelled. */
  readonly stop: AbortSignal
}

/** One volume on its way to this host and back. */
export type Attachment = {
  readonly what: Attachable
  readonly access: HostConnection['access']
  /** By which the host knows it. */
  readonly hostId: string
  readonly asking: Asking
  /** What cinder-volume was told of this host: it is to be told the same when it takes the volume back. */
  connector: JsonObject
  /** Whether this host may have it connected. */
  isOnHost: boolean
  /** Whether another process has it: then it is not ours to disconnect, nor to give back. */
  isOfOther: boolean
}

/** For how long what is refused is tried again. */
export type Patience = { readonly disconnect: number; readonly takeBack: number }

/** What was not attached, or so it seems, is not waited for long. */
const afterFailureMs = 10_000

/** A unit that starts again, or a device that somebody looks at. */
const disconnectRetryMs = 2_000

/**
 * From this host first, and only then from its backend: another volume may come to lie behind a device that
 * stays. Whatever is refused is tried again while there is patience, for a backup that is whole already must not
 * fail for it.
 */
export async function detach(
  options: AttachOptions,
  attachment: Attachment,
  patienceMs: Patience,
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
