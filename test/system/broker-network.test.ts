// The way to RabbitMQ breaks, or goes silent with its sockets open: jobs go on, and all is told in order.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { monotonicMs } from '#src/lib/clock.ts'
import { agentHome, startAgent } from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { doorTo } from '../support/door.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'
import { runsOf } from '../support/runs.ts'
import { recordFor } from '../support/scheduler.ts'
import { times } from '../support/soak.ts'
import { steadyPeer } from '../support/steady-peer.ts'
import { diskBytes } from '../support/volume-data.ts'
import { volumeWith } from '../support/volume-files.ts'

const kibibyte = 1024
const heartbeatSeconds = 2

test('a way to the broker that breaks or goes silent in mid-job costs no job and no event', async (t) => {
  const vhost = await rabbitVhost(t)
  const url = new URL(vhost.transportUrl)
  const door = await doorTo(t, `http://${url.host}`)
  await door.open()
  url.host = new URL(door.origin).host
  const home = await agentHome(t, url.href, {
    DEFAULT: { backup_file_size: 256 * kibibyte, backup_sha_block_size_bytes: 32 * kibibyte },
    oslo_messaging_rabbit: { heartbeat_timeout_threshold: heartbeatSeconds },
    cinder_backup_agent: { requests_max: 6 },
  })
  const peer = await steadyPeer(t, vhost.amqpUrl)
  const agent = await startAgent(t, home)
  const count = (pattern: RegExp) => [...agent.log().matchAll(pattern)].length
  const until = async (what: string, isSo: () => boolean) => {
    const deadlineMs = monotonicMs() + 40_000
    while (!isSo()) {
      assert.ok(monotonicMs() < deadlineMs, `${what}\n${agent.log().slice(-3000)}`)
      await sleep(20)
    }
  }
  const newRecord = async (seed: string) =>
    recordFor(await volumeWith(home, diskBytes(seed, 4096 * kibibyte)), aContext())

  const breaks = Array.from({ length: times(2, 20) }, (_, index) => index % 2 === 0)
  let asked = 0
  for (const isSilent of breaks) {
    const [record, late] = [await newRecord(`job ${asked}`), await newRecord(`late ${asked}`)]
    asked += 2
    await peer.cast('create', record)
    await agent.logged(new RegExp(`create started.*${record.id}`))
    const lostBefore = count(/no connection to the broker/g)
    const fromMs = monotonicMs()
    if (isSilent) door.freeze()
    else await door.shut()
    await until('the loss is noticed', () => count(/no connection to the broker/g) > lostBefore)
    const noticedMs = Math.round(monotonicMs() - fromMs)
    // amqplib gives up after two whole intervals of silence, which are up to three from the last byte.
    assert.ok(noticedMs < (3 * heartbeatSeconds + 3) * 1000, `noticed after ${noticedMs} ms`)
    await peer.cast('create', late) // The broker keeps it.
    await until('the job ends by itself', () => count(/create ended/g) > asked - 2)
    const heardOf = () => peer.heard.filter(({ payload }) => payload['backup_id'] === record.id)
    assert.ok(
      !heardOf().some(({ eventType }) => eventType.endsWith('.end')),
      'nothing came through',
    )
    if (isSilent) await door.shut()
    await door.open()
    for (const { id } of [record, late]) {
      const end = await peer.ended('create', id, 60).catch((error: Error) => {
        throw new Error(`${error.message}\n${agent.log().slice(-3000)}`)
      })
      assert.equal(end.payload['status'], 'available')
    }
    t.diagnostic(`${isSilent ? 'a black hole' : 'a cut'} noticed after ${noticedMs} ms`)
  }
  const runs = runsOf(peer.heard)
  assert.equal(runs.length, asked, 'one run for each request')
  const logged = [...agent.log().matchAll(/create ended.*?backup_id=([0-9a-f-]{36})/g)]
  assert.deepEqual(
    runs.toSorted((a, b) => a.final.atMs - b.final.atMs).map(({ backupId }) => backupId),
    logged.map(([, id]) => id),
  )
})
