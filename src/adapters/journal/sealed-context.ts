import type { RequestContext } from '../../domain/request-context.ts'
import type { Row } from './journal-schema.ts'
import type { TokenSeal } from './token-seal.ts'

/**
 * A context as two columns: who asked, in clear; and sealed what may hold secrets. That is the token,
 * the catalogue (addresses with log-ins in them) and whatever else the sender has put there.
 */
export function sealedContext(context: RequestContext, seal: TokenSeal): [string, Uint8Array] {
  const { authToken, serviceCatalog, values, ...who } = context
  return [JSON.stringify(who), seal.seal(JSON.stringify({ authToken, serviceCatalog, values }))]
}

/** The context of a job's row. What was sealed is gone when the job has ended, or with its key. */
export function openContext(row: Row, seal: TokenSeal): RequestContext {
  const sealed = row['token']
  const text = sealed instanceof Uint8Array ? seal.open(sealed) : null
  return {
    authToken: null,
    serviceCatalog: [],
    values: {},
    ...JSON.parse(String(row['context'])),
    ...(text === null ? {} : secretsIn(text)),
  }
}

/** Rows of 0.1.0 have the token alone there, and the rest in clear; no token begins like an object. */
function secretsIn(text: string): Partial<RequestContext> {
  return text.startsWith('{') ? JSON.parse(text) : { authToken: text }
}
