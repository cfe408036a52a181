import type { PutChunk } from '../domain/lane-tasks.ts'
import type { ObjectEntry } from '../ports/object-store.ts'
import type { WindowLog } from './window-log.ts'

/** What a listing says of the chunks of one backup: 16 bytes for each number. */
type Listed = {
  readonly has: (number: number, chunk: PutChunk) => boolean
  readonly lastNumber: number
}

/** The number at the end of a chunk's name; null for the closing documents. */
export function chunkNumber(name: string, prefix: string): number | null {
  const text = name.slice(prefix.length + 1)
  return name.startsWith(`${prefix}-`) && /^\d{5,15}$/.test(text) ? Number(text) : null
}

/**
 * Compares what an earlier start noted with what the store lists: windows of which any chunk is missing
 * there, or is not what was sent, are to be done again. Resolves to the highest number in use.
 */
export async function checkAgainstListing(
  log: WindowLog,
  listing: AsyncIterable<ObjectEntry>,
): Promise<number> {
  const { prefix } = log.layout
  const listed = await readListing(listing, prefix)
  const numberOf = ({ name }: PutChunk) => chunkNumber(name, prefix) ?? 0
  const isThere = (chunk: PutChunk) => listed.has(numberOf(chunk), chunk)
  let lastNumber = listed.lastNumber
  let isWhole = true
  for await (const { chunks } of log.done()) {
    for (const chunk of chunks) lastNumber = Math.max(lastNumber, numberOf(chunk))
    isWhole &&= chunks.every(isThere)
  }
  if (!isWhole) await log.keepOnly(({ chunks }) => chunks.every(isThere))
  return lastNumber
}

async function readListing(listing: AsyncIterable<ObjectEntry>, prefix: string): Promise<Listed> {
  let sizes = new Float64Array(1024).fill(-1)
  let digests = new Float64Array(1024)
  let lastNumber = 0
  for await (const { name, sizeBytes, md5 } of listing) {
    const number = chunkNumber(name, prefix)
    if (number === null || number > numberMax) continue
    if (number >= sizes.length) {
      sizes = grown(sizes, number, -1)
      digests = grown(digests, number, 0)
    }
    sizes[number] = sizeBytes
    digests[number] = md5 === null ? Number.NaN : shortOf(md5)
    lastNumber = Math.max(lastNumber, number)
  }
  return {
    lastNumber,
    has(number, { storedBytes, storedMd5 }) {
      const digest = digests[number] ?? 0
      return (
        sizes[number] === storedBytes && (Number.isNaN(digest) || digest === shortOf(storedMd5))
      )
    },
  }
}

/** More chunks than any volume has. */
const numberMax = 50_000_000

/** 48 bits of a digest, which a number holds exactly. */
function shortOf(md5: string): number {
  return Number.parseInt(md5.slice(0, 12), 16)
}

function grown(values: Float64Array, number: number, filling: number): Float64Array<ArrayBuffer> {
  const more = new Float64Array(Math.max(2 * values.length, number + 1)).fill(filling)
  more.set(values)
  return more
}

/** The numbers that the metadata will name, for a look at what else lies there. */
export async function namedNumbers(log: WindowLog): Promise<(number: number) => boolean> {
  let bits = new Uint8Array(1024)
  const { prefix } = log.layout
  for await (const { name } of log.read()) {
    const number = chunkNumber(name, prefix) ?? 0
    if (number >> 3 >= bits.length) {
      const more = new Uint8Array(Math.max(2 * bits.length, (number >> 3) + 1))
      more.set(bits)
      bits = more
    }
    bits[number >> 3] = (bits[number >> 3] ?? 0) | (1 << (number & 7))
  }
  return (number) => ((bits[number >> 3] ?? 0) & (1 << (number & 7))) !== 0
}
