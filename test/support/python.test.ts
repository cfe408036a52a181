import assert from 'node:assert/strict'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { inflateSync } from 'node:zlib'

import amqp from 'amqplib'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import { aRecord } from './builders.ts'
import { type CinderStore, startCinderDriver } from './cinder-driver.ts'
import { osloClient, osloListener } from './oslo.ts'
import { runPeer } from './python.ts'
import { rabbitVhost } from './rabbit-vhost.ts'
import { seedCompressions, writeSeedBackup } from './seed-writer.ts'
import { keystoneAccess, swiftContainer } from './stores.ts'

async function scratch(t: TestContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-peers-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const hex = (algorithm: 'md5' | 'sha256', bytes: Uint8Array) =>
  createHash(algorithm).update(bytes).digest('hex')

async function channelOf(t: TestContext, amqpUrl: string): Promise<amqp.Channel> {
  const connection = await amqp.connect(amqpUrl)
  connection.on('error', () => {})
  // Its virtual host may have gone before it.
  t.after(() => connection.close().catch(() => {}))
  return connection.createChannel()
}

test('a peer that fails says why', async () => {
  await assert.rejects(
    runPeer('seed_writer.py', { args: ['/nowhere', '/nowhere', '--era', 'juno'] }),
    /seed_writer\.py ended with 2: .*invalid choice: 'juno'/s,
  )
})

for (const compression of seedCompressions) {
  test(`an Icehouse backup with ${compression} has end offsets, digests of the stored bytes and no sha256file`, async (t) => {
    const folder = await scratch(t)
    const volume = Buffer.concat([randomBytes(100_000), Buffer.alloc(50_000, 'text'), Buffer.of(1)])
    await writeFile(path.join(folder, 'volume'), volume)
    const out = path.join(folder, 'out')

    const seed = await writeSeedBackup({
      volumeFile: path.join(folder, 'volume'),
      outFolder: out,
      era: 'icehouse',
      compression,
      chunkBytes: 65_536,
      volumeId: randomUUID(),
      backupId: randomUUID(),
      name: 'old',
    })

    assert.equal(seed.sha256, hex('sha256', volume))
    assert.equal(seed.record.object_count, 4)
    assert.equal(seed.objects.at(-1)?.name, `${seed.prefix}_metadata`)
    for (const { name, bytes, md5 } of seed.objects) {
      const stored = await readFile(path.join(out, name))
      assert.deepEqual([stored.byteLength, hex('md5', stored)], [bytes, md5])
    }
    const document = JSON.parse(await readFile(path.join(out, `${seed.prefix}_metadata`), 'utf8'))
    assert.deepEqual(Object.keys(document), [
      ...['backup_description', 'backup_id', 'backup_name', 'created_at'],
      ...['objects', 'version', 'volume_id', 'volume_meta'],
    ])
    const chunks = document.objects.map((entry: object) => Object.entries(entry)[0])
    assert.deepEqual(
      chunks.map(([, { offset, length }]: [string, Record<string, number>]) => [offset, length]),
      [
        [65_536, 65_536],
        [131_072, 65_536],
        [150_001, 18_929],
      ],
    )
    const isPlain = ['none', 'off', 'no'].includes(compression)
    for (const [name, { md5, compression: named }] of chunks) {
      assert.equal(md5, hex('md5', await readFile(path.join(out, name))))
      assert.equal(named, isPlain ? 'none' : compression)
    }
    const first = await readFile(path.join(out, `${seed.prefix}-00001`))
    if (!isPlain) assert.ok(first.byteLength > 65_536, 'what grew is stored compressed')
    if (compression === 'zlib') assert.deepEqual(inflateSync(first), volume.subarray(0, 65_536))
  })
}

test('a Kilo backup has start offsets, a null parent and a sha256file', async (t) => {
  const folder = await scratch(t)
  const volume = randomBytes(100_000)
  await writeFile(path.join(folder, 'volume'), volume)

  const seed = await writeSeedBackup({
    volumeFile: path.join(folder, 'volume'),
    outFolder: folder,
    era: 'kilo',
    compression: 'bz2',
    chunkBytes: 65_536,
    volumeId: randomUUID(),
    backupId: randomUUID(),
    volumeMeta: '{"version": 1}',
  })

  const read = async (suffix: string) =>
    JSON.parse(await readFile(path.join(folder, seed.prefix + suffix), 'utf8'))
  const metadata = await read('_metadata')
  assert.equal(metadata.parent_id, null)
  assert.equal(metadata.volume_meta, '{"version": 1}')
  assert.deepEqual(
    metadata.objects.map((entry: object) => Object.values(entry)[0].offset),
    [0, 65_536],
  )
  const { sha256s, chunk_size: blockBytes } = await read('_sha256file')
  assert.equal(blockBytes, 32_768)
  assert.equal(sha256s.length, 4)
  assert.equal(sha256s[3], hex('sha256', volume.subarray(3 * 32_768)))
})

const stores: readonly [
  string,
  (t: TestContext, folder: string) => Promise<{ store: CinderStore; container: string | null }>,
][] = [
  [
    'Swift',
    async (t) => {
      const login = () => keystoneAccess('demo')
      const container = await swiftContainer(t, login)
      return { store: { driver: 'swift', ...(await login()) }, container: container.name }
    },
  ],
  ['posix', async (_t, folder) => ({ store: { driver: 'posix', path: folder }, container: null })],
]

for (const [name, open] of stores) {
  test(`Debian's real ${name} driver restores its own full and incremental backup, and deletes them`, async (t) => {
    const folder = await scratch(t)
    const { store, container } = await open(t, path.join(folder, 'store'))
    const options = {
      backup_compression_algorithm: 'zlib',
      ...(store.driver === 'swift'
        ? { backup_swift_object_size: 131_072, backup_swift_block_size: 32_768 }
        : { backup_file_size: 131_072 }),
    }
    const file = path.join(folder, 'volume')
    const volumeId = randomUUID()
    const before = randomBytes(300_000)
    await writeFile(file, before)

    await using cinder = startCinderDriver()
    const full = await cinder.backup({
      store,
      options,
      chain: [aRecord({ volume_id: volumeId, container })],
      file,
      volume_meta: '{"version": 2}',
    })
    const after = Buffer.from(before)
    randomBytes(40_000).copy(after, 120_000)
    await writeFile(file, after)
    const child = aRecord({ volume_id: volumeId, container, parent_id: full.record.id })
    const increment = await cinder.backup({ store, options, chain: [full.record, child], file })

    assert.equal(full.record.status, 'available')
    assert.equal(full.record.object_count, 3)
    assert.match(full.record.service ?? '', /^cinder\.backup\.drivers\.\w+\.\w+BackupDriver$/)
    assert.equal(full.progress.at(-1), 100)
    assert.equal(increment.record.object_count, 2)
    const chain: [BackupRecord, ...BackupRecord[]] = [full.record, increment.record]
    const target = path.join(folder, 'target')
    await writeFile(target, Buffer.alloc(400_000, 0xff))
    const restored = await cinder.restore({ store, chain, file: target })
    const content = await readFile(target)
    assert.equal(hex('sha256', content.subarray(0, 300_000)), hex('sha256', after))
    assert.equal((await stat(target)).size, 400_000, 'the target is not cut')
    assert.deepEqual(restored.volume_meta, ['{"version": 2}'])
    await assert.rejects(
      cinder.restore({ store, chain: [increment.record], file: target }),
      /^Error: KeyError/,
      'what Cinder raises is told',
    )
    for (const record of chain) await cinder.remove({ store, chain: [record] })
    if (store.driver === 'posix') {
      const left = await readdir(store.path, { recursive: true, withFileTypes: true })
      assert.deepEqual(
        left.filter((entry) => entry.isFile()),
        [],
      )
    }
  })
}

test('a real oslo.messaging client sends objects of Cinder and revives the failure it is answered', async (t) => {
  const { transportUrl, amqpUrl } = await rabbitVhost(t)
  const channel = await channelOf(t, amqpUrl)
  await channel.assertExchange('openstack', 'topic', { durable: false })
  await channel.assertQueue('cinder-backup', { durable: false })
  await channel.bindQueue('cinder-backup', 'openstack', 'cinder-backup')
  const record = aRecord({ display_name: 'älter' })
  const failure = {
    class: 'InvalidBackup',
    module: 'cinder.exception',
    message: 'Invalid backup: it is not',
    args: ['Invalid backup: it is not'],
    kwargs: { reason: 'it is not', code: 400 },
    tb: [],
  }
  const received: string[] = []
  await channel.consume('cinder-backup', (message) => {
    assert.ok(message)
    channel.ack(message)
    const { args, _msg_id, _reply_q, _context_user } = JSON.parse(
      JSON.parse(message.content.toString())['oslo.message'],
    )
    received.push(args.backup['versioned_object.data'].display_name, _context_user)
    assert.equal(args.backup['versioned_object.name'], 'Backup')
    if (_reply_q === undefined) return
    const reply = {
      ...{ result: null, failure: JSON.stringify(failure), ending: true },
      ...{ _msg_id, _unique_id: randomUUID() },
    }
    const envelope = { 'oslo.version': '2.0', 'oslo.message': JSON.stringify(reply) }
    channel.publish('', _reply_q, Buffer.from(JSON.stringify(envelope)), {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
    })
  })
  await using client = await osloClient({ transportUrl }, 'cinder-backup')
  const request = {
    method: 'create_backup',
    args: { backup: { $object: 'Backup', data: { ...record } } },
    context: { user: 'demo' },
    version: '2.0',
  }

  await client.cast(request)
  const answer = await client.call(request)

  assert.deepEqual(received, ['älter', 'demo', 'älter', 'demo'])
  assert.equal(answer.failure?.class, 'InvalidBackup_Remote')
  assert.equal(answer.failure?.module, 'cinder.exception_Remote')
  assert.ok(answer.failure?.bases.includes('InvalidBackup'))
  assert.match(answer.failure?.message ?? '', /^Invalid backup: it is not/)
})

test('a call that nobody answers times out in a real oslo.messaging client', async (t) => {
  const { transportUrl } = await rabbitVhost(t)
  await using client = await osloClient({ transportUrl }, 'cinder-backup')

  const answer = await client.call({ method: 'ping', timeout: 1 })

  assert.equal(answer.failure?.class, 'MessagingTimeout')
})

test('a real oslo.messaging listener hears a notification, on durable queues where told so', async (t) => {
  const vhost = await rabbitVhost(t)
  const conf = { amqp_durable_queues: true }
  await using listener = await osloListener({ transportUrl: vhost.transportUrl, conf })
  const channel = await channelOf(t, vhost.amqpUrl)
  const message = {
    ...{ message_id: randomUUID(), publisher_id: 'backup.host', priority: 'INFO' },
    ...{ event_type: 'backup.create.end', payload: { size: 1 } },
    ...{ timestamp: '2026-11-23 00:20:54.573429', _context_user: 'demo' },
  }
  const envelope = { 'oslo.version': '2.0', 'oslo.message': JSON.stringify(message) }

  channel.publish('openstack', 'notifications.info', Buffer.from(JSON.stringify(envelope)), {
    contentType: 'application/json',
    contentEncoding: 'utf-8',
  })

  const heard = await listener.find((one) => one.event_type === 'backup.create.end')
  assert.equal(heard.priority, 'info')
  assert.equal(heard.message_id, message.message_id)
  assert.deepEqual(heard.payload, { size: 1 })
  const queue = (await vhost.queues()).find(({ name }) => name === 'notifications.info')
  assert.equal(queue?.durable, true)
})
