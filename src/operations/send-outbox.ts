import { AgentError } from '../domain/errors.ts'
import type { JobOutcome } from '../domain/job.ts'
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
  const news = newsOf(deps.outbox)
  const replies = replySender(deps, signal)
  while (!signal.aborted) {
    const seen = news.count()
    try {
      replies.sendNew()
      await sendEvents(deps, signal)
    } catch (error) {
      if (signal.aborted) break
      deps.log.warn('cannot send from the outbox, trying again', { error })
      await delay(retryMs, signal).catch(() => undefined)
      continue
    }
    await news.after(seen, signal)
  }
  await replies.settled()
}

async function sendEvents({ outbox, publisher }: Deps, signal: AbortSignal): Promise<void> {
  while (true) {
    const entries = outbox.events(batchMax)
    if (entries.length === 0) return
    for (const { position, notification } of entries) {
      signal.throwIfAborted()
      await publisher.notify(notification, signal)
      outbox.eventSent(position)
    }
  }
}

/** Each pending reply is tried on its own; one that was not delivered in its time is given up. */
function replySender({ outbox, publisher, log }: Deps, signal: AbortSignal) {
  const underWay = new Map<number, Promise<void>>()

  async function send({ position, replyTo, outcome }: PendingReply): Promise<void> {
    try {
      const isDelivered = await publisher.reply(replyTo, answerOf(outcome), signal)
      if (!isDelivered)
        log.warn('a caller is gone: its reply was dropped', { queue: replyTo.queue })
      outbox.replySent(position)
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

/** Counts what was announced, so that nothing announced while we were busy is slept over. */
function newsOf(outbox: Outbox) {
  let count = 0
  let wake: (() => void) | null = null
  outbox.onEntry(() => {
    count += 1
    wake?.()
  })
  return {
    count: () => count,
    async after(seen: number, signal: AbortSignal): Promise<void> {
      if (count !== seen || signal.aborted) return
      await new Promise<void>((resolve) => {
        const done = () => {
          signal.removeEventListener('abort', done)
          wake = null
          resolve()
        }
        wake = done
        signal.addEventListener('abort', done, { once: true })
      })
    },
  }
}
