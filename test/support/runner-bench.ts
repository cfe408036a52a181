import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { Job, JobRequest } from '#src/domain/job.ts'
import type { Operations, RunOperation } from '#src/operations/operation.ts'
import { resetStatus } from '#src/operations/reset-status.ts'
import { noRows, type Rows } from '#src/operations/rows.ts'
import { jobRunner } from '#src/operations/run-jobs.ts'
import { aDelivery } from './builders.ts'
import { recordingPublisher } from './recording-publisher.ts'

/** A runner over a memory journal, whose operations are the test's. */
export function runnerBench(
  operations: Partial<Operations>,
  jobsMax = 4,
  journal = memoryJournal(),
  rows: Rows = noRows,
  authWaitMs = 0,
  leftMs = 600_000,
) {
  const publisher = recordingPublisher()
  const stop = new AbortController()
  const never: RunOperation = async () => ({ record: {} })
  const forgotten: string[] = []
  const work = { forget: async (jobId: string) => void forgotten.push(jobId) }
  const runner = jobRunner({
    journal,
    outbox: journal,
    publisher,
    work,
    rows,
    operations: {
      ...{ create: never, restore: never, delete: never, import: never },
      reset_status: resetStatus,
      ...operations,
    },
    host: 'host-1',
    jobsMax,
    authWaitMs,
    leftMs,
    log: recordingLog(),
    maskSecrets: (text) => text.replaceAll('s3cret', '***'),
    moved: () => undefined,
    onCount: () => undefined,
  })
  const running = runner.run(stop.signal)

  return {
    journal,
    runner,
    /** The jobs whose kept files were removed. */
    forgotten,
    ask(request: JobRequest): Job {
      const acceptance = journal.accept(aDelivery(request))
      assert.ok(acceptance.kind === 'new')
      runner.take(acceptance.job)
      return acceptance.job
    },
    /** Resolves when no job is in hand. */
    async idle() {
      while (runner.count > 0) await setImmediate()
    },
    events: () => journal.events(99).map(({ notification }) => notification),
    async stop() {
      stop.abort(new AgentError('AGENT_STOPPING', 'stopping'))
      await running
    },
  }
}

/** Rejects as an operation does when its signal aborts. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) return reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

export const types = (events: readonly { eventType: string }[]) =>
  events.map((event) => event.eventType)
