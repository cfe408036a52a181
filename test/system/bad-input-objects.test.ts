// Objects that are not what was written: nothing of them is restored, and the message names them.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { rename, rm, symlink } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { deflateSync, zstdCompressSync } from 'node:zlib'

import { chunkBytes, type DrivenAgent, drivenAgent, wholeFile } from '../support/driven-agent.ts'
import { assertFails, assertServes } from '../support/good-message.ts'
import { peakRssMib } from '../support/memory.ts'
import {
  assertUntouched,
  failedRestore,
  type Metadata,
  type Remains,
  type Tampered,
  tamperedBackup,
} from '../support/tampered-backup.ts'
import { changedBytes, diskBytes } from '../support/volume-data.ts'
import { storedFiles } from '../support/volume-files.ts'

const source = diskBytes('tampered', 4 * chunkBytes)
const size = source.length

type Codec = 'none' | 'zlib' | 'zstd' | 'bz2'

const agents = new Map<Codec, DrivenAgent>()
for (const codec of ['none', 'zlib', 'zstd', 'bz2'] as const) {
  agents.set(
    codec,
    await drivenAgent(wholeFile, { DEFAULT: { backup_compression_algorithm: codec } }),
  )
}
const agentOf = (codec: Codec): DrivenAgent => {
  const agent = agents.get(codec)
  assert.ok(agent)
  return agent
}
const zlib = agentOf('zlib')

const fullBackup = async (agent: DrivenAgent): Promise<Tampered> =>
  tamperedBackup(agent, await agent.newVolume(source))

/** What the metadata document says, changed, and what is said of that. */
const metadataFaults: readonly (readonly [string, (metadata: Metadata) => void, RegExp])[] = [
  [
    'names an object of another backup',
    foreignName,
    /names the object ".*-00001" of another backup/,
  ],
  [
    'leads out of the container',
    (m) => (first(m).name = '../../../etc/passwd'),
    /of another backup/,
  ],
  [
    'names its own metadata as a chunk',
    (m) => (first(m).name = `${stem(m)}_metadata`),
    /of another backup/,
  ],
  ['names no number', (m) => (first(m).name = `${stem(m)}-one`), /no chunk/],
  ['is of another backup', (m) => (m['backup_id'] = crypto.randomUUID()), /is of backup|backup_id/],
  ['is of another volume', (m) => (m['volume_id'] = crypto.randomUUID()), /volume/],
  ['has a version of tomorrow', (m) => (m['version'] = '2.0.0'), /version/],
  [
    'is its own parent',
    (m) => (m['parent_id'] = m['backup_id'] ?? null),
    /names itself as its parent/,
  ],
  ['has a parent that is no text', (m) => (m['parent_id'] = 7), /parent_id that is no text/],
  ['has no objects', (m) => delete (m as Partial<Metadata>).objects, /has no objects/],
  ['has chunks that overlap', (m) => (second(m).offset = chunkBytes / 2), /gaps or overlap/],
  ['has a gap', (m) => m.objects.splice(1, 1), /gaps or overlap/],
  ['lies outside the volume', (m) => (second(m).offset = 2 ** 50), /gaps or overlap/],
  ['has a length of 0', (m) => (first(m).length = 0), /a length that is no positive number/],
  ['has a negative length', (m) => (first(m).length = -5), /a length that is no positive number/],
  ['has a length of text', (m) => (first(m).length = '262144'), /a length that is no positive/],
  ['has a negative offset', (m) => (first(m).offset = -1), /an offset that is no number of bytes/],
  [
    'has an offset beyond counting',
    (m) => (first(m).offset = 2 ** 60),
    /an offset that is no number/,
  ],
  ['has an md5 that is none', (m) => (first(m).md5 = 'none'), /an md5 that is none/],
  ['has an unknown compression', (m) => (first(m).compression = 'lzma'), /compressed with "lzma"/],
]

function first({ objects }: Metadata) {
  const [entry] = objects
  assert.ok(entry)
  return entry
}
function second({ objects }: Metadata) {
  const [, entry] = objects
  assert.ok(entry)
  return entry
}
const stem = (metadata: Metadata) => first(metadata).name.replace(/-\d+$/, '')
function foreignName(metadata: Metadata) {
  const id = crypto.randomUUID()
  first(metadata).name = `volume_${metadata['volume_id']}_20200101000000_backup_${id}-00001`
}

for (const [fault, change, text] of metadataFaults) {
  test(`a metadata object that ${fault} is refused before the first write`, async () => {
    const backup = await fullBackup(zlib)
    await backup.edit((metadata) => void change(metadata))
    await assertUntouched(zlib, backup.record, size, 'MANIFEST_INVALID', text)
  })
}

