import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { open, writeFile } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'

import type { HostAttach } from '#src/ports/host-attach.ts'
import { loopDevice } from '../support/loop-device.ts'

/** Attaching on this host, and how many connections it has. */
export type AttachingHost = { readonly attach: HostAttach; readonly connections: () => number }

const mebibyte = 2 ** 20
const signal = AbortSignal.timeout(120_000)

/** A type whose devices are where cinder-volume says, as those of `local`. */
const type = 'gpfs'

/** What every HostAttach must do. */
export function testHostAttach(
  adapter: string,
  begin: (t: TestContext) => Promise<AttachingHost>,
): void {
  test(`${adapter}: tells what os-brick knows of this host`, async (t) => {
    const { attach } = await begin(t)

    const connector = await attach.connector(signal)

    assert.equal(connector?.['ip'], '192.0.2.7')
    assert.equal(connector['os_type'], 'linux')
    assert.equal(connector['multipath'], false)
    assert.ok('initiator' in connector)
  })

  for (const access of ['read', 'write'] as const) {
    test(`${adapter}: what is connected to ${access} is a device until it is disconnected`, async (t) => {
      const { attach, connections } = await begin(t)
      await using device = await loopDevice(mebibyte)
      const id = `volume-${randomUUID()}`
      const data = { device_path: device.path, access_mode: 'rw', encrypted: false }

      const path = await attach.connect({ id, type, data, access }, signal)

      const file = await open(path, access === 'read' ? 'r' : 'r+')
      const stats = await file.stat()
      assert.ok(stats.isBlockDevice())
      assert.equal(stats.mode & 0o777, access === 'read' ? 0o400 : 0o600)
      const { bytesRead } = await file.read(Buffer.alloc(512), 0, 512, mebibyte - 512)
      assert.equal(bytesRead, 512)
      await file.close()
      assert.equal(connections(), 1)
      await attach.disconnect(id, { ignoreErrors: access === 'read' }, signal)
      assert.deepEqual([existsSync(path), connections()], [false, 0])
      await attach.disconnect(id, { ignoreErrors: false }, signal)
    })
  }

  test(`${adapter}: a connect of what the same process has takes its place`, async (t) => {
    const { attach, connections } = await begin(t)
    await using before = await loopDevice(mebibyte)
    await using device = await loopDevice(mebibyte)
    await writeFile(device.path, 'the later')
    const id = `snapshot-${randomUUID()}`
    const connect = (from: string) =>
      attach.connect({ id, type, data: { device_path: from }, access: 'read' }, signal)
    await connect(before.path)

    const path = await connect(device.path)

    await using file = await open(path)
    const { buffer } = await file.read(Buffer.alloc(9), 0, 9, 0)
    assert.equal(buffer.toString(), 'the later')
    assert.equal(connections(), 1)
    await attach.disconnect(id, { ignoreErrors: true }, signal)
  })

  test(`${adapter}: what cannot be attached says why, and leaves nothing`, async (t) => {
    const { attach, connections } = await begin(t)
    const refused = [
      ['carrier_pigeon', {}, 'CONNECTION_UNSUPPORTED', /carrier_pigeon/],
      ['local', { device_path: '/usr' }, 'CONNECTION_UNSUPPORTED', /local gives a folder/],
      ['gpfs', {}, 'ATTACH_FAILED', /device_path/],
      ['local', { device_path: '/nowhere/at/all' }, 'ATTACH_FAILED', /\/nowhere\/at\/all/],
      ['nfs', { export: '-oProxy', name: 'v' }, 'ATTACH_FAILED', /data of connect/],
    ] as const
    for (const [of, data, code, message] of refused) {
      const connection = { id: `volume-${randomUUID()}`, type: of, data, access: 'read' } as const
      await assert.rejects(attach.connect(connection, signal), { code, message })
      assert.equal(connections(), 0)
    }
  })
}
