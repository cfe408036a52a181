// Volumes that are files on a share, as with NFS: os-brick mounts it, and a loop device makes a device of the file.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readFile, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

import { unitAttach } from '#src/adapters/attach/unit-attach.ts'
import { type AttachUnit, attachHost, attachUnit } from '../support/attach-unit.ts'
import { sha256 } from '../support/volume-data.ts'

const run = promisify(execFile)
const mebibyte = 2 ** 20
const signal = AbortSignal.timeout(60_000)

/** A share as os-brick finds one that is mounted already: this kernel may know no NFS. */
async function mountedShare({ socket }: AttachUnit) {
  const name = `192.0.2.1:/${randomUUID()}`
  const hash = createHash('md5').update(name).digest('hex')
  const folder = path.join(path.dirname(socket), 'mounts', hash)
  await mkdir(folder)
  await run('mount', ['-t', 'tmpfs', 'none', folder])
  return { name, folder, [Symbol.asyncDispose]: async () => void (await run('umount', [folder])) }
}

async function loopsOf(file: string): Promise<string> {
  return (await run('/usr/sbin/losetup', ['--noheadings', '-O', 'NAME,RO', '-j', file])).stdout
}

for (const access of ['read', 'write'] as const) {
  test(`a file on a share is a device to ${access}, until it is disconnected`, async (t) => {
    const unit = await attachUnit(t)
    await using share = await mountedShare(unit)
    const { name, folder } = share
    const file = path.join(folder, 'volume-1')
    await writeFile(file, 'of the share')
    await truncate(file, mebibyte)
    const attach = unitAttach({ ...attachHost, socket: unit.socket })
    const id = `volume-${randomUUID()}`
    const data = { export: name, name: 'volume-1', options: '-o vers=4.1', format: 'raw' }

    const device = await attach.connect({ id, type: 'nfs', data, access }, signal)

    assert.match(await loopsOf(file), access === 'read' ? /^\S+ +1$/m : /^\S+ +0$/m)
    const opened = await open(device, access === 'read' ? 'r' : 'r+')
    const content = await opened.read(Buffer.alloc(mebibyte), 0, mebibyte, 0)
    assert.equal(sha256(content.buffer), sha256(await readFile(file)))
    if (access === 'write') {
      await opened.write(Buffer.from('of a restore'), 0, 12, 4096)
      await opened.sync()
    }
    await opened.close()
    await attach.disconnect(id, { ignoreErrors: true }, signal)
    assert.equal(await loopsOf(file), '')
    assert.equal(
      (await readFile(file)).toString('utf8', 4096, 4107),
      access === 'write' ? 'of a restor' : '\0'.repeat(11),
    )
    assert.deepEqual(unit.connected(), [])
  })
}

test('a unit that was killed takes its loop device back after its next start', async (t) => {
  const unit = await attachUnit(t)
  await using share = await mountedShare(unit)
  const { name, folder } = share
  const file = path.join(folder, 'volume-1')
  await writeFile(file, '')
  await truncate(file, mebibyte)
  const attach = unitAttach({ ...attachHost, socket: unit.socket })
  const id = `volume-${randomUUID()}`
  const data = { export: name, name: 'volume-1' }
  await attach.connect({ id, type: 'nfs', data, access: 'read' }, signal)

  await unit.kill()
  await unit.start()
  assert.notEqual(await loopsOf(file), '')
  await attach.disconnect(id, { ignoreErrors: true }, signal)

  assert.equal(await loopsOf(file), '')
})

test('a file that would lose its end, or leads out of the share, is refused and leaves nothing', async (t) => {
  const unit = await attachUnit(t)
  await using share = await mountedShare(unit)
  const { name, folder } = share
  await writeFile(path.join(folder, 'odd'), 'x'.repeat(700))
  const attach = unitAttach({ ...attachHost, socket: unit.socket })
  for (const [file, code, message] of [
    ['odd', 'ATTACH_FAILED', /700 bytes, which are no whole sectors/],
    ['../../../../../../etc/passwd', 'CONNECTION_UNSUPPORTED', /nfs gives a file/],
    ['gone', 'ATTACH_FAILED', /No such file/],
  ] as const) {
    const id = `volume-${randomUUID()}`
    const data = { export: name, name: file }
    await assert.rejects(attach.connect({ id, type: 'nfs', data, access: 'write' }, signal), {
      code,
      message,
    })
    assert.deepEqual(unit.connected(), [])
  }
})