test('a metadata object that is cut, empty or no JSON is refused, and named', async () => {
  const backup = await fullBackup(zlib)
  const whole = await backup.read('_metadata')
  const texts = [whole.subarray(0, whole.length / 2), '', 'no JSON', '[]', `${whole}${whole}`]
  for (const text of texts) {
    await backup.write('_metadata', text)
    const named = new RegExp(`${backup.record.service_metadata}_metadata`)
    await assertUntouched(zlib, backup.record, size, 'MANIFEST_INVALID', named)
  }
  await rm(backup.file('_metadata'))
  const gone = new RegExp(`backup ${backup.record.id} has no metadata object`)
  await assertUntouched(zlib, backup.record, size, 'BACKUP_NOT_FOUND', gone)
})

test("an increment's extents that overlap, or lie beyond the target, are refused", async () => {
  const volumeId = await zlib.newVolume(source)
  const full = await zlib.backup(volumeId)
  await zlib.writeVolume(volumeId, changedBytes(source, 'increment'))
  const changed = async (change: (metadata: Metadata) => void) => {
    const increment = await tamperedBackup(zlib, volumeId, full)
    await increment.edit(change)
    return increment.record
  }

  const overlapping = await changed((metadata) => {
    second(metadata).offset = first(metadata).offset
  })
  const disordered = await changed((metadata) => {
    metadata.objects.reverse()
  })
  for (const record of [overlapping, disordered]) {
    await assertUntouched(zlib, record, size, 'MANIFEST_INVALID', /overlap or are out of order/)
  }
  const beyond = await changed((metadata) => {
    for (const entry of metadata.objects.slice(-1)) entry.offset = size
  })
  await assertUntouched(zlib, beyond, size, 'VOLUME_TOO_SMALL', /the volume only/)
})

test('a chain that leads back to itself is refused', async () => {
  const volumeId = await zlib.newVolume(source)
  const full = await tamperedBackup(zlib, volumeId)
  await zlib.writeVolume(volumeId, changedBytes(source, 'circle'))
  const increment = await zlib.backup(volumeId, { fields: { parent_id: full.record.id } })
  await full.edit((metadata) => {
    metadata['parent_id'] = increment.id
  })
  const text = new RegExp(`the chain of backup ${increment.id} does not end`)
  await assertUntouched(zlib, increment, size, 'MANIFEST_INVALID', text)
})

const flipped = (bytes: Buffer, at: number): Buffer => {
  const copy = Buffer.from(bytes)
  copy.writeUInt8(copy.readUInt8(at) ^ 0x80, at) // The lowest bits of a bz2 stream are padding.
  return copy
}

/** How a chunk may be damaged; each for every codec. */
const damages: readonly (readonly [string, (bytes: Buffer) => Buffer])[] = [
  ['one bit flipped at its start', (bytes) => flipped(bytes, 0)],
  ['one bit flipped in the middle', (bytes) => flipped(bytes, Math.floor(bytes.length / 2))],
  ['one bit flipped at its end', (bytes) => flipped(bytes, bytes.length - 1)],
  ['its second half cut off', (bytes) => bytes.subarray(0, bytes.length / 2)],
  ['its last byte cut off', (bytes) => bytes.subarray(0, bytes.length - 1)],
  ['nothing in it', () => Buffer.alloc(0)],
  ['a byte too many', (bytes) => Buffer.concat([bytes, Buffer.from('x')])],
  ['itself twice', (bytes) => Buffer.concat([bytes, bytes])],
]

/** The chunk whose object is bad; the first holds noise, and so is stored plain by every codec. */
const badChunk = 2

for (const codec of agents.keys()) {
  test(`${codec}: a chunk that is not what was written is named, and none of it restored`, async () => {
    const agent = agentOf(codec)
    const backup = await fullBackup(agent)
    const object = `-0000${badChunk}`
    const whole = await backup.read(object)
    for (const [damage, change] of damages) {
      await backup.write(object, change(whole))
      const name = `${backup.record.service_metadata}${object}`
      const text = new RegExp(
        `chunk ${name} \\(offset ${chunkBytes}, ${chunkBytes} bytes\\) is corrupt`,
      )
      const remains = await failedRestore(agent, backup.record, size, 'CHUNK_CORRUPT', text).catch(
        (error: Error) => assert.fail(`${damage}: ${error.message}`),
      )
      assertNothingOf(badChunk, remains)
    }
    await backup.write(object, whole)
    assert.ok(source.equals(await agent.restore(backup.record, Buffer.alloc(size))))
  })
}

