// What is too large or too deep: refused at once, or read in bounded memory.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { memoryStore } from '#src/adapters/object-store/memory-store.ts'
import { fileSpool } from '#src/adapters/spool/file-spool.ts'
import { memoryVolumes } from '#src/adapters/volumes/memory-volumes.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { documentHeader } from '#src/domain/document-header.ts'
import { chunkName, metadataName, swiftPrefix } from '#src/domain/object-names.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import { aRecord } from '../support/builders.ts'
import { driverBench } from '../support/driver-bench.ts'
import { goodDelivery } from '../support/hostile-messages.ts'
import { memoryAgent } from '../support/memory-agent.ts'
import { ownTime } from '../support/own-time.ts'
import { times } from '../support/soak.ts'

const mebibyte = 2 ** 20
const messageBytesMax = 4 * mebibyte
const volumeId = randomUUID()
const volumes = memoryVolumes(new Map([[volumeId, Buffer.alloc(4096, 'x')]]))
const agent = await memoryAgent({ after }, { volumes, messageBytesMax })

const nested = (depth: number, open = '[', close = ']') => open.repeat(depth) + close.repeat(depth)
const envelope = (message: string) =>
  JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': message })
const request = (args: string) => `{"method": "create_backup", "args": ${args}}`
const filled = (piece: string) =>
  request(`{"backup": [${piece.repeat((messageBytesMax - 200) / piece.length)}0]}`)

const bodies: readonly (readonly [string, string, 'ack' | 'reject'])[] = [
  ['200,000 nested lists', request(`{"backup": ${nested(200_000)}}`), 'reject'],
  [
    '200,000 nested objects',
    request(`${'{"a":'.repeat(200_000)}0${'}'.repeat(200_000)}`),
    'reject',
  ],
  ['200,000 nested lists in an envelope', envelope(request(nested(200_000))), 'reject'],
  ['64 MiB', filled('[],').repeat(16), 'reject'],
  ['64 MiB of one string', `"${'x'.repeat(64 * mebibyte)}"`, 'reject'],
  ['as many values as fit', filled('0,'), 'ack'],
  ['as many lists as fit', filled('[],'), 'ack'],
  ['as many NaNs as fit', filled('NaN,'), 'ack'],
  ['as many escapes as fit', filled('"\\u005f",'), 'ack'],
  ['as many keys of prototypes as fit', filled('{"__proto__":{}},'), 'ack'],
  ['a method of 4 MiB', `{"method": "${'m'.repeat(messageBytesMax - 100)}"}`, 'ack'],
]

for (const [what, body, settlement] of bodies) {
  test(`a message of ${what} is settled within a second, and the next one is served`, async () => {
    const take = async (content: string) => {
      const tookMs = ownTime()
      const incoming = { properties: {}, source: 'topic', redelivered: false } as const
      const settled = await agent.take({ ...incoming, body: Buffer.from(content) })
      return { settled, ms: tookMs() }
    }
    // The first may pay for the growth of the heap.
    const [first, second] = [await take(body), await take(body)]
    assert.equal(first.settled, settlement)
    assert.ok(Math.min(first.ms, second.ms) < 1000, `${first.ms} and ${second.ms} ms`)

    const { id, incoming } = goodDelivery(volumeId)
    assert.equal(await agent.take(incoming), 'ack')
    await agent.idle(10)
    assert.equal(agent.ended(id)?.eventType, 'backup.create.end')
  })
}

const container = 'volumebackups'

/** A store whose metadata object is made while it is read: no memory of ours holds it. */
function storeWith(name: string, pieces: () => Iterable<string>): ObjectStore {
  const store = memoryStore()
  return {
    ...store,
    async getObject(id, sink, signal) {
      if (id.name !== name) return store.getObject(id, sink, signal)
      let sizeBytes = 0
      await sink.start()
      for (const piece of pieces()) {
        const bytes = Buffer.from(piece)
        sizeBytes += bytes.byteLength
        await sink.write(bytes)
      }
      return { sizeBytes, md5: '' }
    },
  }
}

function aStoredRecord(): { record: BackupRecord; prefix: string } {
  const record = aRecord({ status: 'restoring', container })
  const place = { volumeId: record.volume_id, backupId: record.id, stamp: '20261123002624' }
  const prefix = swiftPrefix(place, 'nova')
  return { record: { ...record, service_metadata: prefix }, prefix }
}

