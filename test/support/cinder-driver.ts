import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { StoreAccess } from '#src/ports/identity.ts'
import { startPeer } from './python.ts'

/** Where the real driver keeps its objects. */
export type CinderStore =
  | ({ readonly driver: 'swift' } & StoreAccess)
  | { readonly driver: 'posix'; readonly path: string }

export type CinderRequest = {
  readonly store: CinderStore
  /** Of cinder.conf's [DEFAULT]: `backup_compression_algorithm`, `backup_swift_object_size` … */
  readonly options?: Readonly<Record<string, string | number | boolean>>
  /** From the full backup to the one to act on. */
  readonly chain: readonly [BackupRecord, ...BackupRecord[]]
}

export type CinderAnswer = {
  readonly record: BackupRecord
  /** The `backup_percent` of each progress event. */
  readonly progress: readonly number[]
  /** What a restore would write to the volume's rows, oldest link first. */
  readonly volume_meta: readonly string[]
}

/** Debian's real cinder drivers in one Python process. Each call rejects with what Cinder raised. */
export type CinderDriver = AsyncDisposable & {
  /** Backs `file` up. */
  backup(
    request: CinderRequest & { readonly file: string; readonly volume_meta?: string },
  ): Promise<CinderAnswer>
  /** Restores the last link of the chain onto `file`, which is opened as a device is: never cut. */
  restore(request: CinderRequest & { readonly file: string }): Promise<CinderAnswer>
  remove(request: CinderRequest): Promise<CinderAnswer>
}

const patienceMs = 300_000

/** Takes two seconds to be ready. One call at a time. */
export function startCinderDriver(): CinderDriver {
  const peer = startPeer('cinder_driver.py', [])

  async function drive(verb: string, request: CinderRequest): Promise<CinderAnswer> {
    peer.send(JSON.stringify({ verb, ...request }))
    const line = await peer.line(AbortSignal.timeout(patienceMs))
    const answer = JSON.parse(line ?? '{"error": "cinder_driver.py ended"}') as
      | (CinderAnswer & { readonly error?: never })
      | { readonly error: string }
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer
  }

  return {
    backup: (request) => drive('backup', request),
    restore: (request) => drive('restore', request),
    remove: (request) => drive('delete', request),
    [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose](),
  }
}
