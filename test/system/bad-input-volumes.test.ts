// Devices that must not be read, or not be written: refused before the first byte.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'

import { chunkBytes, drivenAgent, wholeFile } from '../support/driven-agent.ts'
import { assertFails } from '../support/good-message.ts'
import { attachLoop, loopDevice } from '../support/loop-device.ts'
import { eventually } from '../support/rabbit.ts'
import { diskBytes, noise, sha256 } from '../support/volume-data.ts'
import { sha256Of, storedFiles } from '../support/volume-files.ts'

const agent = await drivenAgent(wholeFile)
const { home } = agent
const source = diskBytes('bad volumes', 3 * chunkBytes + 77)
const sourceId = await agent.newVolume(source)
const backup = await agent.backup(sourceId)
const bystander = await storedFiles(home)

/** A volume's id whose path is a link to `target`. */
async function linkTo(target: string): Promise<string> {
  const id = randomUUID()
  await symlink(target, agent.volumeFile(id))
  return id
}

/** A backup of the volume fails, and leaves no object. */
async function assertNoBackup(
  volumeId: string,
  code: Parameters<typeof assertFails>[3],
  text: RegExp,
) {
  const record = agent.asked(volumeId)
  const event = await assertFails(agent, 'create', { record }, code, text)
  assert.equal(event.payload['backup_id'], record.id)
  assert.equal(event.payload['status'], 'error')
  assert.match(String(event.payload['fail_reason']), new RegExp(`^${code}: `))
  assert.deepEqual(
    (await storedFiles(home)).filter((file) => file.includes(record.id)),
    [],
  )
}

/** A restore onto the volume fails before the first write. */
async function assertNoRestore(
  volumeId: string,
  code: Parameters<typeof assertFails>[3],
  text: RegExp,
) {
  const extra = { volume_id: volumeId }
  const event = await assertFails(agent, 'restore', { record: backup, extra }, code, text)
  assert.equal(event.payload['target'], 'untouched')
  assert.equal(event.payload['status'], 'available', 'the backup is still good')
}

test('a volume that is not there is named, with every path that was tried', async () => {
  const id = randomUUID()
  const text = new RegExp(`volume ${id} is not on this host, tried ${agent.volumeFile(id)}`)
  await assertNoBackup(id, 'VOLUME_NOT_FOUND', text)
  await assertNoRestore(id, 'VOLUME_NOT_FOUND', text)
})

test('a link to a file is neither read nor written, wherever it leads', async () => {
  const secret = path.join(home.folder, 'secret')
  await writeFile(secret, noise('secret', 4 * chunkBytes))
  const before = await sha256Of(secret)
  for (const target of [secret, agent.volumeFile(sourceId), '../secret']) {
    const id = await linkTo(target)
    await assertNoBackup(id, 'VOLUME_OUTSIDE_ROOTS', new RegExp(`${id} is a link to the file`))
    await assertNoRestore(id, 'VOLUME_OUTSIDE_ROOTS', new RegExp(`${id} is a link to the file`))
  }
  assert.equal(await sha256Of(secret), before)
  assert.equal(await sha256Of(agent.volumeFile(sourceId)), sha256(source))
})

test('a link to a block device from a folder that others can write is not followed', async (t) => {
  await using device = await loopDevice(8 * chunkBytes)
  const volumes = path.join(home.folder, 'open-volumes')
  await mkdir(volumes, { mode: 0o777 })
  execFileSync('chmod', ['0777', volumes])
  const open = await drivenAgent(t, {
    cinder_backup_agent: { volume_paths: path.join(volumes, 'volume-{volume_id}') },
  })
  const id = randomUUID()
  await symlink(device.path, path.join(volumes, `volume-${id}`))
  const event = await open.scheduler.run('create', open.asked(id))
  assert.equal(event.payload['code'], 'VOLUME_OUTSIDE_ROOTS')
  assert.match(String(event.payload['message']), /others than root can write .*chown root/)
})

test('what is no disk is no volume: a directory, a pipe, a character device', async () => {
  const folder = randomUUID()
  await mkdir(agent.volumeFile(folder))
  await assertNoBackup(folder, 'VOLUME_NOT_FOUND', /is a directory, neither a block device nor/)
  const pipe = randomUUID()
  execFileSync('mkfifo', [agent.volumeFile(pipe)])
  await assertNoBackup(pipe, 'VOLUME_NOT_FOUND', /is a named pipe/)
  const zero = await linkTo('/dev/zero')
  await assertNoBackup(zero, 'VOLUME_NOT_FOUND', /is a character device/)
  await assertNoRestore(zero, 'VOLUME_NOT_FOUND', /is a character device/)
})

