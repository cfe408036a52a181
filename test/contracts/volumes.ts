import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Volumes } from '#src/ports/volumes.ts'

/** A set of volumes for one test: how an adapter comes by volumes to open. */
export type VolumesFixture = AsyncDisposable & {
  readonly volumes: Volumes
  /** Makes a volume or snapshot with these bytes. */
  put(id: string, bytes: Uint8Array): Promise<void>
  /** What the volume holds now. */
  bytes(id: string): Promise<Uint8Array>
  /** Puts another device, of these bytes, in the volume's place. */
  replace(id: string, bytes: Uint8Array): Promise<void>
}

const volumeId = '3220c896-be94-4fa5-9e6f-c9c39554130b'
const otherId = '73eac886-0a63-458a-9380-c8937ce0a3a3'
const snapshotId = '9a701a61-de98-485d-9aeb-2bd855a661d9'

const volume = { volumeId, snapshotId: null }

/** What every Volumes must do. Each adapter's test file calls this with its own factory. */
export function testVolumes(adapter: string, open: () => Promise<VolumesFixture>): void {
  const signal = AbortSignal.timeout(60_000)
  const bytes = Uint8Array.from({ length: 8192 }, (_, index) => (index * 7) % 251)

  test(`${adapter}: a volume reads as it is, from any offset`, async () => {
    await using fixture = await open()
    await fixture.put(volumeId, bytes)

    await using reader = await fixture.volumes.openSource(volume, signal)
    const whole = new Uint8Array(8192)
    await reader.read(0, whole)
    const part = new Uint8Array(1001)
    await reader.read(3003, part)

    assert.equal(reader.sizeBytes, 8192)
    assert.deepEqual(whole, bytes)
    assert.deepEqual(part, bytes.slice(3003, 4004))
  })

  test(`${adapter}: a snapshot is read in the place of its volume`, async () => {
    await using fixture = await open()
    await fixture.put(volumeId, bytes)
    await fixture.put(
      snapshotId,
      bytes.map((byte) => byte ^ 0xff),
    )

    await using reader = await fixture.volumes.openSource({ volumeId, snapshotId }, signal)
    const first = new Uint8Array(4)
    await reader.read(0, first)

    assert.deepEqual(first, Uint8Array.of(255, 248, 241, 234))
  })

  test(`${adapter}: reading past the end says VOLUME_CHANGED`, async () => {
    await using fixture = await open()
    await fixture.put(volumeId, bytes)
    await using reader = await fixture.volumes.openSource(volume, signal)

    await assert.rejects(reader.read(8191, new Uint8Array(2)), { code: 'VOLUME_CHANGED' })
  })

  test(`${adapter}: what is not there says VOLUME_NOT_FOUND`, async () => {
    await using fixture = await open()
    await fixture.put(volumeId, bytes)
    const { volumes } = fixture

    const missing = { code: 'VOLUME_NOT_FOUND' }
    await assert.rejects(
      volumes.openSource({ volumeId: otherId, snapshotId: null }, signal),
      missing,
    )
    await assert.rejects(volumes.openSource({ volumeId, snapshotId }, signal), missing)
    await assert.rejects(volumes.openTarget(otherId, signal), missing)
  })

  test(`${adapter}: an id that is not a UUID says ARGUMENT_INVALID`, async () => {
    await using fixture = await open()
    const { volumes } = fixture

    const invalid = { code: 'ARGUMENT_INVALID' }
    for (const id of ['', '../x', `${volumeId}/..`, `${volumeId}\0`, `${volumeId}\n`]) {
      await assert.rejects(volumes.openSource({ volumeId: id, snapshotId: null }, signal), invalid)
      await assert.rejects(volumes.openSource({ volumeId, snapshotId: id }, signal), invalid)
      await assert.rejects(volumes.openTarget(id, signal), invalid)
    }
  })

  test(`${adapter}: a volume of no bytes says VOLUME_INVALID_SIZE`, async () => {
    await using fixture = await open()
    await fixture.put(volumeId, new Uint8Array())

    const invalid = { code: 'VOLUME_INVALID_SIZE' }
    await assert.rejects(fixture.volumes.openSource(volume, signal), invalid)
    await assert.rejects(fixture.volumes.openTarget(volumeId, signal), invalid)
  })

  test(`${adapter}: what is written is there, and nothing else has changed`, async () => {
    await using fixture = await open()
    await fixture.put(volumeId, bytes)

    {
      await using writer = await fixture.volumes.openTarget(volumeId, signal)
      await writer.write(100, Uint8Array.of(1, 2, 3))
      await writer.write(8191, Uint8Array.of(4))
      await writer.sync()
      const back = new Uint8Array(3)
      await writer.read(100, back)
      assert.deepEqual(back, Uint8Array.of(1, 2, 3))
    }

    const expected = bytes.slice()
    expected.set([1, 2, 3], 100)
    expected.set([4], 8191)
    assert.deepEqual(new Uint8Array(await fixture.bytes(volumeId)), expected)
  })

  test(`${adapter}: writing past the end says VOLUME_TOO_SMALL and writes nothing`, async () => {
    await using fixture = await open()
    await fixture.put(volumeId, bytes)

    {
      await using writer = await fixture.volumes.openTarget(volumeId, signal)
      await assert.rejects(writer.write(8191, new Uint8Array(2)), { code: 'VOLUME_TOO_SMALL' })
    }

    assert.deepEqual(new Uint8Array(await fixture.bytes(volumeId)), bytes)
  })

  test(`${adapter}: a volume has one writer at a time, and readers beside it`, async () => {
    await using fixture = await open()
    const { volumes } = fixture
    await fixture.put(volumeId, bytes)
    const first = await volumes.openTarget(volumeId, signal)

    await assert.rejects(volumes.openTarget(volumeId, signal), { code: 'VOLUME_IN_USE' })
    await using reader = await volumes.openSource(volume, signal)
    await reader.read(0, new Uint8Array(1))
    await first[Symbol.asyncDispose]()
    await first[Symbol.asyncDispose]()
    await using second = await volumes.openTarget(volumeId, signal)

    assert.equal(second.sizeBytes, 8192)
    await assert.rejects(volumes.openTarget(volumeId, signal), { code: 'VOLUME_IN_USE' })
  })

  test(`${adapter}: a device that was replaced before the first write says VOLUME_CHANGED`, async () => {
    await using fixture = await open()
    await fixture.put(volumeId, bytes)
    await using writer = await fixture.volumes.openTarget(volumeId, signal)

    const other = bytes.map((byte) => byte ^ 1)
    await fixture.replace(volumeId, other)

    await assert.rejects(writer.write(0, Uint8Array.of(9)), { code: 'VOLUME_CHANGED' })
    assert.deepEqual(new Uint8Array(await fixture.bytes(volumeId)), other)
  })

  test(`${adapter}: runs of data go forward and leave out nothing but zeros`, async () => {
    await using fixture = await open()
    const sparse = new Uint8Array(10 * 4096 + 512)
    for (const [start, end] of [
      [4096, 8192],
      [5 * 4096 + 1, 5 * 4096 + 2],
    ] as const) {
      sparse.fill(7, start, end)
    }
    await fixture.put(volumeId, sparse)
    await using reader = await fixture.volumes.openSource(volume, signal)

    const seen = new Uint8Array(sparse.byteLength)
    for (let at = 0; ; ) {
      const run = reader.dataRun(at)
      if (run === null) break
      assert.ok(run.start >= at && run.end > run.start && run.end <= sparse.byteLength)
      await reader.read(run.start, seen.subarray(run.start, run.end))
      at = run.end
    }

    assert.deepEqual(seen, sparse)
    assert.equal(reader.dataRun(sparse.byteLength), null)
    assert.equal(reader.dataRun(5000)?.start, 5000)
  })

  test(`${adapter}: a punched extent reads as zeros, or nothing has changed`, async () => {
    await using fixture = await open()
    const full = new Uint8Array(4 * 4096).fill(9)
    await fixture.put(volumeId, full)

    let isPunched: boolean
    {
      await using writer = await fixture.volumes.openTarget(volumeId, signal)
      isPunched = await writer.punch({ offsetBytes: 4096, lengthBytes: 4096 })
      const beyond = { offsetBytes: 3 * 4096, lengthBytes: 4097 }
      await assert.rejects(writer.punch(beyond), { code: 'VOLUME_TOO_SMALL' })
      await writer.sync()
    }

    if (isPunched) full.fill(0, 4096, 8192)
    assert.deepEqual(new Uint8Array(await fixture.bytes(volumeId)), full)
  })

  test(`${adapter}: a volume has the same identity and epoch whenever it is opened, and another's successor its own`, async () => {
    await using fixture = await open()
    await fixture.put(volumeId, bytes)
    await fixture.put(otherId, bytes)
    const look = async (id: string) => {
      await using writer = await fixture.volumes.openTarget(id, signal)
      return { identity: writer.identity, epoch: writer.epoch }
    }

    const first = await look(volumeId)
    const again = await look(volumeId)
    const other = await look(otherId)
    await fixture.replace(volumeId, bytes)
    const successor = await look(volumeId)

    assert.deepEqual(again, first)
    assert.notEqual(other.identity, first.identity)
    assert.notEqual(other.epoch, first.epoch)
    assert.notEqual(successor.epoch, first.epoch)
  })

  test(`${adapter}: a check says VOLUME_CHANGED where the device was replaced, before and after writes`, async () => {
    await using fixture = await open()
    await fixture.put(volumeId, bytes)
    await using writer = await fixture.volumes.openTarget(volumeId, signal)
    await writer.check()
    await writer.write(0, Uint8Array.of(1))

    await fixture.replace(volumeId, bytes)

    await assert.rejects(writer.check(), { code: 'VOLUME_CHANGED' })
  })

  test(`${adapter}: the size by now is the size at opening, where nothing has changed`, async () => {
    await using fixture = await open()
    await fixture.put(volumeId, bytes)
    await using reader = await fixture.volumes.openSource(volume, signal)

    assert.equal(await reader.sizeNow(), 8192)
  })

  test(`${adapter}: opening rejects with the reason of an aborted signal`, async () => {
    await using fixture = await open()
    await fixture.put(volumeId, bytes)
    const reason = new Error('told to stop')
    const aborted = AbortSignal.abort(reason)

    await assert.rejects(fixture.volumes.openSource(volume, aborted), reason)
    await assert.rejects(fixture.volumes.openTarget(volumeId, aborted), reason)
  })
}
