// Zed's own API, scheduler and volume service beside our agent, whichever RPC version it advertises.

import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'

import type { JsonObject } from '#src/domain/json.ts'
import { spawnOurs, stopBackupService } from '../support/backup-service.ts'
import { cinderRows } from '../support/cinder-rows.ts'
import {
  administrator,
  change,
  eventually,
  memberOf,
  writtenVolume,
} from '../support/cinder-volumes.ts'
import { plainClient, uniqueName } from '../support/rabbit.ts'
import { sumOf } from '../support/real-cinder.ts'
import { serviceScript, services } from '../support/services.ts'

const exchange = 'openstack'
const runScript = serviceScript()
after(() => stopBackupService())

for (const version of ['2.3', '2.4']) {
  test(`an agent that advertises ${version} makes, restores and deletes backups, also incremental ones`, async (t) => {
    await stopBackupService()
    const demo = await memberOf(t) // What it leaves is removed before the agent is.
    const agent = await spawnOurs(t, `[cinder_backup_agent]\nadvertise_rpc = ${version}\n`)
    await agent.logged(/\bserving\b/, 60)
    await runScript('restart', 'cinder') // They know the pin of their start for good.
    const rows = await cinderRows('services', `topic = 'cinder-backup' AND NOT deleted`)
    assert.deepEqual(
      rows.map((row) => [row['rpc_current_version'], row['object_current_version']]),
      [[version, '1.39']],
    )

    const [volume, sum] = await writtenVolume(demo)
    const full = await demo.createBackup(volume)
    const changed = await change(volume)
    const incremental = await demo.createBackup(volume, { incremental: true })
    assert.equal(await sumOf(await demo.restore(full)), sum)
    assert.equal(await sumOf(await demo.restore(incremental)), changed)
    const admin = await administrator()
    assert.match((await admin.exportRecord(full)).backup_url, /./)
    await demo.delete('backup', incremental)
    await demo.delete('backup', full)
    assert.deepEqual(await demo.objectsOf(full), [])
    assert.equal(await agent.end('SIGTERM'), 0)
  })
}

test('a restore that says whether its volume is new is done, be it so or not', async (t) => {
  await stopBackupService()
  const demo = await memberOf(t)
  const agent = await spawnOurs(t)
  await agent.logged(/\bserving\b/, 60)
  const [volume, sum] = await writtenVolume(demo)
  const backup = await demo.createBackup(volume)
  const wire = await requestsOf(t, agent.log())

  for (const isNew of [true, false]) {
    const target = isNew ? await demo.createVolume() : (await writtenVolume(demo))[0]
    await wire.divert()
    await demo.call('POST', `/backups/${backup}/restore`, { restore: { volume_id: target } })
    await wire.sendOn({ volume_is_new: isNew })

    await demo.wait('backup', backup, 'available')
    await demo.wait('volume', target, 'available')
    assert.equal(await sumOf(target), sum)
    const told = new RegExp(`"?volume_is_new"?[=:] ?${isNew}\\b`)
    await eventually(async () => assert.match(agent.log(), told))
  }
})

/**
 * The requests of our agent's host, which can be led aside and sent on with more arguments. Each agent that
 * starts binds its queue again.
 */
async function requestsOf(t: TestContext, log: string) {
  const [, queue = ''] = /"(cinder-backup\.[^"]+)"/.exec(log) ?? []
  const aside = uniqueName('aside')
  const { user, password, host, port } = services().rabbit
  const client = await plainClient(t, `amqp://${user}:${password}@${host}:${port}/`)
  const { channel } = client
  await channel.assertQueue(aside, { exclusive: true, autoDelete: true })
  return {
    async divert() {
      await channel.bindQueue(aside, exchange, queue)
      await channel.unbindQueue(queue, exchange, queue)
    },
    async sendOn(args: JsonObject) {
      const { content, properties } = await client.next(aside)
      const envelope = JSON.parse(content.toString()) as JsonObject
      const message = JSON.parse(String(envelope['oslo.message'])) as { readonly args: JsonObject }
      const more = { ...message, args: { ...message.args, ...args } }
      const body = JSON.stringify({ ...envelope, 'oslo.message': JSON.stringify(more) })
      await channel.bindQueue(queue, exchange, queue)
      await channel.unbindQueue(aside, exchange, queue)
      const { contentType, contentEncoding, priority, deliveryMode, headers } = properties
      const options = { contentType, contentEncoding, priority, deliveryMode, headers }
      client.publish('', queue, body, options)
    },
  }
}
