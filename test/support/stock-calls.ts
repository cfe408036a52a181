import { readFileSync } from 'node:fs'
import path from 'node:path'

import type { JsonObject } from '#src/domain/json.ts'

const file = path.resolve(import.meta.dirname, '../samples/stock/calls.json')

type Recorded = { readonly step: string; readonly message: JsonObject }

/** The messages of one step of the real service, in their order; see test/samples/stock/README.md. */
export function stockCalls(step: string): readonly JsonObject[] {
  const recorded = JSON.parse(readFileSync(file, 'utf8')) as readonly Recorded[]
  return recorded.filter((one) => one.step.endsWith(step)).map(({ message }) => message)
}

/** The arguments of the first request of a step. */
export function stockArgs(step: string): JsonObject {
  return stockCalls(step)[0]?.['args'] as JsonObject
}
