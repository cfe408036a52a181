// How each kind of end is told to the shell. Scripts of others rely on the numbers.

import { type AgentError, type ErrorCode, errorCodes } from '../domain/errors.ts'
import { remoteFailureIn } from '../domain/remote-failure.ts'

/** Number and meaning, as the documentation lists them. */
export const exitCodes = {
  ok: { number: 0, meaning: 'done' },
  failed: { number: 1, meaning: 'failed in a way that has no number of its own' },
  usage: { number: 2, meaning: 'the command line cannot be understood' },
  warnings: { number: 3, meaning: 'done, with warnings' },
  notFound: { number: 10, meaning: 'no such backup or store' },
  locked: { number: 11, meaning: 'locked by another agent or program' },
  auth: { number: 12, meaning: 'credentials are missing, refused or no longer valid' },
  refused: { number: 13, meaning: 'refused by policy: the request does not fit' },
  integrity: { number: 14, meaning: 'stored data is not what was written' },
  source: { number: 15, meaning: 'the volume cannot be read' },
  unreachable: { number: 16, meaning: 'the store, or Keystone in front of it, cannot be reached' },
  configuration: { number: 17, meaning: 'the configuration cannot be used' },
  cancelled: { number: 130, meaning: 'cancelled' },
} as const

type Exit = keyof typeof exitCodes

const exits: Readonly<Record<ErrorCode, Exit>> = {
  MESSAGE_MALFORMED: 'refused',
  MESSAGE_TOO_LARGE: 'refused',
  METHOD_UNKNOWN: 'refused',
  VERSION_UNSUPPORTED: 'refused',
  ARGUMENT_MISSING: 'usage',
  ARGUMENT_INVALID: 'usage',
  BACKUP_INVALID_STATE: 'refused',
  BACKUP_NOT_OURS: 'refused',
  BACKUP_NOT_FOUND: 'notFound',
  RECORD_INVALID: 'refused',
  RECORD_MISMATCH: 'refused',
  PROJECT_MISMATCH: 'refused',
  PARENT_NOT_FOUND: 'notFound',
  PARENT_MISMATCH: 'refused',
  ENCRYPTION_UNSUPPORTED: 'refused',
  VOLUME_INVALID_SIZE: 'refused',
  SNAPSHOT_INVALID_STATE: 'refused',
  VOLUME_INVALID_STATE: 'refused',
  DEVICE_TIMED_OUT: 'source',
  ATTACH_FAILED: 'source',
  DETACH_FAILED: 'failed',
  CONNECTION_UNSUPPORTED: 'refused',
  VOLUME_NOT_FOUND: 'source',
  VOLUME_OUTSIDE_ROOTS: 'refused',
  VOLUME_IN_USE: 'locked',
  VOLUME_TOO_SMALL: 'refused',
  VOLUME_READ_FAILED: 'source',
  VOLUME_WRITE_FAILED: 'failed',
  VOLUME_CHANGED: 'source',
  STORE_UNAVAILABLE: 'unreachable',
  STORE_REFUSED: 'failed',
  STORE_FORBIDDEN: 'auth',
  STORE_FULL: 'failed',
  OBJECT_NOT_FOUND: 'notFound',
  CONTAINER_NOT_FOUND: 'notFound',
  CONTAINER_INVALID: 'refused',
  OBJECT_TOO_LARGE: 'refused',
  UPLOAD_CORRUPT: 'integrity',
  DOWNLOAD_CORRUPT: 'integrity',
  TOKEN_EXPIRED: 'auth',
  CREDENTIALS_REFUSED: 'auth',
  CREDENTIALS_MISSING: 'auth',
  ENDPOINT_NOT_FOUND: 'notFound',
  IDENTITY_UNAVAILABLE: 'unreachable',
  CHUNK_CORRUPT: 'integrity',
  MANIFEST_INVALID: 'integrity',
  COMPRESSION_UNSUPPORTED: 'failed',
  CALL_UNROUTABLE: 'failed',
  CALL_TIMED_OUT: 'failed',
  CALL_FAILED: 'failed',
  AGENT_NOT_READY: 'unreachable',
  CONFIGURATION_INVALID: 'configuration',
  JOURNAL_UNAVAILABLE: 'failed',
  HOST_TAKEN: 'locked',
  JOURNAL_LOCKED: 'locked',
  BROKER_UNAVAILABLE: 'failed',
  BROKER_REFUSED: 'failed',
  RECORDS_REFUSED: 'failed',
  CRASHED_REPEATEDLY: 'failed',
  OPERATION_CANCELLED: 'cancelled',
  AGENT_STOPPING: 'cancelled',
  ASSERTION_FAILED: 'failed',
}

// What a stock cinder-backup refuses, which knows no codes of ours. Source: cinder/exception.py and
// oslo_messaging/rpc/dispatcher.py.
const remoteExits: Readonly<Record<string, Exit>> = {
  BackupNotFound: 'notFound',
  InvalidBackup: 'refused',
  InvalidInput: 'refused',
  InvalidVolume: 'refused',
  NoSuchMethod: 'refused',
  NotAuthorized: 'refused',
  ServiceTooOld: 'refused',
  TypeError: 'usage',
  UnsupportedVersion: 'refused',
  VolumeNotFound: 'source',
}

/** How a command ends; where a service that it called failed, as the service said. */
export function exitCodeFor(error: AgentError): number {
  const remote = remoteFailureIn(error)
  if (remote === null) return exitCodeOf(error.code)
  const exit = Object.hasOwn(remoteExits, remote.remoteClass) && remoteExits[remote.remoteClass]
  return exit ? exitCodes[exit].number : exitCodeOf(error.code)
}

export function exitCodeOf(code: ErrorCode): number {
  return exitCodes[exits[code]].number
}

/** Which error codes end in `exit`. */
export function errorsThatEndIn(exit: Exit): readonly ErrorCode[] {
  return errorCodes.filter((code) => exits[code] === exit)
}
