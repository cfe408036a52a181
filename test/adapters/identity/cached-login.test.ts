import assert from 'node:assert/strict'
import { test } from 'node:test'

import { cachedLogin, type Login } from '#src/adapters/identity/cached-login.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { StoreAccess } from '#src/ports/identity.ts'

const never = new AbortController().signal
const away = new AgentError('IDENTITY_UNAVAILABLE', 'keystone answered 503')

/** Logins with the lives and failures that are listed, and how many there were. */
function counted(...results: readonly (number | null | AgentError)[]) {
  let count = 0
  const source = cachedLogin(async (): Promise<Login<StoreAccess>> => {
    const result = results[count] ?? null
    count += 1
    if (result instanceof AgentError) throw result
    const access = { url: 'http://swift.example/v1/AUTH_a', token: `token-${count}` }
    return { access, lifetimeMs: result }
  })
  return { source, count: () => count }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

test('a token of unknown life is kept until it is refused', async () => {
  const { source, count } = counted(null, null)

  const first = await source.access(never)
  assert.equal(await source.access(never), first)
  const second = await source.renew(first, never)

  assert.notEqual(second.token, first.token)
  assert.equal(await source.access(never), second)
  assert.equal(count(), 2)
})

test('a refusal of a token that was replaced since is no reason to log in', async () => {
  const { source, count } = counted(null, null)
  const first = await source.access(never)
  const second = await source.renew(first, never)

  assert.equal(await source.renew(first, never), second)
  assert.equal(count(), 2)
})

test('a token is replaced when a tenth of its life is left', async () => {
  const { source, count } = counted(1000, 60_000)
  const first = await source.access(never)
  await pause(500)
  assert.equal(await source.access(never), first)

  await pause(420)

  assert.equal((await source.access(never)).token, 'token-2')
  assert.equal(count(), 2)
})

test('while identity is away a token is used to its end, and no longer', async () => {
  const { source } = counted(1000, away, away)
  const first = await source.access(never)
  await pause(920)
  assert.equal(await source.access(never), first)

  await pause(100)

  await assert.rejects(source.access(never), { code: 'IDENTITY_UNAVAILABLE' })
})

test('credentials that are refused meanwhile are told at once', async () => {
  const refused = new AgentError('CREDENTIALS_REFUSED', 'keystone answered 401')
  const { source } = counted(0, refused)
  await source.access(never)

  await assert.rejects(source.access(never), { code: 'CREDENTIALS_REFUSED' })
})

test('a failed login is forgotten', async () => {
  const { source } = counted(away, null)

  await assert.rejects(source.access(never), { code: 'IDENTITY_UNAVAILABLE' })
  assert.equal((await source.access(never)).token, 'token-2')
})