/** Of the bad chunk nothing was written, and what is called restored is right. */
function assertNothingOf(number: number, { event, before, after }: Remains): void {
  const start = (number - 1) * chunkBytes
  const [now, then] = [after, before].map((bytes) => bytes.subarray(start, start + chunkBytes))
  assert.ok(now?.equals(then ?? Buffer.alloc(0)), 'bytes of the bad chunk were written')
  assert.equal(event.payload['target'], 'unusable')
  const extents = event.payload['restored_extents'] as [number, number][]
  for (const [offset, length] of extents) {
    const [target, wanted] = [after, source].map((bytes) => bytes.subarray(offset, offset + length))
    assert.ok(target?.equals(wanted ?? Buffer.alloc(0)), 'what is called restored is not')
    assert.ok(
      offset >= start + chunkBytes || offset + length <= start,
      'the bad one is called good',
    )
  }
}

test('swapped objects are told apart, in every codec', async () => {
  for (const agent of agents.values()) {
    const backup = await fullBackup(agent)
    await rename(backup.file('-00001'), backup.file('-swap'))
    await rename(backup.file('-00002'), backup.file('-00001'))
    await rename(backup.file('-swap'), backup.file('-00002'))
    const text = /chunk .*-0000[12] .*is corrupt/
    const remains = await failedRestore(agent, backup.record, size, 'CHUNK_CORRUPT', text)
    assertNothingOf(1, remains)
    assertNothingOf(2, remains)
  }
})

test('a chunk that is missing is named', async () => {
  const backup = await fullBackup(zlib)
  await rm(backup.file('-00003'))
  const text = /chunk .*-00003 \(offset 524288, 262144 bytes\) is missing/
  assertNothingOf(3, await failedRestore(zlib, backup.record, size, 'OBJECT_NOT_FOUND', text))
})

test('a chunk that is a link to another file is not followed', async () => {
  const backup = await fullBackup(zlib)
  await rm(backup.file('-00002'))
  await symlink('/etc/passwd', backup.file('-00002'))
  assertNothingOf(2, await failedRestore(zlib, backup.record, size, 'STORE_REFUSED', /-00002/))
})

const bombs: readonly (readonly [Codec, () => Buffer])[] = [
  ['zlib', () => deflateSync(Buffer.alloc(200 * 2 ** 20), { level: 9 })],
  ['zstd', () => zstdCompressSync(Buffer.alloc(512 * 2 ** 20))],
  ['bz2', () => execFileSync('bzip2', ['-c'], { input: Buffer.alloc(200 * 2 ** 20) })],
]

for (const [codec, bomb] of bombs) {
  test(`${codec}: a chunk that inflates beyond its length is cut off, at no cost`, async (t: TestContext) => {
    const agent = agentOf(codec)
    const backup = await fullBackup(agent)
    await backup.write('-00002', bomb())
    const text = /chunk .*-00002 .*is corrupt: .*(more|larger|beyond)/
    const remains = await failedRestore(agent, backup.record, size, 'CHUNK_CORRUPT', text)
    assertNothingOf(2, remains)
    const mib = await peakRssMib(agent.agent.pid)
    assert.ok(mib < 400, `${mib} MiB`)
    t.diagnostic(`${mib} MiB at most`)
  })
}

test("a parent's sha256file that is cut, of others or no JSON makes no increment", async () => {
  const volumeId = await zlib.newVolume(source)
  const parent = await tamperedBackup(zlib, volumeId)
  const whole = (await parent.read('_sha256file')).toString()
  const faults: readonly (readonly [string, RegExp])[] = [
    [whole.slice(0, whole.length / 2), /_sha256file/],
    ['', /_sha256file/],
    [whole.replaceAll(parent.record.id, crypto.randomUUID()), /_sha256file/],
    [whole.replace(/"[0-9a-f]{64}"/, '"00"'), /_sha256file/],
    [whole.replace(/"chunk_size": \d+/, '"chunk_size": 0'), /_sha256file|blocks/],
  ]
  for (const [text, said] of faults) {
    await parent.write('_sha256file', text)
    const record = zlib.asked(volumeId, { parent_id: parent.record.id })
    const event = await zlib.scheduler.run('create', record)
    assert.equal(event.eventType, 'backup.create.error')
    assert.match(String(event.payload['message']), said)
    assert.ok(['MANIFEST_INVALID', 'PARENT_MISMATCH'].includes(String(event.payload['code'])))
    const left = (await storedFiles(zlib.home)).filter((file) => file.includes(record.id))
    assert.deepEqual(left, [])
    await assertServes(zlib)
  }
  await rm(parent.file('_sha256file'))
  const record = zlib.asked(volumeId, { parent_id: parent.record.id })
  const none = new RegExp(`${parent.record.id} cannot be a parent: it has no sha256file`)
  await assertFails(zlib, 'create', { record }, 'PARENT_MISMATCH', none)
})
