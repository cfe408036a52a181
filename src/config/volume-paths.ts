import path from 'node:path'

import type { Finding } from './finding.ts'
import type { Settings } from './schema.ts'

const section = 'cinder_backup_agent'

/** The folder in front of a template's first variable part: `/dev/vg` of `/dev/vg/volume-{volume_id}`. */
function fixedParent(template: string): string {
  const [fixed = ''] = template.split('{', 1)
  return path.posix.normalize(fixed.slice(0, fixed.lastIndexOf('/') + 1)).replace(/(?<=.)\/$/, '')
}

/** The roots as configured, else the fixed parents of the templates. */
export function volumeRoots(agent: Settings['cinder_backup_agent']): readonly string[] {
  const { volume_roots: roots, volume_paths: volumes, snapshot_paths: snapshots } = agent
  return roots.length > 0 ? roots : [...new Set([...volumes, ...snapshots].map(fixedParent))]
}

function pathComplaint(text: string): string | null {
  if (!text.startsWith('/')) return `${text} must be an absolute path`
  if (text.split('/').includes('..')) return `${text} must not hold ..`
  return null
}

function templateComplaint(template: string, wanted: string, roots: readonly string[]) {
  const complaint = pathComplaint(template)
  if (complaint !== null) return complaint
  if (!template.includes(wanted)) return `${template} must hold ${wanted}`
  const other = template.replaceAll('{volume_id}', '').replaceAll('{snapshot_id}', '')
  if (/[{}]/.test(other)) return `${template} may hold {volume_id} and {snapshot_id} only`
  if (wanted === '{volume_id}' && template.includes('{snapshot_id}')) {
    return `${template} is for volumes: it cannot hold {snapshot_id}`
  }
  const parent = fixedParent(template)
  if (parent === '/') return `${template} needs a folder of its own in front of its first variable`
  const liesInRoot = roots.some((root) => `${parent}/`.startsWith(`${root.replace(/\/+$/, '')}/`))
  return liesInRoot ? null : `${template} lies in none of volume_roots (${roots.join(', ')})`
}

export function volumePathFindings({ cinder_backup_agent: agent }: Settings): readonly Finding[] {
  const roots = volumeRoots(agent)
  const about = (option: string, complaints: readonly (string | null)[]) =>
    complaints
      .filter((complaint) => complaint !== null)
      .map((what) => ({ name: `${section}.${option}`, what }))
  const none = 'needs at least one template, such as /dev/cinder-volumes/volume-{volume_id}'
  return [
    ...about('volume_paths', agent.volume_paths.length === 0 ? [none] : []),
    ...about(
      'volume_paths',
      agent.volume_paths.map((template) => templateComplaint(template, '{volume_id}', roots)),
    ),
    ...about(
      'snapshot_paths',
      agent.snapshot_paths.map((template) => templateComplaint(template, '{snapshot_id}', roots)),
    ),
    ...about('volume_roots', agent.volume_roots.map(pathComplaint)),
  ]
}
