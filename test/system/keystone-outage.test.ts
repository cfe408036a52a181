import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { HeardEvent } from '#src/adapters/rpc/rabbit-scheduler.ts'
import type { AgentSettings } from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { blockBytes, type DrivenAgent, drivenAgent, wholeFile } from '../support/driven-agent.ts'
import { type FaultProxy, faultProxy } from '../support/fault-proxy.ts'
import { keystoneToken } from '../support/keystone.ts'
import { privateSwift } from '../support/private-swift.ts'
import { eventually } from '../support/rabbit.ts'
import { assertSecret } from '../support/refused.ts'
import { times } from '../support/soak.ts'
import { contextOf, swiftSettings } from '../support/swift-agent.ts'
import { diskBytes, noise, sha256 } from '../support/volume-data.ts'

// Swift takes a token that it has seen for good for two seconds here, then it asks Keystone, and says
// 401 where that does not answer: so every running job meets the outage.

const real = await privateSwift(wholeFile)
const outageMs = times(10, 120) * 1000
const chunkCount = 40
const volumeBytes = chunkCount * blockBytes - 11
const patienceMs = 120_000

type Mode = {
  readonly name: string
  /** Options that reach Swift through `swift`, and who asks. */
  readonly open: (swift: FaultProxy) => Promise<{
    readonly options: Readonly<Record<string, string | number>>
    readonly more?: AgentSettings
    readonly token: string | null
  }>
}

const modes: readonly Mode[] = [
  {
    name: 'per_user',
    async open(swift) {
      return {
        options: { backup_swift_url: `${swift.origin}/v1/AUTH_` },
        more: { keystone_authtoken: { auth_url: real.keystone.url } },
        token: (await keystoneToken('demo', { of: real })).token,
      }
    },
  },
  {
    name: 'per_user with a service token',
    async open(swift) {
      const service = {
        send_service_user_token: 'true',
        auth_url: real.keystone.url,
        username: 'cinder',
        password: real.keystone.passwordOf('cinder'),
        project_name: 'service',
      }
      return {
        options: {
          backup_swift_url: `${swift.origin}/v1/AUTH_`,
          backup_swift_service_auth: 'true',
        },
        more: { service_user: service },
        token: (await keystoneToken('demo', { of: real })).token,
      }
    },
  },
  {
    name: 'single_user',
    async open() {
      return {
        options: {
          backup_swift_auth: 'single_user',
          backup_swift_auth_version: 3,
          backup_swift_auth_url: real.keystone.url,
          backup_swift_user: 'backup',
          backup_swift_key: real.keystone.passwordOf('backup'),
          backup_swift_project: 'backup',
        },
        token: null,
      }
    },
  },
]

async function openAgent(t: TestContext, { open }: Mode): Promise<DrivenAgent> {
  const swift = await faultProxy(t, real.swift.url)
  const { options, more, token } = await open(swift)
  const sizes = { backup_swift_object_size: blockBytes, backup_swift_retry_backoff: 1 }
  const sections = { ...more, cinder_backup_agent: { requests_max: 5 } }
  const context =
    token === null
      ? aContext({ authToken: null })
      : contextOf(await keystoneToken('demo', { of: real }), { authToken: token })
  return drivenAgent(t, swiftSettings({ ...sizes, ...options }, sections), context)
}

test('while Keystone is away running jobs and new ones wait in every mode, and then end well', async (t) => {
  const agents = await Promise.all(modes.map((mode) => openAgent(t, mode)))
  const bytes = diskBytes('outage', volumeBytes)
  const running = await Promise.all(
    agents.map(async (agent) => {
      const asked = agent.asked(await agent.newVolume(bytes))
      await agent.scheduler.ask('create', asked)
      return asked
    }),
  )
  for (const { scheduler } of agents) {
    const isUnderWay = ({ eventType, payload }: HeardEvent) =>
      eventType === 'backup.createprogress' && Number(payload['bytes_done']) > 0
    await eventually(() => scheduler.events.some(isUnderWay), 'some chunks are there', patienceMs)
  }

  await real.stopKeystone()
  const later = await Promise.all(
    agents.map(async (agent) => {
      const asked = agent.asked(await agent.newVolume(noise('later', 100_000)))
      await agent.scheduler.ask('create', asked)
      return asked
    }),
  )
  for (const [i, { agent }] of agents.entries()) {
    const isSaid = () => /IDENTITY_UNAVAILABLE/.test(agent.log())
    await eventually(isSaid, `${modes[i]?.name} says what it waits for`, patienceMs)
  }
  await sleep(outageMs)
  await real.startKeystone()

  const endsWell = async (agent: DrivenAgent, i: number) => {
    const { scheduler } = agent
    for (const asked of [running[i], later[i]]) {
      const id = asked?.id ?? ''
      const { eventType, payload } = await scheduler.ended('create', id, patienceMs)
      assert.equal(eventType, 'backup.create.end', `${modes[i]?.name}: ${payload['message']}`)
    }
    const record = scheduler.recordOf(running[i]?.id ?? '')
    assert.equal(record.object_count, chunkCount)
    assert.equal(sha256(await agent.restore(record, noise('dirt', volumeBytes))), sha256(bytes))
    const { authToken } = agent.context
    if (authToken !== null) assertSecret(authToken, agent)
  }
  await Promise.all(agents.map(endsWell))
})