const chunkBytes = 512

/** What is in use once all garbage is gone, in MiB: objects, and buffers outside of the heap. */
function heldMib(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return Math.round((heapUsed + external) / mebibyte)
}

function* entries(prefix: string, count: number, separator: string): Generator<string> {
  const md5 = 'd41d8cd98f00b204e9800998ecf8427e'
  let piece = ''
  for (let number = 1; number <= count; number += 1) {
    const members = {
      compression: 'none',
      length: chunkBytes,
      md5,
      offset: (number - 1) * chunkBytes,
    }
    const entry = JSON.stringify({ [chunkName(prefix, number)]: members })
    piece += `${number === 1 ? '' : separator}${entry}`
    if (piece.length < 65_536) continue
    yield piece
    piece = ''
  }
  yield piece
}

test('a metadata object of millions of chunks is read in bounded memory, and refused for its size', async (t) => {
  const count = times(300_000, 5_000_000)
  const { record, prefix } = aStoredRecord()
  const head = { ...documentHeader(record), parent_id: null, version: '1.0.0', volume_meta: null }
  const pieces = function* () {
    yield `${JSON.stringify(head).slice(0, -1)}, "objects": [`
    yield* entries(prefix, count, ',')
    yield ']}'
  }
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-giant-'))
  t.after(() => rm(folder, { recursive: true }))
  const bench = driverBench({
    store: storeWith(metadataName(prefix), pieces),
    spool: await fileSpool(folder),
  })
  const target = Buffer.alloc(65_536, 0xee)
  const [before, heldBefore] = [process.memoryUsage.rss(), heldMib()]

  await assert.rejects(bench.restore(record, target), {
    code: 'VOLUME_TOO_SMALL',
    message: new RegExp(`the backup holds ${count * chunkBytes} bytes`),
  })

  const grownMib = Math.round((process.memoryUsage.rss() - before) / mebibyte)
  const heldMore = heldMib() - heldBefore
  t.diagnostic(`${count} chunks: RSS grew by ${grownMib} MiB, ${heldMore} MiB are held`)
  assert.ok(heldMore < 32, `${heldMore} MiB are held`)
  // Garbage of this process, which has no limit: the more there is to do, the more the runtime lets lie.
  assert.ok(grownMib < times(256, 1024))
  assert.ok(target.every((byte) => byte === 0xee))
})

/** The backup that the documents below claim to be of. */
const same = aStoredRecord()

const endless: readonly (readonly [string, string, RegExp])[] = [
  [
    'nests 200,000 levels in a member',
    `"volume_meta": ${nested(200_000)}`,
    /deeper than 32 levels/,
  ],
  ['nests 200,000 levels in an entry', `"objects": [${nested(200_000)}]`, /deeper than 32 levels/],
  [
    'has a string without end',
    `"volume_meta": "${'x'.repeat(5 * mebibyte)}`,
    /more than 4194304 bytes/,
  ],
  ['has an entry without end', `"objects": [{"${'x'.repeat(mebibyte)}`, /more than 65536 bytes/],
  ['has a key twice', '"version": "1.0.0", "version": "1.0.0"', /names "version" twice/],
  ['has a thousand keys', Array.from({ length: 1000 }, (_, n) => `"k${n}": 1`).join(), /100 keys/],
  ['has volume metadata too deep for an event', deepVolumeMeta(), /volume_meta is nested deeper/],
]

function deepVolumeMeta(): string {
  const { prefix } = same
  const text = JSON.stringify(`{"version": 2, "x": ${nested(200_000)}}`)
  const head = { ...documentHeader(same.record), parent_id: null, version: '1.0.0' }
  const members = JSON.stringify(head).slice(1, -1)
  return `${members}, "volume_meta": ${text}, "objects": [${[...entries(prefix, 1, '')].join('')}]`
}

for (const [what, members, said] of endless) {
  test(`a metadata object that ${what} is refused`, async () => {
    const { record, prefix } = same
    const bench = driverBench({ store: storeWith(metadataName(prefix), () => [`{${members}}`]) })
    const target = Buffer.alloc(4096, 0xee)

    await assert.rejects(bench.restore(record, target), { code: 'MANIFEST_INVALID', message: said })

    assert.ok(target.every((byte) => byte === 0xee))
  })
}
