import type { ObjectEntry, StoreLimits } from '../../ports/object-store.ts'

// Source: swift/common/constraints.py, DEFAULT_CONSTRAINTS: what holds where a cluster does not say.
export const defaultLimits: StoreLimits = {
  objectBytesMax: 5_368_709_122,
  containerNameBytesMax: 256,
  containerMayNest: false,
}

/** The limits that an answer to `GET /info` states; the usual ones where it does not. */
export function statedLimits(text: string): StoreLimits {
  const swift = fieldOf(parsed(text), 'swift')
  return {
    ...defaultLimits,
    objectBytesMax: positive(fieldOf(swift, 'max_file_size')) ?? defaultLimits.objectBytesMax,
  }
}

/** How many names one bulk delete takes; 0 where the cluster states none. */
export function statedBulkDeletes(text: string): number {
  const most = positive(fieldOf(fieldOf(parsed(text), 'bulk_delete'), 'max_deletes_per_request'))
  return Math.floor(most ?? 0)
}

/** What a bulk delete says of itself: `errors` has a quoted name and a status for each failure. */
export type BulkResult = {
  readonly status: string
  readonly words: string
  readonly deleted: number
  readonly notFound: number
  readonly errors: readonly (readonly [name: string, status: string])[]
}

/** Null where the text is no such result. */
export function bulkResult(text: string): BulkResult | null {
  const result = parsed(text)
  const status = fieldOf(result, 'Response Status')
  const words = fieldOf(result, 'Response Body') ?? ''
  const deleted = count(fieldOf(result, 'Number Deleted'))
  const notFound = count(fieldOf(result, 'Number Not Found'))
  const errors = fieldOf(result, 'Errors')
  if (typeof status !== 'string' || !/^\d{3}\b/.test(status) || typeof words !== 'string')
    return null
  if (deleted === null || notFound === null || !Array.isArray(errors)) return null
  const isError = (row: unknown): row is [string, string] =>
    Array.isArray(row) &&
    typeof row[0] === 'string' &&
    typeof row[1] === 'string' &&
    /^\d{3}\b/.test(row[1])
  return errors.every(isError) ? { status, words, deleted, notFound, errors } : null
}

/** The entries of a listing in JSON, or null where the text is none. */
export function listingEntries(text: string): readonly ObjectEntry[] | null {
  if (text === '') return [] // 204: a container without objects.
  const rows = parsed(text)
  if (!Array.isArray(rows)) return null
  const entries: ObjectEntry[] = []
  for (const row of rows) {
    const name = fieldOf(row, 'name')
    const sizeBytes = fieldOf(row, 'bytes')
    if (typeof name !== 'string' || typeof sizeBytes !== 'number') return null
    entries.push({ name, sizeBytes, md5: listedMd5(row) })
  }
  return entries
}

/** A large object's hash is that of its manifest. */
function listedMd5(row: unknown): string | null {
  if (fieldOf(row, 'slo_etag') !== undefined) return null
  return md5Of(fieldOf(row, 'hash'))
}

/** The md5 that an ETag or a listed hash is; null where it is something else. */
export function md5Of(value: unknown): string | null {
  if (typeof value !== 'string') return null
  const bare = value
    .trim()
    .replace(/^"(.*)"$/, '$1')
    .toLowerCase()
  return /^[0-9a-f]{32}$/.test(bare) ? bare : null
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return Object.getOwnPropertyDescriptor(value, name)?.value
}

function count(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null
}

function positive(value: unknown): number | null {
  return typeof value === 'number' && value > 0 ? value : null
}
