import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'

import type { Sample } from './row.ts'
import { settleDisks } from './volumes.ts'

const run = promisify(execFile)
const script = path.join(import.meta.dirname, 'peer_cinder.py')

export type PeerStore = {
  /** `http://…/v1/AUTH_`. */
  readonly url: string
  readonly projectId: string
  readonly token?: string
  readonly container?: string
  /** Whether the store is our sink, which need not hash for it. */
  readonly isSink: boolean
}

type PeerWork = {
  readonly verb: 'backup' | 'restore' | 'delete'
  /** Ids from the full backup to the one to act on. */
  readonly chain: readonly string[]
  readonly file?: string
  readonly codec?: string
  readonly volumeId?: string
}

const peerVolumeId = 'v1'

/** What the names of a backup's objects start with. */
export const peerPrefix = (id: string, volumeId = peerVolumeId) =>
  `volume_${volumeId}/20240101000000/az_nova_backup_${id}`

/** Cinder's real driver at work once, in a process of its own; the driver's part is measured. */
export async function runPeer(
  store: PeerStore,
  { verb, chain, file, codec = 'zlib', volumeId = peerVolumeId }: PeerWork,
): Promise<Omit<Sample, 'storedBytes'>> {
  await settleDisks()
  const options: readonly (readonly [string, string | undefined])[] = [
    ['--url', store.url],
    ['--project', store.projectId],
    ['--token', store.token],
    ['--container', store.container],
    ['--file', file],
    ['--codec', codec],
    ['--volume-id', volumeId],
  ]
  const given = options.flatMap(([name, value]) => (value === undefined ? [] : [name, value]))
  const { stdout } = await run(
    '/usr/bin/python3',
    [script, verb, ...given, ...(store.isSink ? ['--unhashed'] : []), '--chain', ...chain],
    { env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8', PYTHONDONTWRITEBYTECODE: '1' } },
  )
  const told = JSON.parse(stdout) as {
    readonly wallSeconds: number
    readonly cpuSeconds: number
    readonly peakKib: number
  }
  const { wallSeconds, cpuSeconds, peakKib } = told
  return { wallSeconds, cpuSeconds, peakMib: peakKib / 1024 }
}
