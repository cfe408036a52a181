import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { pathVolumes } from '#src/adapters/volumes/path-volumes.ts'
import type { Accelerator } from '#src/ports/accelerator.ts'

/** The volume of which `volume` is the path. */
export const volumeId = '3220c896-be94-4fa5-9e6f-c9c39554130b'

/** A folder of root's own below the temporary one, with volumes that are looked for in it. */
export async function volumeFolder(accelerator: Accelerator | null = null) {
  const folder = await mkdtemp(path.join(tmpdir(), 'volume-folder-'))
  const volumes = pathVolumes({
    volumePaths: [`${folder}/volume-{volume_id}`],
    snapshotPaths: [`${folder}/_snapshot-{snapshot_id}`],
    volumeRoots: [],
    accelerator,
  })
  return {
    folder,
    volumes,
    volume: `${folder}/volume-${volumeId}`,
    async [Symbol.asyncDispose]() {
      await rm(folder, { recursive: true, force: true })
    },
  }
}
