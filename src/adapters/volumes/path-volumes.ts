import path from 'node:path'

import { AgentError } from '../../domain/errors.ts'
import type { Accelerator } from '../../ports/accelerator.ts'
import type { Volumes } from '../../ports/volumes.ts'
import { type Absent, type DevicePath, locateDevice } from './device-path.ts'
import { openReader, openWriter } from './open-device.ts'
import { openOnce } from './open-once.ts'
import { assertUuid } from './volume-id.ts'

export type PathVolumesOptions = {
  /** Absolute paths with `{volume_id}` in them, tried in order. */
  readonly volumePaths: readonly string[]
  /** The same for snapshots, with `{snapshot_id}` and, if wanted, `{volume_id}`. */
  readonly snapshotPaths: readonly string[]
  /** Folders that volumes may lie in; empty: the fixed parents of the templates. */
  readonly volumeRoots: readonly string[]
  /** Finds and makes holes; without it there are none. */
  readonly accelerator?: Accelerator | null
}

type Ids = { readonly volume_id: string; readonly snapshot_id?: string }

/**
 * Volumes that are block devices or files of this host, under names made of their ids (decision D9).
 * Throws CONFIGURATION_INVALID for a template that could not tell one volume from another.
 */
export function pathVolumes(options: PathVolumesOptions): Volumes {
  const volumePaths = templates('volume_paths', options.volumePaths, '{volume_id}')
  const snapshotPaths = templates('snapshot_paths', options.snapshotPaths, '{snapshot_id}')
  const roots = volumeRoots(options.volumeRoots, [...volumePaths, ...snapshotPaths])
  const written = new Set<string>()
  const { accelerator = null } = options

  return {
    async openSource({ volumeId, snapshotId }, signal) {
      signal.throwIfAborted()
      assertUuid('volume_id', volumeId)
      if (snapshotId === null) {
        const ids = { volume_id: volumeId }
        const device = await find('volume_paths', volumePaths, ids, roots)
        return openReader(device, { accelerator, signal })
      }
      assertUuid('snapshot_id', snapshotId)
      const ids = { volume_id: volumeId, snapshot_id: snapshotId }
      const device = await find('snapshot_paths', snapshotPaths, ids, roots)
      return openReader(device, { accelerator, signal })
    },

    async openTarget(volumeId, signal) {
      signal.throwIfAborted()
      assertUuid('volume_id', volumeId)
      const device = await find('volume_paths', volumePaths, { volume_id: volumeId }, roots)
      signal.throwIfAborted()
      return openOnce(written, device, (onClose) =>
        openWriter(device, { accelerator, signal }, onClose),
      )
    },
  }
}

async function find(
  option: string,
  templates: readonly string[],
  ids: Ids,
  roots: readonly string[],
): Promise<DevicePath> {
  const absent: Absent[] = []
  for (const template of templates) {
    const found = await locateDevice(fill(template, ids), roots)
    if ('kind' in found) return found
    absent.push(found)
  }
  const { volume_id, snapshot_id } = ids
  const what = snapshot_id === undefined ? `volume ${volume_id}` : `snapshot ${snapshot_id}`
  const tried = absent.map(({ path, reason }) => `${path} (${reason})`).join(', ')
  throw new AgentError(
    'VOLUME_NOT_FOUND',
    `${what} is not on this host, tried ${tried}: attach it here or correct ${option}`,
    { ...ids, tried: absent },
  )
}

function fill(template: string, { volume_id, snapshot_id }: Ids): string {
  return template
    .replaceAll('{volume_id}', volume_id)
    .replaceAll('{snapshot_id}', snapshot_id ?? '')
}

function templates(option: string, texts: readonly string[], needed: string): string[] {
  const allowed = new Set(['{volume_id}', needed])
  return texts.map((template) => {
    const refuse = (reason: string) =>
      new AgentError('CONFIGURATION_INVALID', `${option}: ${JSON.stringify(template)} ${reason}`)
    if (!path.isAbsolute(template)) throw refuse('is not an absolute path')
    if (!template.includes(needed)) throw refuse(`lacks ${needed}, so all would be the same device`)
    const unknown = template.match(/\{[^}]*\}/g)?.find((name) => !allowed.has(name))
    if (unknown !== undefined) throw refuse(`holds ${unknown}, which nothing is put in for`)
    return path.normalize(template)
  })
}

function volumeRoots(given: readonly string[], templates: readonly string[]): string[] {
  if (given.length === 0) return [...new Set(templates.map(fixedParent))]
  return given.map((root) => {
    if (path.isAbsolute(root)) return path.normalize(root)
    throw new AgentError(
      'CONFIGURATION_INVALID',
      `volume_roots: ${JSON.stringify(root)} is not an absolute path`,
    )
  })
}

/** `/dev/vg/volume-{volume_id}` → `/dev/vg`. */
function fixedParent(template: string): string {
  const parent = path.dirname(template.slice(0, template.indexOf('{') + 1))
  if (parent !== '/') return parent
  throw new AgentError(
    'CONFIGURATION_INVALID',
    `volume_roots: ${JSON.stringify(template)} has no folder of its own to stay in; set volume_roots`,
  )
}
