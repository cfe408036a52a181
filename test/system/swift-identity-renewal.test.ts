import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { aContext } from '../support/builders.ts'
import { blockBytes, type DrivenAgent, drivenAgent } from '../support/driven-agent.ts'
import { type FaultProxy, faultProxy } from '../support/fault-proxy.ts'
import { keystoneToken, revokeToken } from '../support/keystone.ts'
import { eventually } from '../support/rabbit.ts'
import { services } from '../support/services.ts'
import { keystoneAccess, type Login, swiftContainer, tempauthAccess } from '../support/stores.ts'
import { byPassword, byTempauth, swiftSettings } from '../support/swift-agent.ts'
import { diskBytes, noise, sha256 } from '../support/volume-data.ts'

// Tokens of the short-lived doors live ten seconds, and a backup is made to last longer.

type Door = {
  readonly name: string
  /** Options that lead through `auth` to the store behind `swift`. */
  readonly open: (t: TestContext) => Promise<{
    readonly options: Readonly<Record<string, string | number>>
    readonly auth: FaultProxy
    readonly swift: FaultProxy
    readonly isLogin: RegExp
  }>
  readonly account: Login
}

const doors: readonly Door[] = [
  {
    name: 'Keystone v3',
    async open(t) {
      const { keystone, swift: real } = services()
      const swift = await faultProxy(t, real.url)
      const auth = await faultProxy(t, new URL(keystone.shortUrl).origin)
      // The catalogue of each login names the store: here, the proxy in front of it.
      auth.inject(
        { kind: 'change-body', change: (text) => text.replaceAll(real.url, swift.origin) },
        { method: 'POST', times: 'always' },
      )
      const options = {
        ...byPassword({ short: true }),
        backup_swift_auth_url: auth.inFrontOf(keystone.shortUrl),
      }
      return { options, auth, swift, isLogin: /\/auth\/tokens$/ }
    },
    account: () => keystoneAccess('backup'),
  },
  {
    name: 'v1 auth',
    async open(t) {
      const { tempauth } = services().swift
      const both = await faultProxy(t, new URL(tempauth.shortAuthUrl).origin)
      const options = {
        ...byTempauth({ short: true }),
        backup_swift_auth_url: both.inFrontOf(tempauth.shortAuthUrl),
      }
      return { options, auth: both, swift: both, isLogin: /^\/auth-short/ }
    },
    account: tempauthAccess,
  },
]

const patienceMs = 60_000
const chunkCount = 55
const volumeBytes = chunkCount * blockBytes - 11
const tinyChunks = { backup_swift_object_size: blockBytes }
const slow = { cinder_backup_agent: { requests_max: 5 } }

/** What the volume is like when `agent` has brought it back. */
async function restoredBy(agent: DrivenAgent, record: Parameters<DrivenAgent['restore']>[0]) {
  return sha256(await agent.restore(record, noise('dirt', volumeBytes)))
}

for (const { name, open, account } of doors) {
  test(`a single user's token of ${name} is renewed in mid-backup`, async (t) => {
    const { options, auth, swift, isLogin } = await open(t)
    const container = await swiftContainer(t, account)
    const named = { ...options, ...tinyChunks, backup_swift_container: container.name }
    const agent = await drivenAgent(t, swiftSettings(named, slow), aContext({ authToken: null }))
    const bytes = diskBytes(name, volumeBytes)

    const record = await agent.backup(await agent.newVolume(bytes))

    assert.equal(record.object_count, chunkCount)
    const puts = swift.seen.filter(({ method }) => method === 'PUT')
    const tokens = new Set(puts.map(({ headers }) => headers['x-auth-token']))
    assert.ok(tokens.size >= 2, `${puts.length} objects went up with ${tokens.size} token`)
    const logins = auth.seen.filter(({ path }) => isLogin.test(path))
    assert.ok(logins.length <= tokens.size + 1, `${logins.length} logins for few tokens`)
    const quick = await drivenAgent(t, swiftSettings(named), aContext({ authToken: null }))
    assert.equal(await restoredBy(quick, record), sha256(bytes))
  })
}

test("a single user's token that is revoked in mid-backup is replaced after one refusal", async (t) => {
  const { keystone, swift: real } = services()
  const swift = await faultProxy(t, real.url)
  const auth = await faultProxy(t, new URL(keystone.url).origin)
  auth.inject(
    { kind: 'change-body', change: (text) => text.replaceAll(real.url, swift.origin) },
    { method: 'POST', times: 'always' },
  )
  const container = await swiftContainer(t, () => keystoneAccess('backup'))
  const options = {
    ...byPassword(),
    ...tinyChunks,
    backup_swift_auth_url: auth.inFrontOf(keystone.url),
    backup_swift_container: container.name,
  }
  const agent = await drivenAgent(t, swiftSettings(options, slow), aContext({ authToken: null }))
  const bytes = diskBytes('revoked', volumeBytes)
  const asked = agent.asked(await agent.newVolume(bytes))
  const puts = () => swift.seen.filter(({ method }) => method === 'PUT')
  const logins = () => auth.seen.filter(({ method }) => method === 'POST')

  await agent.scheduler.ask('create', asked)
  await eventually(() => puts().length > 2, 'objects go up', patienceMs)
  const token = String(puts()[0]?.headers['x-auth-token'])
  await revokeToken({ token, swiftUrl: (await keystoneToken('backup')).swiftUrl })
  const { eventType } = await agent.scheduler.ended('create', asked.id)

  assert.equal(eventType, 'backup.create.end')
  assert.equal(logins().length, 2, 'one login, and one more after the refusal')
  assert.equal(new Set(puts().map(({ headers }) => headers['x-auth-token'])).size, 2)
  const quick = await drivenAgent(t, swiftSettings(options), aContext({ authToken: null }))
  assert.equal(await restoredBy(quick, agent.scheduler.recordOf(asked.id)), sha256(bytes))
})
