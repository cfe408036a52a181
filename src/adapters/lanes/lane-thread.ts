import { Worker } from 'node:worker_threads'

import type { FromLane, ToLane } from './lane-messages.ts'

/** One thread that does tasks, as the main thread sees it. */
export interface LaneThread {
  send(message: ToLane): void
  /** Ends the thread at once. Resolves when it is gone. */
  end(): Promise<void>
}

export type LaneThreadOptions = {
  /** The module that the thread runs, and the plain data that it gets. */
  readonly entry: URL
  readonly data: unknown
  readonly onMessage: (message: FromLane) => void
  /** It ended without being told to, for the reason given. */
  readonly onLost: (reason: unknown) => void
}

export function laneThread({ entry, data, onMessage, onLost }: LaneThreadOptions): LaneThread {
  const worker = new Worker(entry, { workerData: data, name: 'lane' })
  let isEnding = false
  let reason: unknown = new Error('the thread ended')
  worker.on('message', onMessage)
  worker.on('messageerror', (error) => {
    reason = error
    void worker.terminate()
  })
  worker.on('error', (error) => {
    reason = error
  })
  worker.on('exit', () => {
    if (!isEnding) onLost(reason)
  })
  return {
    send: (message) => worker.postMessage(message),
    async end() {
      isEnding = true
      await worker.terminate()
    },
  }
}
