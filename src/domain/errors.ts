// Every failure we can name, in one table. The kind says what to do next; the detail is the Cinder
// user-message code that explains it to the tenant (null: nothing a tenant could act on).

export type ErrorKind =
  | 'rejected' // The request does not fit the state of the world. Never retried.
  | 'transient' // The same call may succeed later. Retried with back-off.
  | 'permanent' // An outside system said no, and will again.
  | 'corrupt' // Data read back is not the data that was written.
  | 'cancelled' // Someone asked us to stop. Not a fault.
  | 'defect' // Our own bug: an assertion failed.

const table = {
  // The message
  MESSAGE_MALFORMED: { kind: 'rejected', detail: null },
  MESSAGE_TOO_LARGE: { kind: 'rejected', detail: null },
  METHOD_UNKNOWN: { kind: 'rejected', detail: null },
  VERSION_UNSUPPORTED: { kind: 'rejected', detail: null },
  ARGUMENT_MISSING: { kind: 'rejected', detail: null },
  ARGUMENT_INVALID: { kind: 'rejected', detail: null },
  // The record
  BACKUP_INVALID_STATE: { kind: 'rejected', detail: '017' },
  BACKUP_NOT_OURS: { kind: 'rejected', detail: null },
  BACKUP_NOT_FOUND: { kind: 'rejected', detail: null },
  RECORD_INVALID: { kind: 'rejected', detail: null },
  RECORD_MISMATCH: { kind: 'rejected', detail: null },
  PROJECT_MISMATCH: { kind: 'rejected', detail: null },
  PARENT_NOT_FOUND: { kind: 'rejected', detail: '020' },
  PARENT_MISMATCH: { kind: 'rejected', detail: '020' },
  ENCRYPTION_UNSUPPORTED: { kind: 'rejected', detail: '020' },
  VOLUME_INVALID_SIZE: { kind: 'rejected', detail: '020' },
  SNAPSHOT_INVALID_STATE: { kind: 'rejected', detail: null },
  // The volume
  VOLUME_INVALID_STATE: { kind: 'rejected', detail: '027' },
  DEVICE_TIMED_OUT: { kind: 'transient', detail: '019' },
  ATTACH_FAILED: { kind: 'permanent', detail: '021' },
  DETACH_FAILED: { kind: 'permanent', detail: '022' },
  CONNECTION_UNSUPPORTED: { kind: 'rejected', detail: '021' },
  VOLUME_NOT_FOUND: { kind: 'permanent', detail: '021' },
  VOLUME_OUTSIDE_ROOTS: { kind: 'rejected', detail: '021' },
  VOLUME_IN_USE: { kind: 'rejected', detail: '021' },
  VOLUME_TOO_SMALL: { kind: 'rejected', detail: '026' },
  VOLUME_READ_FAILED: { kind: 'permanent', detail: '020' },
  VOLUME_WRITE_FAILED: { kind: 'permanent', detail: '026' },
  VOLUME_CHANGED: { kind: 'permanent', detail: '020' },
  // The store
  STORE_UNAVAILABLE: { kind: 'transient', detail: null },
  STORE_REFUSED: { kind: 'permanent', detail: null },
  STORE_FORBIDDEN: { kind: 'permanent', detail: null },
  STORE_FULL: { kind: 'permanent', detail: null },
  OBJECT_NOT_FOUND: { kind: 'permanent', detail: null },
  CONTAINER_NOT_FOUND: { kind: 'permanent', detail: null },
  CONTAINER_INVALID: { kind: 'rejected', detail: null },
  OBJECT_TOO_LARGE: { kind: 'rejected', detail: null },
  UPLOAD_CORRUPT: { kind: 'transient', detail: null },
  DOWNLOAD_CORRUPT: { kind: 'transient', detail: null },
  // Identity
  TOKEN_EXPIRED: { kind: 'permanent', detail: null },
  CREDENTIALS_REFUSED: { kind: 'permanent', detail: null },
  CREDENTIALS_MISSING: { kind: 'rejected', detail: null },
  ENDPOINT_NOT_FOUND: { kind: 'rejected', detail: null },
  IDENTITY_UNAVAILABLE: { kind: 'transient', detail: null },
  // The backup's bytes
  CHUNK_CORRUPT: { kind: 'corrupt', detail: '026' },
  MANIFEST_INVALID: { kind: 'corrupt', detail: '026' },
  COMPRESSION_UNSUPPORTED: { kind: 'permanent', detail: '026' },
  // Calls to other services
  CALL_UNROUTABLE: { kind: 'transient', detail: null },
  CALL_TIMED_OUT: { kind: 'transient', detail: null },
  CALL_FAILED: { kind: 'permanent', detail: null },
  // Cinder's database
  RECORDS_REFUSED: { kind: 'permanent', detail: null },
  // The agent
  AGENT_NOT_READY: { kind: 'transient', detail: '018' },
  CONFIGURATION_INVALID: { kind: 'permanent', detail: null },
  JOURNAL_UNAVAILABLE: { kind: 'transient', detail: null },
  HOST_TAKEN: { kind: 'permanent', detail: null },
  JOURNAL_LOCKED: { kind: 'permanent', detail: null },
  BROKER_UNAVAILABLE: { kind: 'transient', detail: null },
  BROKER_REFUSED: { kind: 'permanent', detail: null },
  CRASHED_REPEATEDLY: { kind: 'permanent', detail: null },
  OPERATION_CANCELLED: { kind: 'cancelled', detail: null },
  AGENT_STOPPING: { kind: 'cancelled', detail: null },
  ASSERTION_FAILED: { kind: 'defect', detail: null },
} as const satisfies Record<string, { kind: ErrorKind; detail: string | null }>

export type ErrorCode = keyof typeof table

export const errorCodes = Object.keys(table) as readonly ErrorCode[]

/** A failure with a stable code. The message says what was attempted and what came back. */
export class AgentError extends Error {
  override readonly name = 'AgentError'
  readonly code: ErrorCode
  readonly context: Readonly<Record<string, unknown>>

  constructor(
    code: ErrorCode,
    message: string,
    context: Record<string, unknown> = {},
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.context = context
  }

  get kind(): ErrorKind {
    return table[this.code].kind
  }

  /** Cinder's user-message detail id, or null. Source: cinder/message/message_field.py. */
  get detail(): string | null {
    return table[this.code].detail
  }
}

/** The same failure in other words, for those who may not read all that it says. */
export function reworded(error: AgentError, change: (message: string) => string): AgentError {
  const message = change(error.message)
  if (message === error.message) return error
  return new AgentError(error.code, message, { ...error.context }, error.cause)
}

export function hasCode(error: unknown, code: ErrorCode): error is AgentError {
  return error instanceof AgentError && error.code === code
}

/** Any throw as an AgentError: what we did not foresee is a defect of ours. */
export function toAgentError(error: unknown): AgentError {
  if (error instanceof AgentError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new AgentError('ASSERTION_FAILED', `unexpected failure: ${message}`, {}, error)
}

/** What a record's `fail_reason` says: code and text, cut to the column's 255 characters. */
export function failReason(error: unknown): string {
  const { code, message } = toAgentError(error)
  return `${code}: ${message}`.slice(0, 255)
}
