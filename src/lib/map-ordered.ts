/**
 * Maps `source` with up to `concurrency` calls in flight, yielding results in source order.
 *
 * At most `concurrency` inputs are held at once, so memory is bounded by concurrency × item size.
 * When a call fails, the rest in flight are aborted and awaited before the failure is thrown: after
 * this generator ends, nothing that it started still runs.
 */
export async function* mapOrdered<In, Out>(
  source: AsyncIterable<In> | Iterable<In>,
  concurrency: number,
  signal: AbortSignal,
  fn: (input: In, signal: AbortSignal) => Promise<Out>,
): AsyncGenerator<Out, void, undefined> {
  const stop = new AbortController()
  const either = AbortSignal.any([signal, stop.signal])
  const inFlight: Promise<Out>[] = []
  const oldest = (): Promise<Out> => inFlight.shift() as Promise<Out>

  try {
    for await (const input of source) {
      either.throwIfAborted()
      const call = fn(input, either)
      call.catch((reason: unknown) => stop.abort(reason))
      inFlight.push(call)
      if (inFlight.length >= concurrency) yield await oldest()
    }
    while (inFlight.length > 0) yield await oldest()
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error // The first failure, not one that it caused.
  } finally {
    stop.abort()
    await Promise.allSettled(inFlight)
  }
}
