import type { Readable } from 'node:stream'

import type { AccessSource, StoreAccess } from '../../ports/identity.ts'
import { type SwiftAction, swiftError } from './swift-answers.ts'
import {
  type SwiftConnection,
  type SwiftReply,
  type SwiftRequest,
  textOf,
} from './swift-exchange.ts'

type Body = Uint8Array | Readable

/** What to ask of an account: about a container, or an object in it. */
export type Ask = {
  readonly verb: string
  readonly method: SwiftRequest['method']
  readonly container: string
  readonly name: string | null
  /** The account itself is asked; container and name are for messages only. */
  readonly isOfAccount?: boolean
  readonly query?: URLSearchParams
  readonly headers?: Readonly<Record<string, string>>
  /** Opened anew each time the request is sent. */
  readonly openBody?: (origin: string) => Body | Promise<Body>
}

export type Asked = {
  readonly action: SwiftAction
  readonly reply: SwiftReply
  /** What was shown at the door. */
  readonly access: StoreAccess
}

/**
 * Sends one request to the account. Once more with a new token where the first is refused; resolves
 * when the headers of a 2xx answer, or of one of `alsoFine`, are there. Rejects with AgentError.
 */
export type AskAccount = (
  ask: Ask,
  signal: AbortSignal,
  alsoFine?: readonly number[],
) => Promise<Asked>

/** The account that `source` leads to. Tokens go nowhere but to the URL they came with. */
export function swiftAccount(source: AccessSource, connection: SwiftConnection): AskAccount {
  return async (ask, signal, alsoFine = []) => {
    const access = await source.access(signal)
    let asked = await send(ask, access, connection, signal)
    if (asked.reply.status === 401) {
      await textOf(asked.reply)
      asked = await send(ask, await source.renew(access, signal), connection, signal)
    }
    const { action, reply } = asked
    const isFine = reply.status >= 200 && reply.status < 300
    if (isFine || alsoFine.includes(reply.status)) return asked
    throw swiftError(action, { ...reply, text: await textOf(reply) })
  }
}

async function send(
  { verb, method, container, name, isOfAccount, query, headers, openBody }: Ask,
  access: StoreAccess,
  connection: SwiftConnection,
  signal: AbortSignal,
): Promise<Asked> {
  const { origin, pathname } = new URL(access.url)
  const action = { verb, container, name, account: pathname }
  const search = query === undefined ? '' : `?${query}`
  const root = pathname.replace(/\/$/, '')
  const path = isOfAccount === true ? root : `${root}/${quotedPath(container, name)}`
  const reply = await connection.send(
    action,
    {
      method,
      origin,
      path: path + search,
      headers: { ...headers, ...tokensOf(access) },
      body: (await openBody?.(origin)) ?? null,
    },
    signal,
  )
  return { action, reply, access }
}

function tokensOf({ token, serviceToken }: StoreAccess): Readonly<Record<string, string>> {
  const user = { 'x-auth-token': token }
  return serviceToken === undefined ? user : { ...user, 'x-service-token': serviceToken }
}

/** Percent-encoded once, with the slashes of the object's name kept. */
export function quotedPath(container: string, name: string | null): string {
  const parts = [container, ...(name === null ? [] : name.split('/'))]
  return parts.map(encodeURIComponent).join('/')
}
