import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'

import { openSwift, type SwiftOptions } from '#src/adapters/object-store/swift-store.ts'
import type { StoreAccess } from '#src/ports/identity.ts'
import {
  collectingSink,
  listAll,
  streamedBody,
  testObjectStore,
} from '../../contracts/object-store.ts'
import { keystoneAccess, tempauthAccess } from '../../support/stores.ts'

const options: SwiftOptions = {
  caFile: null,
  insecure: false,
  connectMs: 10_000,
  idleMs: 60_000,
  createContainers: true,
  storagePolicy: null,
}
type SwiftInfo = { readonly swift: { readonly policies: readonly { readonly name: string }[] } }

const signal = AbortSignal.timeout(120_000)

function swiftFixture(login: () => Promise<StoreAccess>, overrides: Partial<SwiftOptions> = {}) {
  return async (t: TestContext) => {
    const access = await login()
    const container = `contract-${randomBytes(6).toString('hex')}`
    const client = openSwift({ ...options, ...overrides })
    t.after(() => client[Symbol.asyncDispose]())
    t.after(() => removeContainer(access, container))
    const store = client.store({
      access: async (asking) => {
        asking.throwIfAborted()
        return access
      },
      renew: () => Promise.reject(new Error('not to be renewed')),
    })
    return { store, container, access }
  }
}

/** By another client than ours, and whether it is there or not. */
async function removeContainer({ url, token }: StoreAccess, container: string): Promise<void> {
  const headers = { 'x-auth-token': token }
  const listed = await fetch(`${url}/${container}?format=json`, { headers })
  if (listed.status !== 200) return
  for (const { name } of (await listed.json()) as { name: string }[]) {
    const object = `${url}/${container}/${encodeURIComponent(name)}`
    await fetch(object, { method: 'DELETE', headers })
  }
  await fetch(`${url}/${container}`, { method: 'DELETE', headers })
}

const keystoneSwift = swiftFixture(() => keystoneAccess('demo'))

testObjectStore('swiftStore by keystone', keystoneSwift)
testObjectStore(
  'swiftStore by tempauth',
  swiftFixture(() => tempauthAccess()),
)

test('a missing container is not made where that is forbidden', async (t) => {
  const open = swiftFixture(() => keystoneAccess('demo'), { createContainers: false })
  const { store, container } = await open(t)

  await assert.rejects(store.ensureContainer(container, signal), {
    code: 'CONTAINER_NOT_FOUND',
    message: `check container ${container}: swift answered 404; create it or set backup_create_containers`,
  })
})

test('a container is made with the storage policy that is configured', async (t) => {
  const { url } = await keystoneAccess('demo')
  const info = (await (await fetch(new URL('/info', url))).json()) as SwiftInfo
  const [policy] = info.swift.policies
  const storagePolicy = policy?.name ?? 'none'
  const known = await swiftFixture(() => keystoneAccess('demo'), { storagePolicy })(t)
  const unknown = await swiftFixture(() => keystoneAccess('demo'), { storagePolicy: 'none' })(t)

  await known.store.ensureContainer(known.container, signal)
  const answer = await fetch(`${known.access.url}/${known.container}`, {
    method: 'HEAD',
    headers: { 'x-auth-token': known.access.token },
  })
  assert.equal(answer.headers.get('x-storage-policy'), storagePolicy)

  // Only the policy makes the difference: it was sent.
  await assert.rejects(unknown.store.ensureContainer(unknown.container, signal), {
    code: 'STORE_REFUSED',
    message: /^create container .*: swift answered 400; Invalid X-Storage-Policy 'none'/,
  })
})

test("another project's account says STORE_FORBIDDEN, and what to do", async (t) => {
  const { store } = await swiftFixture(async () => {
    const { token } = await keystoneAccess('demo')
    return { token, url: (await keystoneAccess('other')).url }
  })(t)

  await assert.rejects(store.listPage('volumebackups', '', '', signal), {
    code: 'STORE_FORBIDDEN',
    message: /^list volumebackups: swift answered 403; the token has no role on \/v1\/AUTH_\w+ /,
  })
})

test('a container that is full by its quota says STORE_FULL', async (t) => {
  const { store, container, access } = await keystoneSwift(t)
  await fetch(`${access.url}/${container}`, {
    method: 'PUT',
    headers: { 'x-auth-token': access.token, 'x-container-meta-quota-bytes': '1000' },
  })
  const id = { container, name: 'a' }
  const large = streamedBody(Array.from({ length: 16 }, () => randomBytes(1024 * 1024)))

  const full = { code: 'STORE_FULL', message: /^put .*: swift answered 413; a quota / }
  await assert.rejects(store.putObject(id, randomBytes(2000), signal), full)
  await assert.rejects(store.putObject(id, large.body, signal), full)
  assert.equal(large.counts.ended, large.counts.opened)
})

test('a static large object is read whole, its ETag being no digest of it', async (t) => {
  const { store, container, access } = await keystoneSwift(t)
  await store.ensureContainer(container, signal)
  const parts = [randomBytes(1000), randomBytes(2000)]
  for (const [i, part] of parts.entries()) {
    await store.putObject({ container, name: `part-${i}` }, part, signal)
  }
  const manifest = parts.map((_, i) => ({ path: `/${container}/part-${i}` }))
  const made = await fetch(`${access.url}/${container}/whole?multipart-manifest=put`, {
    method: 'PUT',
    headers: { 'x-auth-token': access.token },
    body: JSON.stringify(manifest),
  })
  assert.equal(made.status, 201)
  const sink = collectingSink()

  const read = await store.getObject({ container, name: 'whole' }, sink, signal)
  const [listed] = await store.listPage(container, 'whole', '', signal)

  assert.equal(read.sizeBytes, 3000)
  assert.ok(sink.bytes().equals(Buffer.concat(parts)))
  assert.equal(listed?.md5, null)
})

test('a container of more names than a page lists them all once', async (t) => {
  const open = swiftFixture(() => keystoneAccess('demo'), { pageLimit: 4 })
  const { store, container } = await open(t)
  await store.ensureContainer(container, signal)
  const names = Array.from({ length: 13 }, (_, i) => `p-${String(i + 1).padStart(5, '0')}`)
  for (const name of names) await store.putObject({ container, name }, Buffer.of(1), signal)

  const listed = await listAll(store, container, 'p-', signal)

  assert.deepEqual(
    listed.map(({ name }) => name),
    names,
  )
  assert.equal((await store.listPage(container, 'p-', '', signal)).length, 4)
})
