import { hasCode } from '../../domain/errors.ts'
import { monotonicMs } from '../../lib/clock.ts'
import { singleFlight } from '../../lib/single-flight.ts'

/** What is shown at a door. */
type Shown = { readonly token: string }

export type Login<A extends Shown> = {
  readonly access: A
  /** How long the token lives from now on, by the server's own clock; null: it does not say. */
  readonly lifetimeMs: number | null
}

/** A login that all share, with the promises of the port's AccessSource. */
export interface CachedLogin<A extends Shown> extends AsyncDisposable {
  access(signal: AbortSignal): Promise<A>
  renew(refused: Shown, signal: AbortSignal): Promise<A>
}

// Work that was given the token goes on with it for a while.
const marginMsMax = 5 * 60_000

/**
 * Keeps what `logIn` gave until a tenth of its life, at most five minutes, is left, or until the store
 * refuses it. However many ask, one login runs at a time, and one for each token that was refused.
 * While identity is away an old token is used to its end.
 */
export function cachedLogin<A extends Shown>(
  logIn: (signal: AbortSignal) => Promise<Login<A>>,
): CachedLogin<A> {
  let current: { access: A; renewAtMs: number; endsAtMs: number } | null = null

  const flight = singleFlight(async (signal) => {
    const startMs = monotonicMs() // The life counts from before the answer, to be on the safe side.
    const { access, lifetimeMs } = await logIn(signal)
    const lifeMs = lifetimeMs ?? Number.POSITIVE_INFINITY
    const endsAtMs = startMs + lifeMs
    current = { access, endsAtMs, renewAtMs: endsAtMs - Math.min(lifeMs / 10, marginMsMax) }
    return access
  })

  return {
    access: async (signal) => {
      signal.throwIfAborted()
      const known = current
      if (known !== null && monotonicMs() < known.renewAtMs) return known.access
      try {
        return await flight.join(signal)
      } catch (error) {
        const stillGood = known !== null && known === current && monotonicMs() < known.endsAtMs
        if (stillGood && hasCode(error, 'IDENTITY_UNAVAILABLE')) return known.access
        throw error
      }
    },
    renew: async (refused, signal) => {
      signal.throwIfAborted()
      if (current !== null && current.access.token !== refused.token) return current.access
      current = null
      return flight.join(signal)
    },
    [Symbol.asyncDispose]: () => flight[Symbol.asyncDispose](),
  }
}
