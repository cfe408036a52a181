import assert from 'node:assert/strict'

import type { Operation } from '#src/domain/job.ts'
import type { Json } from '#src/domain/json.ts'
import { type Heard, isFinal } from './steady-peer.ts'

/** What the bus was told of one run of one operation, each event once, in the order of arrival. */
export type SeenRun = {
  readonly run: string
  readonly operation: Operation
  readonly backupId: string
  readonly events: readonly Heard[]
  readonly final: Heard
  /** Copies beyond the first of each event. */
  readonly copies: number
}

/**
 * The runs that events tell of. Fails unless each began once, ended once, told of nothing after its
 * end, counted upwards, and said the same in each copy of an event.
 */
export function runsOf(heard: readonly Heard[]): readonly SeenRun[] {
  const byRun = Map.groupBy(heard, ({ payload }) => String(payload['run']))
  return [...byRun].map(([run, all]) => seenRun(run, all))
}

function seenRun(run: string, all: readonly Heard[]): SeenRun {
  const byMessage = Map.groupBy(all, ({ messageId }) => messageId)
  for (const copies of byMessage.values()) {
    assert.equal(new Set(copies.map(({ body }) => body)).size, 1, 'copies of an event differ')
  }
  const events = [...byMessage.values()].flatMap(([first]) => first ?? [])
  const told = events.map(({ eventType, payload }) => `${eventType} ${payload['sequence']}`)
  const finals = events.filter(({ eventType }) => isFinal(eventType))
  const [final] = finals
  assert.ok(final !== undefined && finals.length === 1, `run ${run} has not one end: ${told}`)
  assert.equal(events.at(-1), final, `run ${run} tells of something after its end: ${told}`)

  const starts = events.filter(({ eventType }) => eventType.endsWith('.start'))
  const isRefusal = starts.length === 0 && events.length === 1 && final.eventType.endsWith('.error')
  assert.ok(isRefusal || starts.length === 1, `run ${run} has not one start: ${told}`)
  assert.ok(isRefusal || events[0] === starts[0], `run ${run} does not begin with it: ${told}`)
  const sequences = events.map(({ payload }) => Number(payload['sequence']))
  for (const [index, number] of sequences.entries()) {
    assert.ok(number > (sequences[index - 1] ?? 0), `run ${run} does not count upwards: ${told}`)
  }
  return {
    run,
    operation: final.eventType.split('.')[1] as Operation,
    backupId: String(final.payload['backup_id']),
    events,
    final,
    copies: all.length - events.length,
  }
}

/** The bytes done that a run told of, in order. */
export function progressOf({ events }: SeenRun): readonly number[] {
  return events.flatMap(({ payload }) => numberIn(payload['bytes_done']))
}

function numberIn(value: Json | undefined): number[] {
  return typeof value === 'number' ? [value] : []
}
