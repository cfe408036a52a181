// Secrets in every place where they may be: none of them comes out anywhere.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { test } from 'node:test'

import type { JsonObject } from '#src/domain/json.ts'
import type { CatalogEntry, RequestContext } from '#src/domain/request-context.ts'
import { type AgentSettings, agentCommand } from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { type Canaries, canaries } from '../support/canaries.ts'
import { chunkBytes, smallChunks } from '../support/driven-agent.ts'
import { faultProxy } from '../support/fault-proxy.ts'
import { keystoneToken } from '../support/keystone.ts'
import { eventually } from '../support/rabbit.ts'
import { recordFor } from '../support/scheduler.ts'
import { type SecretStage, secretStage } from '../support/secret-stage.ts'
import { services } from '../support/services.ts'
import { swiftContainer } from '../support/stores.ts'
import { byPassword, byTempauth, contextOf, swiftSettings } from '../support/swift-agent.ts'
import { noise } from '../support/volume-data.ts'

const canariesMin = 50

/** The request of somebody whose token, catalogue and other values are secrets. */
function secretContext(
  birds: Canaries,
  context: RequestContext,
  fields: Partial<RequestContext> = {},
): RequestContext {
  const elsewhere = (type: string): CatalogEntry => ({
    type,
    name: type,
    endpoints: [
      {
        region: 'RegionOne',
        publicURL: `https://u:${encodeURIComponent(birds.awkward(`${type}: password of the catalogue`))}@h/`,
        internalURL: `https://h/?token=${birds.plain(`${type}: token of the catalogue`)}`,
        adminURL: `https://h/${birds.plain(`${type}: path of the catalogue`)}`,
      },
    ],
  })
  return {
    ...context,
    serviceCatalog: [
      ...context.serviceCatalog,
      ...['compute', 'image', 'key-manager'].map(elsewhere),
    ],
    values: {
      ...context.values,
      password: birds.plain('password of the context'),
      auth_token_info: { token: { audit_ids: [birds.plain('token info of the context')] } },
      user_auth_plugin: `Token ${birds.plain('auth plugin of the context')}`,
      'x-auth-token': birds.plain('X-Auth-Token of the context'),
      trust_id: birds.plain('trust of the context'),
    },
    ...fields,
  }
}

const volumeMeta = (birds: Canaries): JsonObject => ({
  version: 2,
  'volume-base-metadata': {
    provider_auth: `CHAP cinder ${birds.plain('provider_auth')}`,
    provider_location: null,
  },
})

/** None of the secrets is in a file of the agent's, in what it printed, or in what it published. */
async function assertNothingSeen({ birds, home, tap }: SecretStage): Promise<void> {
  const files = await birds.seenBelow(home.folder)
  const seen = files.filter((one) => !one.startsWith('agent.conf:')) // There they are at home.
  assert.deepEqual(seen, [], 'in a file')
  assert.ok(tap.published.length > 0)
  const published = tap.published.flatMap((one) =>
    birds.seenIn(one).map((place) => `${place}: ${one.slice(0, 2000)}`),
  )
  assert.deepEqual(published, [], 'on the bus')
}

/** Asks for a backup as `context`; resolves to the code and text that ended it. */
async function failing(stage: SecretStage, context: RequestContext) {
  const record = recordFor(stage.newVolume(noise('secrets', 5000)), context)
  const { payload } = await stage.run('create', record, context)
  return `${payload['code']}: ${payload['message']}`
}

/** A catalogue with the store at `publicURL`. */
const storeAt = (publicURL: string): readonly CatalogEntry[] => [
  { type: 'object-store', name: 'swift', endpoints: [{ region: 'RegionOne', publicURL }] },
]

const formats: readonly (readonly [string, AgentSettings, string | null])[] = [
  ['oslo', {}, null],
  ['json', { DEFAULT: { use_json: 'true' } }, null],
  ['journald', { DEFAULT: { use_journal: 'true' } }, null],
  ['a file of its own', {}, 'own.log'],
]

