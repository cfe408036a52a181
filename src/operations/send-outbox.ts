import { AgentError } from '../domain/errors.ts'
import type { JobOutcome } from '../domain/job.ts'
import { bell } from '../lib/bell.ts'
import { delay } from '../lib/clock.ts'
import type { Outbox, PendingReply } from '../ports/journal.ts'
import type { Log } from '../ports/log.ts'
import type { Answer, Publisher } from '../ports/rpc.ts'

type Deps = { readonly outbox: Outbox; readonly publisher: Publisher; readonly log: Log }

const batchMax = 16

/** How long an outbox that cannot be read or written, or a failed message, is left alone. */
const retryMs = 1000

/**
 * Sends what the journal's transactions left behind, until `signal` aborts: events one by one in
 * their order, each removed once the broker has it (decision D25), and replies beside them, so that a
 * caller who is gone keeps nobody waiting.
 */
export async function sendOutbox(deps: Deps, signal: AbortSignal): Promise<void> {
  const news = bell()
  deps.outbox.onEntry(news.ring)
  const events = eventSender(deps)
  const replies = replySender(deps, signal)
  let isTold = false
  while (!signal.aborted) {
    const seen = news.count
    try {
      replies.sendNew()
      await events.sendAll(signal)
      isTold = false
      await news.rungAfter(seen, signal)
    } catch (error) {
      if (signal.aborted) break
      if (!isTold) deps.log.warn('cannot send from the outbox, trying on', { error })
      isTold = true
      await delay(retryMs, signal).catch(() => undefined)
    }
  }
  await replies.settled()
}

/** An event that the broker has, but whose row could not be removed, is not sent again. */
function eventSender({ outbox, publisher }: Deps) {
  let confirmed = 0
  return {
    async sendAll(signal: AbortSignal): Promise<void> {
      while (true) {
        const entries = outbox.events(batchMax)
        if (entries.length === 0) return
        for (const { position, notification } of entries) {
          signal.throwIfAborted()
          if (position > confirmed) await publisher.notify(notification, signal)
          confirmed = Math.max(confirmed, position)
          outbox.eventSent(position)
        }
      }
    },
  }
}

/** Each pending reply is tried on its own; one that was not delivered in its time is given up. */
function replySender({ outbox, publisher, log }: Deps, signal: AbortSignal) {
  const underWay = new Map<number, Promise<void>>()
  const settledReplies = new Set<number>() // Their rows may still be there.

  async function send({ position, replyTo, outcome }: PendingReply): Promise<void> {
    try {
      if (!settledReplies.has(position)) {
        const isDelivered = await publisher.reply(replyTo, answerOf(outcome), signal)
        if (!isDelivered)
          log.warn('a caller is gone: its reply was dropped', { queue: replyTo.queue })
        settledReplies.add(position)
      }
      outbox.replySent(position)
      settledReplies.delete(position)
    } catch (error) {
      if (!signal.aborted) log.warn('cannot send a reply', { error, queue: replyTo.queue })
    }
  }

  return {
    sendNew() {
      for (const reply of outbox.replies()) {
        if (underWay.has(reply.position)) continue
        const sending = send(reply).finally(() => underWay.delete(reply.position))
        underWay.set(reply.position, sending)
      }
    },
    async settled() {
      await Promise.allSettled(underWay.values())
    },
  }
}

function answerOf(outcome: JobOutcome): Answer {
  if (outcome.kind === 'done') return { result: null }
  const { code, message } =
    outcome.kind === 'failed'
      ? outcome
      : { code: 'OPERATION_CANCELLED' as const, message: 'cancelled by a later request' }
  return { failure: new AgentError(code, message) }
}
