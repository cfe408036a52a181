import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { volumeObject } from '#src/adapters/rpc/volume-objects.ts'
import type { BackupDevice } from '#src/domain/job.ts'
import type { Json, JsonObject } from '#src/domain/json.ts'
import type { BlockStorage } from '#src/ports/block-storage.ts'
import type { SnapshotRow, VolumeRow } from '#src/ports/records.ts'
import { aContext, aDevice, aRecord } from '../support/builders.ts'
import { aVolume } from '../support/state-rows.ts'

/** A volume service that answers as it is told, and notes what it is asked. */
export type VolumeService = {
  readonly storage: BlockStorage
  readonly asked: {
    readonly method: string
    readonly version: string
    readonly args: JsonObject
  }[]
  /** What it answers a method with; an Error: it fails so. */
  readonly answers: Map<string, Json | Error>
  /** The answer to `initialize_connection` of a new volume of so many bytes. */
  exported(sizeBytes: number): Promise<JsonObject>
  /** What it is pinned to. */
  readonly pins: { rpc: string | null }
}

const gibibyte = 2 ** 30
const snapshotId = '7f3b5f0c-0d3a-4a5e-9a64-6f0c8f0f9b11'
const signal = AbortSignal.timeout(60_000)
const asking = () => ({ context: aContext(), log: recordingLog() })

