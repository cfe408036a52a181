// Requests that a restarted RabbitMQ forgets before our agent has them: no row stays in the middle.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { spawnOurs, stopBackupService } from '../support/backup-service.ts'
import { memberOf, writtenVolume } from '../support/cinder-volumes.ts'
import { askRestore, ends, restartBroker } from '../support/outage-bench.ts'
import { plainClient } from '../support/rabbit.ts'
import { services } from '../support/services.ts'

const exchange = 'openstack'
const queue = 'cinder-backup.cinder-host'

/** The grace time of the agent, its looks, and what a delete takes. */
const lostSeconds = 400

test('requests that are lost with the queues of RabbitMQ are ended, and what is asked for next is done', async (t) => {
  await stopBackupService()
  const demo = await memberOf(t) // What it leaves is removed before the agent is.
  const agent = await spawnOurs(t)
  await agent.logged(/\bserving\b/, 60)
  const [volume] = await writtenVolume(demo)
  const [toDelete, toRestore] = [await demo.createBackup(volume), await demo.createBackup(volume)]
  const [target, source] = [await demo.createVolume(), await demo.createVolume()]

  // As while the broker is back and the queue is not: what is sent now reaches nobody.
  const { user, password, host, port } = services().rabbit
  const { channel } = await plainClient(t, `amqp://${user}:${password}@${host}:${port}/`)
  await channel.unbindQueue(queue, exchange, queue)
  const made = await demo.beginBackup(source)
  await askRestore(demo, toRestore, target)
  await demo.call('DELETE', `/backups/${toDelete}`)
  await sleep(2_000) // The scheduler passes the create on.
  await restartBroker()
  await sleep(20_000)
  for (const [id, status] of [
    [made, 'creating'],
    [toRestore, 'restoring'],
    [toDelete, 'deleting'],
  ] as const) {
    assert.equal((await demo.get('backup', id)).status, status, 'it is left alone for a time')
  }

  await ends(agent, demo, 'backup', made, 'error', lostSeconds)
  assert.match(String((await demo.get('backup', made))['fail_reason']), /was lost on its way/)
  assert.equal((await demo.get('volume', source)).status, 'available')
  await ends(agent, demo, 'backup', toRestore, 'available', 60)
  assert.equal((await demo.get('volume', target)).status, 'error_restoring')
  // It goes on without its user's token, which the account of the store is found by here.
  await ends(agent, demo, 'backup', toDelete, 'error', 60)
  await demo.delete('backup', toDelete)

  await demo.createBackup(source)
})
