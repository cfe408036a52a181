import { type AgentError, type ErrorCode, errorCodes } from '../../domain/errors.ts'
import { isJsonObject, type Json, type JsonObject } from '../../domain/json.ts'
import type { RemoteFailure } from '../../domain/remote-failure.ts'
import { parseUntrusted } from './untrusted-json.ts'

type RemoteClass = {
  readonly module: string
  readonly name: string
  /** The HTTP status that the class stands for; null for classes that are not Cinder's. */
  readonly status: number | null
}

const cinder = (name: string, status: number): RemoteClass => ({
  module: 'cinder.exception',
  name,
  status,
})
const dispatcher = (name: string): RemoteClass => ({
  module: 'oslo_messaging.rpc.dispatcher',
  name,
  status: null,
})
const builtin = (name: string): RemoteClass => ({ module: 'builtins', name, status: null })

// What a Python caller gets instead of our error: classes that every release since Zed has, so that
// cinder-api can answer with the right HTTP status. Source: cinder/exception.py. Whatever is not
// listed is a failure of the driver's.
const driverFailure = cinder('BackupDriverException', 500)
const classes: Partial<Record<ErrorCode, RemoteClass>> = {
  MESSAGE_MALFORMED: cinder('InvalidInput', 400),
  MESSAGE_TOO_LARGE: cinder('InvalidInput', 400),
  ARGUMENT_INVALID: cinder('InvalidInput', 400),
  ARGUMENT_MISSING: builtin('TypeError'),
  METHOD_UNKNOWN: dispatcher('NoSuchMethod'),
  VERSION_UNSUPPORTED: dispatcher('UnsupportedVersion'),
  BACKUP_INVALID_STATE: cinder('InvalidBackup', 400),
  BACKUP_NOT_OURS: cinder('InvalidBackup', 400),
  BACKUP_NOT_FOUND: cinder('BackupNotFound', 404),
  RECORD_INVALID: cinder('InvalidBackup', 400),
  RECORD_MISMATCH: cinder('InvalidBackup', 400),
  PROJECT_MISMATCH: cinder('NotAuthorized', 403),
  PARENT_NOT_FOUND: cinder('BackupNotFound', 404),
  PARENT_MISMATCH: cinder('InvalidBackup', 400),
  ENCRYPTION_UNSUPPORTED: cinder('InvalidBackup', 400),
  VOLUME_INVALID_SIZE: cinder('InvalidVolume', 400),
  SNAPSHOT_INVALID_STATE: cinder('InvalidSnapshot', 400),
  VOLUME_INVALID_STATE: cinder('InvalidVolume', 400),
  AGENT_NOT_READY: cinder('InvalidBackup', 400),
  VOLUME_NOT_FOUND: cinder('VolumeNotFound', 404),
  VOLUME_OUTSIDE_ROOTS: cinder('InvalidVolume', 400),
  VOLUME_IN_USE: cinder('InvalidVolume', 400),
  VOLUME_TOO_SMALL: cinder('InvalidVolume', 400),
  CONTAINER_INVALID: cinder('InvalidInput', 400),
  OBJECT_TOO_LARGE: cinder('InvalidInput', 400),
  OPERATION_CANCELLED: cinder('BackupOperationError', 400),
  ASSERTION_FAILED: builtin('RuntimeError'),
}

/** A message ends up in API logs and columns: longer ones help nobody. */
const messageCharactersMax = 2_000
const nameCharactersMax = 200

/**
 * An error as oslo.messaging carries it, so that a Python caller raises it as its own class. Beside
 * oslo's keys it holds `error_code`, ours. The traceback is one line: it reaches API logs.
 * Source: oslo_messaging/_drivers/common.py, `serialize_remote_exception`.
 */
export function failureOf(error: AgentError): JsonObject {
  const { module, name, status } = classes[error.code] ?? driverFailure
  const message = messageOf(error).slice(0, messageCharactersMax)
  // What Cinder's own text of the class was made of. Source: cinder/exception.py, `CinderException`.
  const { reason } = error.context
  return {
    class: name,
    module,
    message,
    tb: ['Traceback (most recent call last):\n', `${module}.${name}: ${message}\n`],
    args: [message],
    kwargs: {
      ...(typeof reason === 'string' && { reason: reason.slice(0, messageCharactersMax) }),
      ...(status !== null && { code: status }),
    },
    error_code: error.code,
  }
}

/**
 * What a service said of its failure; null where it did not fail. Its traceback is left out: it names
 * the insides of another host. A failure in another form than oslo's is a failure all the same.
 * Source: oslo_messaging/_drivers/common.py, `deserialize_remote_exception`.
 */
export function remoteFailureOf(failure: Json | undefined): RemoteFailure | null {
  if (failure === undefined || failure === null || failure === '') return null
  const told = typeof failure === 'string' ? parsedFailure(failure) : failure
  const { class: name, module, message, error_code: code } = isJsonObject(told) ? told : {}
  const text = typeof message === 'string' ? message : JSON.stringify(told)
  return {
    remoteClass: typeof name === 'string' ? name.slice(0, nameCharactersMax) : 'Exception',
    remoteModule: typeof module === 'string' ? module.slice(0, nameCharactersMax) : 'builtins',
    remoteMessage: text.slice(0, messageCharactersMax),
    remoteCode: errorCodes.find((known) => known === code) ?? null,
  }
}

function parsedFailure(text: string): Json {
  try {
    return parseUntrusted(text, 'the failure') as Json
  } catch {
    return text
  }
}

/** The dispatcher's own words, where the error says which method and version. */
function messageOf({ code, message, context }: AgentError): string {
  const { method, version } = context
  if (typeof method !== 'string') return message
  if (code === 'METHOD_UNKNOWN') return `Endpoint does not support RPC method ${method}`
  if (code === 'VERSION_UNSUPPORTED' && typeof version === 'string') {
    return `Endpoint does not support RPC version ${version}. Attempted method: ${method}`
  }
  return message
}
