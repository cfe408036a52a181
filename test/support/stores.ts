import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import type { StoreAccess } from '#src/ports/identity.ts'
import { keystoneToken } from './keystone.ts'
import { type KeystoneUserName, services } from './services.ts'

/** Gets a token that is good now: tokens of the short-lived doors end while a test runs. */
export type Login = () => Promise<StoreAccess>

/** A container of a real Swift, seen with a client that is not the agent's. */
export type SwiftContainer = {
  readonly name: string
  create(): Promise<void>
  /** Removes what is in it, then itself. */
  destroy(): Promise<void>
  /** The first 10,000 entries. */
  list(prefix?: string): Promise<readonly SwiftEntry[]>
  put(object: string, body: Uint8Array): Promise<void>
  get(object: string): Promise<Uint8Array>
  remove(object: string): Promise<void>
}

export type SwiftEntry = { readonly name: string; readonly bytes: number; readonly hash: string }

/** The account of a Keystone user's project. */
export async function keystoneAccess(
  user: KeystoneUserName,
  { short = false } = {},
): Promise<StoreAccess> {
  const { swiftUrl, token } = await keystoneToken(user, { short })
  return { url: swiftUrl, token }
}

/** Logs in with v1 auth; `short`: through the door whose tokens end after ten seconds. */
export async function tempauthAccess({ short = false } = {}): Promise<StoreAccess> {
  const { tempauth } = services().swift
  const answer = await fetch(short ? tempauth.shortAuthUrl : tempauth.authUrl, {
    headers: { 'x-auth-user': tempauth.user, 'x-auth-key': tempauth.key },
    signal: AbortSignal.timeout(60_000),
  })
  const url = answer.headers.get('x-storage-url')
  const token = answer.headers.get('x-auth-token')
  if (url === null || token === null) throw new Error(`tempauth answered ${answer.status}`)
  return { url, token }
}

/** A new container of an account, removed with what is in it after the test. */
export async function swiftContainer(
  owner: Pick<TestContext, 'after'>,
  login: Login,
): Promise<SwiftContainer> {
  const container = await containerOf(login, `test-${randomBytes(6).toString('hex')}`)
  await container.create()
  owner.after(() => container.destroy())
  return container
}

/** A container that may or may not be there. */
export async function containerOf(login: Login, name: string): Promise<SwiftContainer> {
  let access = await login()
  const root = `/${encodeURIComponent(name)}`
  const pathOf = (object: string) =>
    `${root}/${object.split('/').map(encodeURIComponent).join('/')}`

  async function call(method: string, where: string, body?: Uint8Array): Promise<Response> {
    const send = () =>
      fetch(access.url + where, {
        method,
        headers: { 'x-auth-token': access.token },
        ...(body === undefined ? {} : { body: Buffer.from(body) }),
        signal: AbortSignal.timeout(60_000),
      })
    let answer = await send()
    if (answer.status === 401) {
      access = await login()
      answer = await send()
    }
    if (!answer.ok) throw new Error(`${method} ${where} of Swift: ${answer.status}`)
    return answer
  }

  const container: SwiftContainer = {
    name,
    async create() {
      await call('PUT', root)
    },
    async destroy() {
      for (let page = await container.list(); page.length > 0; page = await container.list()) {
        for (const entry of page) await container.remove(entry.name)
      }
      await call('DELETE', root)
    },
    async list(prefix = '') {
      const answer = await call('GET', `${root}?format=json&prefix=${encodeURIComponent(prefix)}`)
      return (await answer.json()) as readonly SwiftEntry[]
    },
    async put(object, body) {
      await call('PUT', pathOf(object), body)
    },
    async get(object) {
      return new Uint8Array(await (await call('GET', pathOf(object))).arrayBuffer())
    },
    async remove(object) {
      await call('DELETE', pathOf(object))
    },
  }
  return container
}