test('a volume of no bytes is refused', async () => {
  const id = await agent.newVolume(Buffer.alloc(0))
  await assertNoBackup(id, 'VOLUME_INVALID_SIZE', new RegExp(`volume-${id} has a size of 0 bytes`))
})

test('a record of a volume of 0 GiB is refused, whatever the device says', async () => {
  const record = agent.asked(sourceId, { size: 0 })
  const text = new RegExp(`backup ${record.id} is of a volume of 0 GiB`)
  await assertFails(agent, 'create', { record }, 'VOLUME_INVALID_SIZE', text)
})

test('an encrypted volume is refused, and nothing of it stored', async () => {
  const record = agent.asked(sourceId, { encryption_key_id: randomUUID() })
  const text = new RegExp(`the volume of backup ${record.id} is encrypted with key`)
  await assertFails(agent, 'create', { record }, 'ENCRYPTION_UNSUPPORTED', text)
  assert.deepEqual(
    await storedFiles(home).then((all) => all.filter((f) => f.includes(record.id))),
    [],
  )
})

test('a target that is too small is refused, and says what is needed; its bytes stay', async () => {
  const before = noise('small', source.length - 1)
  const id = await agent.newVolume(before)
  const text = new RegExp(
    `the backup holds ${source.length} bytes, and the volume only ${before.length}`,
  )
  await assertNoRestore(id, 'VOLUME_TOO_SMALL', text)
  assert.equal(await sha256Of(agent.volumeFile(id)), sha256(before))
  await rm(agent.volumeFile(id))
})

test('a mounted target is refused and left alone', async () => {
  await using device = await loopDevice(16 * 2 ** 20)
  execFileSync('mkfs.ext4', ['-q', '-F', device.path])
  const mountPoint = path.join(home.folder, `mount-${randomUUID()}`)
  await mkdir(mountPoint)
  execFileSync('mount', [device.path, mountPoint])
  try {
    await writeFile(path.join(mountPoint, 'kept'), 'kept')
    // The file system writes now and then by itself: only a quiet one can be compared.
    execFileSync('mount', ['-o', 'remount,ro', mountPoint])
    const before = await sha256Of(device.path)
    await assertNoRestore(
      await linkTo(device.path),
      'VOLUME_IN_USE',
      /is not written to: .*mounted/,
    )
    assert.equal(await sha256Of(device.path), before)
  } finally {
    execFileSync('umount', [mountPoint])
  }
})

test('a target with a mounted partition, swap on it, or a loop device before it is refused', async () => {
  await using disk = await loopDevice(16 * 2 ** 20)
  await using above = await attachLoop(disk.path)
  await assertNoRestore(await linkTo(disk.path), 'VOLUME_IN_USE', /is not written to: /)
  assert.ok(above.path.startsWith('/dev/loop'))
  await using swap = await loopDevice(16 * 2 ** 20)
  execFileSync('mkswap', [swap.path], { stdio: 'ignore' })
  execFileSync('swapon', [swap.path])
  try {
    await assertNoRestore(await linkTo(swap.path), 'VOLUME_IN_USE', /is not written to: .*swap/)
  } finally {
    execFileSync('swapoff', [swap.path])
  }
})

test('a read-only target is refused, and says so', async () => {
  await using device = await loopDevice(8 * chunkBytes, { readOnly: true })
  await assertNoRestore(
    await linkTo(device.path),
    'VOLUME_WRITE_FAILED',
    /is read-only: nothing was written/,
  )
})

test('a volume that shrinks while it is backed up ends in error, naming where', async (t) => {
  const slow = await drivenAgent(t, { cinder_backup_agent: { requests_max: 20 } })
  const id = await slow.newVolume(noise('shrinks', 64 * chunkBytes))
  const record = slow.asked(id)
  await slow.scheduler.ask('create', record)
  await eventually(async () => (await storedFiles(slow.home)).length >= 2, 'the first objects')
  await truncate(slow.volumeFile(id), chunkBytes)
  const { eventType, payload } = await slow.scheduler.ended('create', record.id)
  assert.equal(eventType, 'backup.create.error')
  assert.equal(payload['code'], 'VOLUME_CHANGED')
  assert.match(
    String(payload['message']),
    new RegExp(`volume-${id} (ended at byte|has ${chunkBytes} bytes now) .*shrunk`),
  )
})

test('of all these the good backup is as it was', async () => {
  const now = await storedFiles(home)
  for (const file of bystander) assert.ok(now.includes(file), file)
  const restored = await agent.restore(backup, noise('dirt', source.length))
  assert.equal(sha256(restored), sha256(source))
})
