import { setImmediate } from 'node:timers/promises'

import type { JsonObject } from '#src/domain/json.ts'
import type { Answer, Notification, Publisher, ReplyAddress } from '#src/ports/rpc.ts'

export type RecordingPublisher = Publisher & {
  readonly events: Notification[]
  readonly replies: { to: ReplyAddress; answer: Answer }[]
  readonly casts: { to: string; method: string; args: JsonObject }[]
  /** While true, nothing is confirmed. */
  isDown: boolean
}

/** A publisher over no bus at all: what it was given is what was sent. */
export function recordingPublisher(): RecordingPublisher {
  const events: Notification[] = []
  const replies: { to: ReplyAddress; answer: Answer }[] = []
  const casts: RecordingPublisher['casts'] = []

  return {
    events,
    replies,
    casts,
    isDown: false,
    get isReady() {
      return !this.isDown
    },
    async reply(to, answer) {
      replies.push({ to, answer })
      return true
    },
    async monitor() {},
    async notify(notification, signal) {
      while (this.isDown) {
        signal.throwIfAborted()
        await setImmediate()
      }
      events.push(notification)
    },
    async cast({ topic, server }, { method, args }) {
      casts.push({ to: server === null ? topic : `${topic}.${server}`, method, args })
      return true
    },
    async fanout(topic, { method, args }) {
      casts.push({ to: `${topic}_fanout`, method, args })
    },
    async [Symbol.asyncDispose]() {},
  }
}
