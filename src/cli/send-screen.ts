import process from 'node:process'

import { SingleBar } from 'cli-progress'

import type { Json } from '../domain/json.ts'
import type { Heard } from './follow-events.ts'

/** What `send` shows: lines on stdout, a progress bar on a terminal's stderr. */
export type Screen = Disposable & {
  /** No agent has taken the request yet. */
  queued(): void
  accepted(method: string, backupId: string | null, answer: Json): void
  heard(event: Heard): void
  done(event: Heard, isWell: boolean): void
}

/** One JSON object a line, for scripts: `message_type` is `accepted`, then each event's kind. */
export function jsonScreen(): Screen {
  const line = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`)
  return {
    queued: () => line({ message_type: 'queued' }),
    accepted: (method, backupId, answer) =>
      line({ message_type: 'accepted', method, backup_id: backupId, answer }),
    heard: ({ kind, payload }) => line({ message_type: kind, ...payload }),
    done: () => undefined,
    [Symbol.dispose]() {},
  }
}

/** Words for a person: a bar for the progress where there is a terminal, a line for each other event. */
export function plainScreen(): Screen {
  const bar = process.stderr.isTTY ? progressBar() : null
  const line = (text: string) => process.stdout.write(`${text}\n`)
  return {
    queued: () => line('no agent has room for it yet: it waits in the queue'),
    accepted(method, backupId, answer) {
      line(backupId === null ? JSON.stringify(answer) : `${method} of backup ${backupId} accepted`)
    },
    heard(event) {
      if (event.kind === 'progress') {
        bar?.show(event)
        return
      }
      bar?.stop()
      line(notificationLine(event))
    },
    done({ payload }, isWell) {
      if (isWell) return
      const code = payload['code'] ?? 'OPERATION_CANCELLED'
      const message = payload['message'] ?? `backup is ${payload['status']}`
      process.stderr.write(`failed: ${code}: ${message}\n`)
    },
    // Whatever ends the waiting: a bar that is left would hold the process and hide the cursor.
    [Symbol.dispose]: () => bar?.stop(),
  }
}

/** The fields that a person looks for, of the many that a notification has. */
function notificationLine({ eventType, payload }: Heard): string {
  const shown = ['status', 'host', 'size', 'service_metadata', 'code']
    .filter((key) => (payload[key] ?? null) !== null)
    .map((key) => `${key}=${payload[key]}`)
  return `notification ${eventType} ${shown.join(' ')}`
}

function progressBar() {
  const format = '{bar} {percentage}% | {rate} MB/s | {left} s left'
  const bar = new SingleBar({ format, hideCursor: true, clearOnComplete: false })
  let isShown = false
  return {
    show({ payload }: Heard) {
      const percent = Number(payload['backup_percent'] ?? 0)
      const rate = (Number(payload['bytes_per_second'] ?? 0) / 1e6).toFixed(1)
      const values = { rate, left: payload['seconds_left'] ?? '?' }
      if (isShown) bar.update(percent, values)
      else bar.start(100, percent, values)
      isShown = true
    },
    stop() {
      if (isShown) bar.stop()
      isShown = false
    },
  }
}