/** What every BlockStorage must do. */
export function testBlockStorage(
  adapter: string,
  open: (t: TestContext) => Promise<VolumeService>,
): void {
  test(`${adapter}: a device is asked for where its volume is, with the backup as it is`, async (t) => {
    const { storage, asked } = await open(t)
    const record = aRecord({ service: 'swift' })

    await storage.requestDevice({ record, parent: null }, volumeRow(), asking(), signal)

    const [{ method, version, args } = { method: '', version: '', args: {} }] = asked
    assert.deepEqual([method, version], ['get_backup_device', '3.17'])
    assert.deepEqual([args['want_objects'], args['async_call']], [true, true])
    const backup = args['backup'] as JsonObject
    assert.equal((backup['versioned_object.data'] as JsonObject)['id'], record.id)
  })

  test(`${adapter}: a volume service that is pinned below that is called, and its answer is the device`, async (t) => {
    const { storage, asked, answers, pins } = await open(t)
    const record = aRecord({ service: 'swift' })
    const ask = () => storage.requestDevice({ record, parent: null }, volumeRow(), asking(), signal)
    const made = volumeRow()
    const volume = volumeObject(made.columns)
    answers.set('get_backup_device', {
      ...{ 'versioned_object.name': 'BackupDeviceInfo', 'versioned_object.version': '1.0' },
      'versioned_object.namespace': 'cinder',
      'versioned_object.data': { volume, secure_enabled: false },
    })

    pins.rpc = '3.16'
    const given = await ask()
    pins.rpc = '3.18'
    const awaited = await ask()

    assert.deepEqual([given?.kind, given?.id, awaited], ['volume', made.id, null])
    const told = asked.map(({ method, version, args }) => [method, version, 'async_call' in args])
    const method = 'get_backup_device'
    const expected = [
      [method, '3.2', false],
      [method, '3.17', true],
    ]
    assert.deepEqual(told, expected)
  })

  for (const [kind, suffix, version] of [
    ['volume', '', '3.0'],
    ['snapshot', '_snapshot', '3.13'],
  ] as const) {
    test(`${adapter}: a ${kind} is attached, read and given back, each by its own methods`, async (t) => {
      const { storage, asked, answers, exported } = await open(t)
      answers.set(`initialize_connection${suffix}`, await exported(gibibyte))
      const device = aDevice({ kind, object: { 'versioned_object.name': kind } })

      const volume = await storage.openSource(device, volumeRow(), asking(), signal)
      assert.equal(volume.sizeBytes, gibibyte)
      await assert.rejects(storage.checkReleased(device, signal), { code: 'DETACH_FAILED' })
      await volume[Symbol.asyncDispose]()
      await storage.checkReleased(device, signal)
      await volume[Symbol.asyncDispose]()

      assert.deepEqual(
        asked.map(({ method, version: least }) => [method, least]),
        ['initialize_connection', 'terminate_connection', 'remove_export'].map((method) => [
          `${method}${suffix}`,
          version,
        ]),
      )
      const [first, second, third] = asked.map(({ args }) => args)
      const named = { [`${kind}_id`]: device.id }
      const { connector } = first ?? {}
      const what = kind === 'volume' ? { volume: device.object } : named
      assert.deepEqual(first, { connector, ...what })
      assert.deepEqual(second, { connector, ...named, force: true })
      assert.deepEqual(third, named)
    })
  }

  test(`${adapter}: what was made for a backup is attached by its row as by its device`, async (t) => {
    const { storage, asked, answers, exported } = await open(t)
    const volume = volumeRow()
    const columns = { id: snapshotId, volume_id: volume.id, volume_size: 1, status: 'available' }
    const snapshot: SnapshotRow = {
      ...{ id: snapshotId, volume_id: volume.id, status: 'available', columns },
    }
    for (const [made, suffix, named] of [
      [{ volume }, '', `"id":"${volume.id}"`],
      [{ snapshot }, '_snapshot', `"snapshot_id":"${snapshotId}"`],
    ] as const) {
      asked.length = 0
      answers.set(`initialize_connection${suffix}`, await exported(gibibyte))

      const device = storage.madeDevice(made)
      await using opened = await storage.openSource(device, volume, asking(), signal)

      assert.equal(opened.sizeBytes, gibibyte)
      assert.equal(device.sizeGib, 1)
      assert.equal(asked[0]?.method, `initialize_connection${suffix}`)
      assert.ok(JSON.stringify(asked[0]?.args).includes(named))
    }
  })

  test(`${adapter}: a target is written, and is nobody else's meanwhile`, async (t) => {
    const { storage, answers, exported } = await open(t)
    answers.set('initialize_connection', await exported(gibibyte))
    const row = volumeRow()

    const target = await storage.openTarget(row, asking(), signal)
    await target.write(0, Buffer.from('restored'))
    await assert.rejects(storage.openTarget(row, asking(), signal), { code: 'VOLUME_IN_USE' })
    const bytes = Buffer.alloc(8)
    await target.read(0, bytes)
    await target[Symbol.asyncDispose]()

    assert.equal(bytes.toString(), 'restored')
    await (await storage.openTarget(row, asking(), signal))[Symbol.asyncDispose]()
  })

  test(`${adapter}: what cannot be attached is an error that says so, and is given back`, async (t) => {
    const { storage, asked, answers, exported } = await open(t)
    const refused: readonly (readonly [Json | Error, string, RegExp])[] = [
      [{ driver_volume_type: 'pigeon', data: {} }, 'CONNECTION_UNSUPPORTED', /pigeon/],
      [new Error('no such target'), 'ATTACH_FAILED', /no such target/],
      [null, 'ATTACH_FAILED', /without driver_volume_type/],
      [local('relative'), 'ATTACH_FAILED', /without a device_path/],
      [local('/nowhere/at/all'), 'VOLUME_NOT_FOUND', /\/nowhere\/at\/all/],
      [await exported(gibibyte - 512), 'VOLUME_INVALID_SIZE', /less than its 1 GiB/],
    ]
    for (const [answer, code, message] of refused) {
      asked.length = 0
      answers.set('initialize_connection', answer)

      await assert.rejects(storage.openSource(aDevice(), volumeRow(), asking(), signal), {
        code,
        message,
      })
      assert.deepEqual(methodsOf(asked).slice(1), ['terminate_connection', 'remove_export'])
    }
  })

  test(`${adapter}: a device that is longer than its size is told of and read`, async (t) => {
    const { storage, answers, exported } = await open(t)
    answers.set('initialize_connection', await exported(gibibyte + 512))
    const asked = asking()

    await using volume = await storage.openSource(aDevice(), volumeRow(), asked, signal)

    assert.equal(volume.sizeBytes, gibibyte + 512)
    assert.match(JSON.stringify(asked.log.lines), /longer than its size/)
  })

  test(`${adapter}: a volume that is not taken back is an error, but both ways are tried`, async (t) => {
    const { storage, asked, answers, exported } = await open(t)
    answers.set('initialize_connection', await exported(gibibyte))
    answers.set('terminate_connection', new Error('it is busy'))

    const volume = await storage.openSource(aDevice(), volumeRow(), asking(), signal)

    await assert.rejects(async () => volume[Symbol.asyncDispose](), {
      code: 'DETACH_FAILED',
      message: /it is busy/,
    })
    assert.deepEqual(methodsOf(asked).at(-1), 'remove_export')
  })

  test(`${adapter}: an attachment that was left is taken back, and a refusal is told`, async (t) => {
    const { storage, asked, answers } = await open(t)
    const volume = volumeRow()

    await storage.detachVolume(volume, 'attachment-1', asking(), signal)
    answers.set('detach_volume', new Error('it is busy'))
    const refused = storage.detachVolume(volume, 'attachment-2', asking(), signal)
    await assert.rejects(refused, /it is busy/)

    const [{ method, version, args } = { method: '', version: '', args: {} }] = asked
    assert.deepEqual([method, version], ['detach_volume', '3.4'])
    assert.deepEqual([args['volume_id'], args['attachment_id']], [volume.id, 'attachment-1'])
    assert.match(JSON.stringify(args['volume']), new RegExp(`"id":"${volume.id}"`))
  })

  test(`${adapter}: what is temporary is removed where its volume is`, async (t) => {
    const { storage, asked } = await open(t)
    const volume = volumeRow()
    const snapshot: SnapshotRow = {
      ...{ id: 's', volume_id: volume.id, status: 'deleting' },
      columns: { id: 's', volume_id: volume.id, status: 'deleting' },
    }

    await storage.deleteVolume(volume, asking(), signal)
    await storage.deleteSnapshot(snapshot, volume, asking(), signal)

    const [first, second] = asked
    assert.deepEqual([first?.method, first?.version], ['delete_volume', '3.0'])
    assert.deepEqual([first?.args['unmanage_only'], first?.args['cascade']], [false, false])
    assert.match(JSON.stringify(first?.args['volume']), new RegExp(`"id":"${volume.id}"`))
    assert.deepEqual([second?.method, second?.version], ['delete_snapshot', '3.0'])
  })
}

const methodsOf = (asked: VolumeService['asked']) => asked.map(({ method }) => method)

/** Source: a reply of cinder-volume 21.3.1 with a driver of local volumes. */
export function exportedAs(driver_volume_type: string, device_path: string): JsonObject {
  const rest = { qos_specs: null, access_mode: 'rw', encrypted: false, cacheable: false }
  return { driver_volume_type, data: { device_path, ...rest } }
}

export const local = (devicePath: string) => exportedAs('local', devicePath)

export function volumeRow(): VolumeRow {
  const { id }: BackupDevice = aDevice()
  const columns = aVolume(id)
  return {
    ...{ id, project_id: null, host: 'storage1@lvm#pool', cluster_name: null, size: 1 },
    ...{ status: 'backing-up', previous_status: 'available', encryption_key_id: null },
    ...{ columns, metadata: {}, glanceMetadata: {} },
  }
}
