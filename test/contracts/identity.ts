import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { AgentError } from '#src/domain/errors.ts'
import type { RequestContext } from '#src/domain/request-context.ts'
import type { Identity, StoreAccess } from '#src/ports/identity.ts'

/** An identity to try, with a request that it serves and the project of the backup that it is about. */
export type IdentityFixture = {
  readonly identity: Identity
  readonly context: RequestContext
  readonly projectId: string
}

/** A request by someone who is no administrator; each field may be given. */
export function requestContext(fields: Partial<RequestContext> = {}): RequestContext {
  return {
    requestId: 'req-1',
    globalRequestId: null,
    userId: 'user-1',
    projectId: 'project-1',
    isAdmin: false,
    authToken: 'token-1',
    serviceCatalog: [],
    values: {},
    ...fields,
  }
}

/** Whether the store lets the bearer in. */
async function opensTheDoor({ url, token }: StoreAccess): Promise<boolean> {
  const answer = await fetch(url, { method: 'HEAD', headers: { 'x-auth-token': token } })
  return answer.ok
}

/** What every Identity must do, against real services. Each adapter's test file calls this. */
export function testIdentity(
  adapter: string,
  open: (t: TestContext) => Promise<IdentityFixture>,
): void {
  const signal = AbortSignal.timeout(60_000)

  test(`${adapter}: its access opens the store`, async (t) => {
    const { identity, context, projectId } = await open(t)

    const access = await identity.accessFor(context, projectId).access(signal)

    assert.ok(await opensTheDoor(access))
    assert.match(access.url, /^https?:\/\/.*[^/]$/)
  })

  test(`${adapter}: a backup whose project is not known is served`, async (t) => {
    const { identity, context } = await open(t)

    const access = await identity.accessFor(context, null).access(signal)

    assert.ok(await opensTheDoor(access))
  })

  test(`${adapter}: the same token is given until it ends`, async (t) => {
    const { identity, context, projectId } = await open(t)
    const source = identity.accessFor(context, projectId)

    const tokens = new Set<string>()
    for (let i = 0; i < 5; i += 1) tokens.add((await source.access(signal)).token)

    assert.equal(tokens.size, 1)
  })

  test(`${adapter}: a refused token is followed by a good one, or by TOKEN_EXPIRED`, async (t) => {
    const { identity, context, projectId } = await open(t)
    const source = identity.accessFor(context, projectId)
    const refused = await source.access(signal)

    const renewed = await source.renew(refused, signal).catch((error) => error)

    if (renewed instanceof AgentError) {
      assert.equal(renewed.code, 'TOKEN_EXPIRED')
      assert.ok(!renewed.message.includes(refused.token))
    } else {
      assert.ok(await opensTheDoor(renewed))
      assert.equal(renewed.url, refused.url)
    }
  })

  test(`${adapter}: another project's backup is refused`, async (t) => {
    const { identity, context } = await open(t)

    assert.throws(() => identity.accessFor(context, 'another-project'), {
      code: 'PROJECT_MISMATCH',
    })
  })

  test(`${adapter}: an abort rejects with its reason`, async (t) => {
    const { identity, context, projectId } = await open(t)
    const source = identity.accessFor(context, projectId)
    const refused = await source.access(signal)
    const reason = new AgentError('AGENT_STOPPING', 'stopping')
    const aborted = AbortSignal.abort(reason)

    assert.equal(await source.access(aborted).catch((error) => error), reason)
    assert.equal(await source.renew(refused, aborted).catch((error) => error), reason)
  })
}
