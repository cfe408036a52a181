import type { Json, JsonObject } from '../domain/json.ts'
import type { RequestContext } from '../domain/request-context.ts'

/** Who is called: `<topic>.<server>`, or whoever serves the topic. */
export type CallTarget = { readonly topic: string; readonly server: string | null }

/** What another service is asked for. */
export type RpcCall = {
  readonly method: string
  /** The least that the service must implement: `3.0`. */
  readonly version: string
  readonly namespace: string | null
  readonly args: JsonObject
  /** Who asks; the token in it goes along. */
  readonly context: RequestContext
}

export type CallOptions = {
  /** From the call to its answer, whatever happens in between. */
  readonly timeoutMs: number
  /**
   * How long the service may give no sign of life once it has the call; null: as long as it likes.
   * Services give one at half of it, rounded up to a second, and none for less than 2,000.
   */
  readonly monitorMs: number | null
}

/**
 * Calls methods of other services and waits for what they answer; any number at once. It may close
 * while calls are in flight: they reject with AGENT_STOPPING. `test/contracts/rpc-client.ts` is the
 * executable form.
 */
export interface RpcClient extends AsyncDisposable {
  /**
   * Resolves to the result, once, however often the service or the broker repeats it. Rejects with
   *   CALL_UNROUTABLE    at once, where nobody takes messages there: the service never ran
   *   CALL_FAILED        the method failed; `remoteFailureIn` tells how
   *   CALL_TIMED_OUT     no answer in time, or no sign of life: the service may do it all the same;
   *                      `broker_lost` in its context: the connection was lost meanwhile, and the call
   *                      may be lost with it
   *   BROKER_UNAVAILABLE no broker confirmed the call in time: where none was there, as the message
   *                      says, the service knows nothing of it
   * or with the signal's reason; the service is not told that nobody waits any more. Over a lost
   * connection a call goes on: its answer is waited for on the next one.
   */
  call(target: CallTarget, call: RpcCall, options: CallOptions, signal: AbortSignal): Promise<Json>
}