for (const [format, settings, logFile] of formats) {
  test(`no secret of a request comes out, whatever becomes of it; log: ${format}`, async (t) => {
    const birds = canaries()
    const user = await keystoneToken('demo')
    birds.known('the token of the user', user.token)
    const login = async () => ({ url: user.swiftUrl, token: user.token })
    const container = await swiftContainer(t, login)
    const stage = await secretStage(
      t,
      birds,
      swiftSettings({
        ...settings['DEFAULT'],
        backup_swift_container: container.name,
      }),
      logFile,
    )
    await stage.start()
    const context = secretContext(birds, contextOf(user))
    const proxy = await faultProxy(t, services().swift.url)
    const echoed = (token: string) => `Bad ${token} ${'-'.repeat(140)} of ${user.token}`

    const asked = recordFor(stage.newVolume(noise('good', 300_000)), context)
    const made = await stage.run('create', asked, context, { volume_meta: volumeMeta(birds) })
    assert.equal(made.eventType, 'backup.create.end', String(made.payload['message']))
    const target = { volume_id: stage.newVolume(Buffer.alloc(300_000)) }
    const full = stage.scheduler.recordOf(asked.id)
    await stage.run('restore', { ...full, status: 'restoring' }, context, target)
    for (const { name } of await container.list()) {
      assert.deepEqual(birds.seenIn(Buffer.from(await container.get(name))), [], name)
    }

    const as = (token: string, url: string) => ({
      ...context,
      authToken: token,
      serviceCatalog: storeAt(url),
    })
    const [unknown, away] = [birds.awkward('an unknown token'), birds.plain('a token to nowhere')]
    assert.match(await failing(stage, as(birds.plain('a refused token'), user.swiftUrl)), /^TOKEN/)
    assert.match(await failing(stage, as(unknown, user.swiftUrl)), /^CREDENTIALS|^TOKEN/)
    assert.match(await failing(stage, as(away, 'http://127.0.0.1:9/v1/AUTH_x')), /^STORE_UNAV/)
    const login2 = `http://u:${encodeURIComponent(birds.awkward('password of a store'))}@127.0.0.1:9/v1`
    assert.match(await failing(stage, as(user.token, login2)), /^ENDPOINT_NOT_FOUND/)
    const query = `http://127.0.0.1:9/v1?token=${birds.plain('token of a store address')}`
    assert.match(await failing(stage, as(user.token, query)), /^ENDPOINT_NOT_FOUND/)

    for (const status of [400, 403, 409, 302]) {
      const token = birds.plain(`a token that the store repeats with ${status}`)
      const body = echoed(token)
      const headers = { 'x-trans-id': `tx-${token}`, location: `http://u:${token}@h/?t=${token}` }
      proxy.inject({ kind: 'answer', status: 204 }, { times: 'always', method: 'HEAD' })
      proxy.inject({ kind: 'answer', status, body, headers }, { times: 'always', method: 'PUT' })
      const url = proxy.inFrontOf(user.swiftUrl)
      assert.match(await failing(stage, as(token, url)), /^STORE|^CONTAINER/, `${status}`)
    }
    await assertNothingSeen(stage)

    const other = { ...full, project_id: randomUUID().replaceAll('-', '') }
    await assert.rejects(stage.ask('delete', other, context), /project/)
    const broken = `{"version": 2, "provider_auth": "${birds.plain('volume_meta that is no JSON')}"`
    await assert.rejects(
      stage.ask('create', asked, context, { volume_meta: broken }),
      /volume_meta/,
    )
    await sendMalformed(stage)
    await assertNothingSeen(stage)
    assert.ok(birds.count >= canariesMin, `${birds.count} canaries`)
  })
}

