import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  bandwidthOf,
  pacedPieces,
  pacedSink,
  unlimited,
} from '#src/adapters/object-store/bandwidth.ts'
import { sharedRate } from '#src/lib/shared-rate.ts'

const never = new AbortController().signal
const bytes = Uint8Array.from({ length: 100_000 }, (_, at) => at % 251)

/** What was asked for, by who is told at once that it may go. */
function counted(pieceBytes: number | null) {
  const taken: number[] = []
  const take = (amount: number) => void taken.push(amount)
  return { taken, bandwidth: { pieceBytes: () => pieceBytes, take } }
}

test('pieces are a fiftieth of a second, and neither tiny nor huge', () => {
  const pieceBytesAt = (perSecond: number) => bandwidthOf(sharedRate(perSecond)).pieceBytes()

  assert.equal(pieceBytesAt(0), null)
  assert.equal(pieceBytesAt(1), 4096)
  assert.equal(pieceBytesAt(5_000_000), 100_000)
  assert.equal(pieceBytesAt(10 ** 12), 1_048_576)
})

test('a body goes in pieces, each after its turn, and comes out as it was', async () => {
  const { taken, bandwidth } = counted(40_000)

  const pieces = await Array.fromAsync(pacedPieces([bytes], bandwidth, never))

  assert.deepEqual(taken, [40_000, 40_000, 20_000])
  assert.deepEqual(new Uint8Array(Buffer.concat(pieces)), bytes)
})

test('without a limit a body goes as it is', async () => {
  assert.deepEqual(await Array.fromAsync(pacedPieces([bytes], unlimited, never)), [bytes])
})

test('a sink gets each piece after its turn', async () => {
  const { taken, bandwidth } = counted(null)
  const got: (number | string)[] = []
  const sink = pacedSink(
    { start: () => void got.push('start'), write: (piece) => void got.push(piece.byteLength) },
    bandwidth,
    never,
  )

  await sink.start()
  await sink.write(bytes.subarray(0, 300))
  await sink.write(bytes.subarray(300, 500))

  assert.deepEqual(
    [taken, got],
    [
      [300, 200],
      ['start', 300, 200],
    ],
  )
})

test('who waits for a turn may be aborted', async () => {
  const rate = sharedRate(1)
  await rate.take(1_000_000, never)
  const aborting = new AbortController()
  const reason = new Error('enough')
  const got: Uint8Array[] = []
  const inner = { start() {}, write: (piece: Uint8Array) => void got.push(piece) }
  const sink = pacedSink(inner, bandwidthOf(rate), aborting.signal)

  const writing = sink.write(bytes)
  aborting.abort(reason)

  await assert.rejects(Promise.resolve(writing), (error) => error === reason)
  assert.deepEqual(got, [])
})
