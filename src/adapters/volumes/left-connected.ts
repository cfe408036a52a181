import { AgentError, toAgentError } from '../../domain/errors.ts'
import { every } from '../../lib/every.ts'
import { type SingleFlight, singleFlight } from '../../lib/single-flight.ts'
import { type Attachment, type AttachOptions, detach } from './detaching.ts'

/** As often as the unit tries what it could not disconnect. */
const retryMs = 60_000

export type LeftConnected = {
  has(hostId: string): boolean
  /** Takes what is to be given back later. */
  keep(attachment: Attachment): void
  /** Gives it back now, where it was left. Rejects with ATTACH_FAILED where it is still connected. */
  giveBack(hostId: string, signal: AbortSignal): Promise<void>
  /** Tries to give back all that is left, each minute until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}

/**
 * What could not be disconnected from this host when its job ended: the unit was away, or the device busy. The
 * unit lets nothing go that a process has which lives, and only who attached a volume gives it back.
 */
export function leftConnected(options: AttachOptions, everyMs = retryMs): LeftConnected {
  const left = new Map<string, SingleFlight<void>>()

  async function tryOnce(attachment: Attachment, signal: AbortSignal): Promise<void> {
    const { hostId, asking } = attachment
    const patienceMs = { disconnect: 0, takeBack: options.timeoutMs }
    try {
      await detach(options, attachment, patienceMs, signal)
      asking.log.info('given back at last', { id: hostId })
    } catch (error) {
      if (signal.aborted) throw error
      if (attachment.isOnHost) {
        asking.log.warn('connected to this host still, trying on', { id: hostId, error })
        throw error
      }
      asking.log.error('disconnected at last, and still exported', { id: hostId, error })
    }
    left.delete(hostId)
  }

  return {
    has: (hostId) => left.has(hostId),
    keep(attachment) {
      const { hostId } = attachment
      left.set(
        hostId,
        singleFlight((signal) => tryOnce(attachment, signal)),
      )
    },
    async giveBack(hostId, signal) {
      try {
        await left.get(hostId)?.join(signal)
      } catch (error) {
        signal.throwIfAborted()
        const why = toAgentError(error).message
        const text = `${hostId} is connected to this host still, from an earlier job: ${why}`
        throw new AgentError('ATTACH_FAILED', text, { id: hostId }, error)
      }
    },
    async run(signal) {
      await every(everyMs, signal, async () => {
        const tries = [...left.values()].map((one) => one.join(signal))
        await Promise.allSettled(tries)
      })
      await Promise.all([...left.values()].map((one) => one[Symbol.asyncDispose]()))
    },
  }
}
