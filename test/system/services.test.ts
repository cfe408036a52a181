import assert from 'node:assert/strict'
import { access } from 'node:fs/promises'
import { test } from 'node:test'
import amqp from 'amqplib'
import { wallClockMs } from '#src/lib/clock.ts'
import { cinderContext, keystoneToken, revokeToken } from '../support/keystone.ts'
import { privateRabbit, rabbitVhost } from '../support/rabbit-vhost.ts'
import { serviceScript, services } from '../support/services.ts'
import { keystoneAccess, type Login, swiftContainer, tempauthAccess } from '../support/stores.ts'

const doors: readonly [string, Login][] = [
  ['Keystone', () => keystoneAccess('demo')],
  ["Keystone's short-lived door", () => keystoneAccess('backup', { short: true })],
  ['tempauth', () => tempauthAccess()],
  ["tempauth's short-lived door", () => tempauthAccess({ short: true })],
]

for (const [door, login] of doors) {
  test(`with a token of ${door}, Swift stores, lists and gives back an object`, async (t) => {
    const container = await swiftContainer(t, login)
    const body = new TextEncoder().encode('a chunk')

    await container.put('volume_1/20261123/az_nova_backup_1-00001', body)

    const [entry, ...more] = await container.list('volume_1/')
    assert.equal(entry?.name, 'volume_1/20261123/az_nova_backup_1-00001')
    assert.equal(entry.bytes, body.byteLength)
    assert.deepEqual(more, [])
    assert.deepEqual(await container.get(entry.name), body)
  })
}

test('a short-lived token ends within seconds, a usual one does not', async () => {
  const untilEnd = async (short: boolean) =>
    Date.parse((await keystoneToken('backup', { short })).expiresAt) - wallClockMs()

  assert.ok((await untilEnd(true)) <= 30_000)
  assert.ok((await untilEnd(false)) > 1_800_000)
})

test('a revoked token is refused by Swift', async () => {
  const user = await keystoneToken('demo')

  await revokeToken(user)

  const answer = await fetch(user.swiftUrl, { headers: { 'x-auth-token': user.token } })
  assert.equal(answer.status, 401)
})

test("the catalogue has the project's own Swift, in the shape that Cinder forwards", async () => {
  const user = await keystoneToken('demo')

  const { service_catalog, project_id } = cinderContext(user, 'req-1')

  assert.equal(project_id, user.projectId)
  const swift = { publicURL: user.swiftUrl, internalURL: user.swiftUrl, adminURL: user.swiftUrl }
  const keystone = services().keystone.url
  const identity = { publicURL: keystone, internalURL: keystone, adminURL: keystone }
  assert.deepEqual(
    service_catalog,
    JSON.parse(
      JSON.stringify([
        { type: 'identity', name: 'keystone', endpoints: [{ region: 'RegionOne', ...identity }] },
        { type: 'object-store', name: 'swift', endpoints: [{ region: 'RegionOne', ...swift }] },
      ]),
    ),
  )
})

test('a virtual host takes messages, counts them and can be cut off', async (t) => {
  const vhost = await rabbitVhost(t)
  const connection = await amqp.connect(vhost.amqpUrl)
  const closed = new Promise<void>((resolve) => connection.on('close', () => resolve()))
  connection.on('error', () => {})
  const channel = await connection.createConfirmChannel()
  channel.on('error', () => {})
  await channel.assertQueue('cinder-backup', { durable: true, arguments: { 'x-expires': 60_000 } })
  channel.sendToQueue('cinder-backup', Buffer.from('{}'))
  await channel.waitForConfirms()

  const [queue] = await vhost.queues()
  assert.equal(queue?.name, 'cinder-backup')
  assert.equal(queue.durable, true)
  assert.deepEqual(queue.arguments, { 'x-expires': 60_000 })
  assert.equal(queue.messages, 1)

  assert.equal(queue.consumers, 0)
  await vhost.closeConnections()
  await closed
})

test('a private RabbitMQ blocks its publishers, restarts at the same address and leaves nothing', async (t) => {
  const ended: (() => unknown)[] = []
  const rabbit = await privateRabbit({ after: (end) => ended.push(end as () => unknown) })
  t.after(async () => {
    for (const end of ended.splice(0)) await end()
  })
  const first = await amqp.connect(rabbit.amqpUrl)
  first.on('error', () => {})
  const blocked = new Promise<void>((resolve) => first.on('blocked', () => resolve()))
  const channel = await first.createChannel()
  channel.on('error', () => {})

  await rabbit.block(true)
  channel.sendToQueue('nowhere', Buffer.from('x'))
  await blocked
  await rabbit.block(false)
  await rabbit.restart()

  const second = await amqp.connect(rabbit.amqpUrl)
  await second.close()
  const folder = (await rabbit.ctl('environment')).match(/"?([^"\s]*private\/rabbit-[^/"]*)/)?.[1]
  assert.ok(folder, 'the broker tells its folder')
  for (const end of ended.splice(0)) await end()
  await assert.rejects(access(folder))
})

test('a command for a service that does not exist names those that do', async () => {
  await assert.rejects(serviceScript()('up', 'nova'), /there is no service nova.*rabbitmq/)
})