/** Bodies that no library would send, with a secret at each kind of place; all of them are rejected. */
async function sendMalformed({ birds, client, log }: SecretStage): Promise<void> {
  const token = birds.awkward('the token of a malformed message')
  const inJson = JSON.stringify(token)
  const request = `{"method": "create_backup", "_context_auth_token": ${inJson}, "args": `
  const bodies = [
    `${request}{"backup"`,
    `{"_context_auth_token": ${inJson}`,
    JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': `${request}{` }),
    `${request}[]}`,
    `{"X-Auth-Key" ${inJson}}`,
    `password=${encodeURIComponent(token)}`,
    `rabbit://u:${encodeURIComponent(token)}@h/`,
    `{"method": 7, "authorization": "Basic ${Buffer.from(`u:${token}`).toString('base64')}"}`,
    `{"method": "create_backup", "args": {}, "_context_service_catalog": [[${inJson}]]`,
  ]
  const headers = {
    'x-auth-token': birds.plain('X-Auth-Token of a message'),
    authorization: `Bearer ${birds.plain('authorization of a message')}`,
  }
  await client.channel.assertQueue('answers', { autoDelete: true })
  const rejections = () => log().split('a message was rejected').length - 1
  const before = rejections()
  for (const body of bodies) {
    client.publish('openstack', 'cinder-backup', body, { headers, replyTo: 'answers' })
  }
  await eventually(() => rejections() >= before + bodies.length, 'all of them are rejected')
}

type Door = {
  readonly name: string
  readonly options: () => Readonly<Record<string, string | number>>
  readonly url: () => string
  /** An answer of that door that lets in, with a token, to the store at `url`. */
  readonly welcome: (
    token: string,
    url: string,
  ) => { readonly headers: Readonly<Record<string, string>>; readonly body: string }
}

const doors: readonly Door[] = [
  {
    name: 'Keystone v3',
    options: byPassword,
    url: () => services().keystone.url,
    welcome: (token, url) => ({
      headers: { 'x-subject-token': token },
      body: JSON.stringify({
        token: {
          catalog: [{ type: 'object-store', endpoints: [{ interface: 'public', url }] }],
        },
      }),
    }),
  },
  {
    name: 'v1 auth',
    options: byTempauth,
    url: () => services().swift.tempauth.authUrl,
    welcome: (token, url) => ({
      headers: { 'x-auth-token': token, 'x-storage-url': url },
      body: '',
    }),
  },
]

for (const { name, options, url, welcome } of doors) {
  test(`no secret of a login by ${name} comes out, whatever is answered`, async (t) => {
    const birds = canaries()
    const proxy = await faultProxy(t, new URL(url()).origin)
    const { backup_swift_key: _, ...login } = options()
    const address = proxy.inFrontOf(url())
    const settings = swiftSettings({ ...login, backup_swift_auth_url: address })
    const stage = await secretStage(t, birds, settings)
    await stage.start()
    const context = aContext({ authToken: birds.plain('a token that nobody needs') })
    assert.match(await failing(stage, context), /^CREDENTIALS_REFUSED/)

    for (const status of [400, 401, 404, 500, 302]) {
      const headers = { location: `http://u:${encodeURIComponent(stage.key)}@h/${stage.key}` }
      const body = `{"error": {"message": "the password ${stage.key} is wrong"}}`
      proxy.inject({ kind: 'answer', status, headers: asciiOf(headers), body })
      assert.match(await failing(stage, context), /^CREDENTIALS|^ENDPOINT|^IDENTITY/, `${status}`)
    }
    const token = birds.plain('the token of the login')
    const { headers, body } = welcome(token, `${proxy.origin}/v1/AUTH_echo`)
    proxy.inject({ kind: 'answer', status: 200, headers, body }, { times: 'always' })
    const echo = { kind: 'answer', status: 400, body: `Bad X-Auth-Token: ${token}` } as const
    const store = { times: 'always', path: /AUTH_echo/ } as const
    proxy.inject({ kind: 'answer', status: 204 }, { ...store, method: 'HEAD' })
    proxy.inject(echo, { ...store, method: 'PUT' })
    assert.match(await failing(stage, context), /^STORE_REFUSED/)
    await assertNothingSeen(stage)
  })
}

/** Headers carry no other characters. */
function asciiOf(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, value.replaceAll(/[^\x20-\x7e]/g, '')]),
  )
}

