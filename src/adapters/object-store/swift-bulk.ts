import { AgentError } from '../../domain/errors.ts'
import { type Ask, type AskAccount, type Asked, quotedPath } from './swift-account.ts'
import { isPassing, swiftError } from './swift-answers.ts'
import { type BulkResult, bulkResult } from './swift-documents.ts'
import { textOf } from './swift-exchange.ts'

// A thousand failures, each with a name of at most 3 KiB.
const resultBytesMax = 16 * 1024 * 1024

export type BulkAsk = {
  readonly ask: AskAccount
  /** Gets another token instead of the one that `asked` was sent with. */
  readonly renew: (asked: Asked, signal: AbortSignal) => Promise<unknown>
}

/**
 * Source: swift/common/middleware/bulk.py: the answer is 200 whatever happened, may begin with white
 * space, and tells in its body what became of each name. Rejects where any may still be there;
 * STORE_REFUSED where the cluster does not know the call.
 */
export async function deleteInBulk(
  { ask, renew }: BulkAsk,
  container: string,
  names: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  if (names.length === 0) return
  const lines = names.map((name) => `/${quotedPath(container, name)}\n`)
  const body = Buffer.from(lines.join(''))
  const bulk: Ask = {
    verb: 'delete',
    method: 'POST',
    container,
    name: null,
    isOfAccount: true,
    query: new URLSearchParams({ 'bulk-delete': 'true' }),
    headers: {
      'content-type': 'text/plain',
      'content-length': String(body.byteLength),
      accept: 'application/json',
    },
    openBody: () => body,
  }
  const send = async () => {
    const asked = await ask(bulk, signal)
    const text = await textOf(asked.reply, resultBytesMax)
    return { asked, result: bulkResult(text) }
  }
  let { asked, result } = await send()
  // Each name is deleted with our token, which may end on the way.
  if (result !== null && statusesOf(result).includes(401)) {
    await renew(asked, signal)
    ;({ asked, result } = await send())
  }
  const failure = failureOf(asked, result, names.length)
  if (failure !== null) throw failure
}

function failureOf(asked: Asked, result: BulkResult | null, count: number): AgentError | null {
  const { action, reply } = asked
  const said = (what: string, status: number) =>
    new AgentError('STORE_REFUSED', `delete ${count} of ${action.container}: ${what}`, {
      container: action.container,
      status,
    })
  if (result === null) return said('swift answered with no result of a bulk delete', reply.status)
  const [status, ...others] = statusesOf(result)
  if (status === undefined) return said('swift answered without a status', reply.status)
  const { deleted, notFound, errors, words } = result
  if (errors.length === 0 && status === 200) {
    if (deleted + notFound === count) return null
    return said(`swift accounts for ${deleted + notFound} of them`, status)
  }
  // The whole says 400 where single names failed: what they say tells more.
  const told = others.length > 0 ? others : [status]
  const worst = told.find((one) => one === 401) ?? told.find(isPassing) ?? told[0] ?? status
  const [name = null] = errors.find(([, text]) => text.startsWith(`${worst}`)) ?? []
  return swiftError(
    { ...action, name },
    { status: worst, headers: reply.headers, text: words === '' ? (errors[0]?.[1] ?? '') : words },
  )
}

/** Of the whole, then of each name that failed. */
function statusesOf({ status, errors }: BulkResult): readonly number[] {
  return [status, ...errors.map(([, text]) => text)].map((text) => Number.parseInt(text, 10))
}
