import type { AgentError } from '../domain/errors.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import type { RequestContext } from '../domain/request-context.ts'

/** Where an answer goes. `oslo`: a Python caller's reply queue. `amqp`: any client's `reply_to`. */
export type ReplyAddress =
  | {
      readonly kind: 'oslo'
      readonly queue: string
      readonly msgId: string
      /** The caller's call_monitor_timeout in seconds; null: no heartbeats wanted. */
      readonly monitorSeconds: number | null
    }
  | {
      readonly kind: 'amqp'
      readonly queue: string
      readonly correlationId: string | null
      readonly enveloped: boolean
    }

export type RequestSource = 'topic' | 'server' | 'fanout'

export type RpcRequest = {
  readonly method: string
  readonly args: JsonObject
  readonly version: string
  readonly namespace: string | null
  readonly context: RequestContext
  /** oslo's `_unique_id`; null where the sender gave none. */
  readonly uniqueId: string | null
  readonly bodySha256: string
  readonly redelivered: boolean
  readonly source: RequestSource
  readonly replyTo: ReplyAddress | null
}

/** What becomes of a request. In each case it is acknowledged. */
export type Disposition =
  /** The answer is known now. Sent to `replyTo` where there is one. */
  | { readonly kind: 'answered'; readonly result: Json }
  /**
   * It is in the journal. An `amqp` address gets `{accepted: true, backup_id}` now; an `oslo` one is
   * answered at the job's end through `Publisher.reply` and gets heartbeats until then.
   */
  | { readonly kind: 'accepted'; readonly jobId: string; readonly backupId: string }
  /** Nobody waits any more: a repeated delivery. */
  | { readonly kind: 'ignored' }

/**
 * Rejects with AgentError: refused requests are answered with the failure and acknowledged;
 * JOURNAL_UNAVAILABLE puts the delivery back and pauses consuming until `RpcServer` may go on;
 * AGENT_STOPPING and BROKER_UNAVAILABLE put it back.
 */
export type RequestHandler = (request: RpcRequest) => Promise<Disposition>

/**
 * Takes requests from the bus: the topic, the topic of this host and the fanout queue. Reconnects by
 * itself, for ever, with the same queue names. `test/contracts/rpc.ts` is the executable form.
 */
export interface RpcServer extends AsyncDisposable {
  /** The queues consumed, for the log. */
  readonly queues: readonly string[]

  /**
   * Looks whether anybody else takes the requests of this host; to be done before anything of them is
   * touched. Waits for a broker to ask, and for another to go. Rejects with HOST_TAKEN where it stays.
   */
  claim(claim: Claim, signal: AbortSignal): Promise<void>

  /** Consumes until disposed; resolves once consuming for the first time. */
  serve(handler: RequestHandler, signal: AbortSignal): Promise<void>

  /**
   * Counts the connections by which requests are taken: another number says that a broker was away,
   * and may have lost what waited in its queues. Null while nothing is taken.
   */
  readonly session: number | null

  /**
   * Whether nothing waits in this host's own queue and nothing of it is in hand. False where that
   * cannot be told.
   */
  isDrained(): Promise<boolean>

  /** Whether to take work from the topic that all agents share (D23). The other two always are. */
  takeShared(wanted: boolean): void

  /** Stops consuming for good; what was handed to the handler is still settled. */
  stop(): Promise<void>
}

/** How a host's queue is asked for. */
export type Claim = {
  /** Whoever else is there is told of in the log, and no reason to wait. */
  readonly isTakeOver: boolean
  /** How long another may take to go: what the broker still knows of an earlier life does. */
  readonly waitMs: number
}

/** A notification as it will be on the bus, byte for byte, however often it is sent. */
export type Notification = {
  readonly messageId: string // uuid
  readonly uniqueId: string // 32 hex
  readonly eventType: string // `backup.create.start`
  readonly priority: 'INFO' | 'ERROR'
  readonly payload: JsonObject
  readonly timestamp: string // `2026-11-23 00:20:54.573429`, UTC.
  readonly context: JsonObject // Redacted, keys without prefix.
}

export type Answer = { readonly result: Json } | { readonly failure: AgentError }

/**
 * Sends to the bus, on connections of its own. Every method resolves when the broker has confirmed,
 * waits while there is no broker, and rejects with the signal's reason when told to stop.
 */
export interface Publisher extends AsyncDisposable {
  /**
   * Answers a caller. Waits up to 60 s for a missing reply queue to come back; resolves to whether
   * it was delivered. Never keeps other messages waiting.
   */
  reply(to: ReplyAddress, answer: Answer, signal: AbortSignal): Promise<boolean>

  /** Sends heartbeats of a monitored call until `signal` aborts. Resolves at once for other calls. */
  monitor(to: ReplyAddress, signal: AbortSignal): Promise<void>

  notify(notification: Notification, signal: AbortSignal): Promise<void>

  /** Whether a message would leave at once: connected and not blocked. */
  readonly isReady: boolean

  /**
   * Casts to `<topic>.<server>`, or to whoever serves the topic; resolves to false where no queue is
   * bound there.
   */
  cast(
    target: { readonly topic: string; readonly server: string | null },
    message: Cast,
    signal: AbortSignal,
  ): Promise<boolean>

  /** Casts to all who serve the topic; where there are none, nobody misses it. */
  fanout(topic: string, message: Cast, signal: AbortSignal): Promise<void>
}

/** A request to another service that nobody waits for. */
export type Cast = {
  readonly method: string
  readonly version: string
  readonly args: JsonObject
  readonly context: RequestContext
  /** Kept over repeats. */
  readonly uniqueId: string
  /** Who is to be answered by the receiver, where the request that is passed on was a call. */
  readonly replyTo: ReplyAddress | null
}