test('a kill in mid-work leaves no secret, nor does the start after it, nor a crash', async (t) => {
  const birds = canaries()
  const user = await keystoneToken('demo')
  birds.known('the token of the user', user.token)
  const login = async () => ({ url: user.swiftUrl, token: user.token })
  const container = await swiftContainer(t, login)
  const settings = swiftSettings({ ...smallChunks, backup_swift_container: container.name })
  const stage = await secretStage(t, birds, settings)
  const proxy = await faultProxy(t, services().swift.url)
  const catalog = storeAt(proxy.inFrontOf(user.swiftUrl))
  const context = { ...secretContext(birds, contextOf(user)), serviceCatalog: catalog }
  proxy.inject({ kind: 'hang' }, { times: 'always', method: 'PUT', path: /-00003/ })
  const agent = await stage.start()
  const asked = recordFor(stage.newVolume(noise('killed', 5 * chunkBytes)), context)
  await stage.ask('create', asked, context, { volume_meta: volumeMeta(birds) })
  await eventually(() => proxy.seen.some(({ path: of }) => of.includes('-00003')), 'it works')

  await assertNothingSeen(stage)
  await agent.end('SIGKILL')
  await assertNothingSeen(stage)
  const crashed = await stage.start({
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(crashing)}`,
    A_TOKEN: user.token,
    A_KEY: stage.key,
  })
  process.kill(crashed.pid, 'SIGUSR2')
  assert.equal(await crashed.ended(), 1)
  assert.match(stage.log(), /a crash that a test wants/)
  await assertNothingSeen(stage)
})

/** Runs in the agent: an error that nobody catches, with secrets in its text, cause and fields. */
const crashing = `process.on('SIGUSR2', () => {
  const { A_TOKEN: token, A_KEY: key } = process.env
  throw Object.assign(new Error('a crash that a test wants: ' + token, { cause: new Error(key) }), { key })
})`

const verbs = [
  ['config', 'show'],
  ['config', 'show', '--json'],
  ['config', 'check'],
  ['config', 'check', '--json'],
]

test('config show and config check print no secret, of a good file or of a bad one', async (t) => {
  const birds = canaries()
  const { home, env } = await secretStage(t, birds, swiftSettings({}))
  const bad = path.join(home.folder, 'bad.conf')
  const inUrl = (place: string) => encodeURIComponent(birds.awkward(place))
  const lines = [
    '[DEFAULT]',
    `transport_url = rabbit//u:${inUrl('a transport_url that is none')}@h/`,
    `backup_swift_key = $${birds.plain('a key with a dollar sign')}`,
    `backup_swift_auth_url = http:/u:${inUrl('an auth_url that is none')}@h/`,
    `backup_swift_url = ftp://u:${inUrl('a store of another scheme')}@h/`,
    '[service_user]',
    `password: ${birds.plain('a colon for an equals sign')}`,
    `passwrd ${birds.plain('a line without an equals sign')}`,
    `auth_url = http://u:${inUrl('a port that is none')}@h:port/`,
    '[oslo_messaging_notifications]',
    `transport_url = rabbit://u:${inUrl('a URL with an unknown option')}@h/?nonsense=1`,
    `driver = rabbit://u:${inUrl('a driver that is none')}@h/`,
    '[cinder_backup_agent]',
    `allowed_endpoints = http://u:${inUrl('an endpoint with a login')}@h/`,
    `pasword = ${birds.plain('an unknown option of ours')}`,
  ]
  writeFileSync(bad, lines.join('\n'))
  for (const files of [[home.configFile], [bad], [home.configFile, bad]]) {
    const words = files.flatMap((file) => ['--config-file', file])
    for (const verb of [...verbs, ['serve'], ['send', 'ping']]) {
      if (verb[0] === 'serve' && !files.includes(bad)) continue // It would serve.
      const said = await output([...verb, ...words], { ...process.env, ...env })
      assert.ok(said.length > 0, verb.join(' '))
      assert.deepEqual(birds.seenIn(said), [], `${verb.join(' ')}: ${said}`)
    }
  }
})

/** All that a command prints, however it ends. */
function output(words: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve) => {
    execFile(agentCommand, words, { env, timeout: 30_000 }, (_error, stdout, stderr) =>
      resolve(`${stdout}\n${stderr}`),
    )
  })
}
