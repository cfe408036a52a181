import { AgentError, type ErrorCode } from '../../domain/errors.ts'

// What the file system's refusals mean to us; anything that is not listed is STORE_UNAVAILABLE: a
// file server that is away shows itself as EIO, ESTALE, ETIMEDOUT and more.
const codeByErrno: Readonly<Record<string, ErrorCode>> = {
  EACCES: 'STORE_FORBIDDEN',
  EPERM: 'STORE_FORBIDDEN',
  EROFS: 'STORE_FORBIDDEN',
  ENOSPC: 'STORE_FULL',
  EDQUOT: 'STORE_FULL',
  EFBIG: 'OBJECT_TOO_LARGE',
  ENAMETOOLONG: 'STORE_REFUSED',
  EISDIR: 'STORE_REFUSED',
  ELOOP: 'STORE_REFUSED', // A symbolic link where a file should be.
  ENXIO: 'STORE_REFUSED', // A socket, or a device without a driver.
  EINVAL: 'STORE_REFUSED',
}

const advice: Partial<Record<ErrorCode, string>> = {
  STORE_FULL: 'free space under backup_posix_path or raise the quota',
  STORE_FORBIDDEN: 'the agent needs to write under backup_posix_path',
}

/**
 * What the caller's own code threw while we ran it: never to be taken for a fault of the file
 * system, though it may look like one.
 */
export class CallersFailure extends Error {
  readonly reason: unknown

  constructor(reason: unknown) {
    super('the caller failed')
    this.reason = reason
  }
}

/** What to throw for `error`, met while doing `action`. */
export function posixError(
  error: unknown,
  action: string,
  id: { readonly container: string; readonly name: string | null },
): unknown {
  if (error instanceof CallersFailure) return error.reason
  const errno = errnoOf(error)
  if (errno === null) return error
  const isMissing = errno === 'ENOENT' && action.startsWith('get ')
  const code = isMissing ? 'OBJECT_NOT_FOUND' : (codeByErrno[errno] ?? 'STORE_UNAVAILABLE')
  const hint = advice[code]
  const message = `${action}: the file system answered ${errno}${hint === undefined ? '' : `; ${hint}`}`
  return new AgentError(code, message, { ...id, errno }, error)
}

/** `ENOENT` and the like; null for an error that no system call made. */
export function errnoOf(error: unknown): string | null {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return null
  return typeof error.code === 'string' ? error.code : null
}
