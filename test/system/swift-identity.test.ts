import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import type { RequestContext } from '#src/domain/request-context.ts'
import { aContext } from '../support/builders.ts'
import { chunkBytes, drivenAgent } from '../support/driven-agent.ts'
import { keystoneToken } from '../support/keystone.ts'
import { assertSecret, failedBackup } from '../support/refused.ts'
import { services } from '../support/services.ts'
import { keystoneAccess, type Login, swiftContainer, tempauthAccess } from '../support/stores.ts'
import {
  byPassword,
  byTempauth,
  byUrl,
  contextOf,
  swiftAgent,
  swiftSettings,
} from '../support/swift-agent.ts'
import { changedBytes, diskBytes, noise, sha256 } from '../support/volume-data.ts'

const volumeBytes = 2 * chunkBytes + 1234

const userLogin: Login = () => keystoneAccess('demo')
const demo = async () => contextOf(await keystoneToken('demo'))
/** Who has no token at all: a single user needs none. */
const tokenless = async () => aContext({ authToken: null })

type Mode = {
  readonly mode: string
  readonly options: () => Readonly<Record<string, string | number>>
  readonly context: () => Promise<RequestContext>
  /** The account that the objects must be in. */
  readonly account: Login
}

const modes: readonly Mode[] = [
  { mode: 'per_user by URL', options: byUrl, context: demo, account: userLogin },
  { mode: 'per_user by catalogue', options: () => ({}), context: demo, account: userLogin },
  {
    mode: 'single_user of Keystone v3',
    options: byPassword,
    context: tokenless,
    account: () => keystoneAccess('backup'),
  },
  {
    mode: 'single_user of v1 auth',
    options: byTempauth,
    context: tokenless,
    account: tempauthAccess,
  },
]

for (const { mode, options, context, account } of modes) {
  test(`${mode}: full, incremental, restore and delete in the right account`, async (t) => {
    const container = await swiftContainer(t, account)
    const named = { ...options(), backup_swift_container: container.name }
    const agent = await drivenAgent(t, swiftSettings(named), await context())
    const before = diskBytes(mode, volumeBytes)
    const after = changedBytes(before, mode)
    const volumeId = await agent.newVolume(before)

    const full = await agent.backup(volumeId)
    await agent.writeVolume(volumeId, after)
    const increment = await agent.backup(volumeId, { fields: { parent_id: full.id } })

    const stored = await container.list(`volume_${volumeId}/`)
    assert.equal(stored.length, full.object_count + increment.object_count + 4)
    const dirt = noise('dirt', volumeBytes)
    assert.equal(sha256(await agent.restore(full, dirt)), sha256(before))
    assert.equal(sha256(await agent.restore(increment, dirt)), sha256(after))
    for (const record of [increment, full]) await agent.runWell('delete', record)
    assert.deepEqual(await container.list(), [])
  })
}

const wrongPasswords: readonly [string, Mode['options'], () => readonly [string, string]][] = [
  ['Keystone v3', byPassword, () => ['backup', services().keystone.url]],
  [
    'v1 auth',
    byTempauth,
    () => [services().swift.tempauth.user, services().swift.tempauth.authUrl],
  ],
]

for (const [door, options, named] of wrongPasswords) {
  test(`a wrong password of ${door} is told with user and address, and stays a secret`, async (t) => {
    const secret = 'not-the-Passw0rd'
    const settings = swiftSettings({ ...options(), backup_swift_key: secret })
    const agent = await drivenAgent(t, settings, await tokenless())

    const event = await failedBackup(agent)

    assert.equal(event.payload['code'], 'CREDENTIALS_REFUSED')
    for (const text of named()) assert.ok(String(event.payload['message']).includes(text), text)
    assert.match(String(event.payload['message']), /check backup_swift_user/)
    assertSecret(secret, agent)
  })
}

test('a catalogue may lead only where allowed_endpoints says', async (t) => {
  const settings = swiftSettings(
    {},
    { cinder_backup_agent: { allowed_endpoints: 'swift.example' } },
  )
  const agent = await drivenAgent(t, settings, await demo())

  const { payload } = await failedBackup(agent)

  assert.equal(payload['code'], 'ENDPOINT_NOT_FOUND')
  assert.match(String(payload['message']), /not in allowed_endpoints/)
})

test("a user's token is nowhere on the disk, neither while its job runs nor after", async (t: TestContext) => {
  const agent = await swiftAgent(t)
  const volumeId = await agent.newVolume(diskBytes('sealed', 20 * chunkBytes))
  const asked = agent.asked(volumeId)
  const filesWithToken = async () => {
    const names = await readdir(agent.home.folder, { recursive: true, withFileTypes: true })
    const files = names.filter((entry) => entry.isFile())
    const found: string[] = []
    for (const { parentPath, name } of files) {
      const content = await readFile(path.join(parentPath, name)).catch(() => Buffer.of())
      if (content.includes(agent.user.token)) found.push(name)
    }
    return found
  }

  await agent.scheduler.ask('create', asked)
  const during = await filesWithToken()
  await agent.scheduler.ended('create', asked.id)

  assert.deepEqual(during, [])
  assert.deepEqual(await filesWithToken(), [])
})
