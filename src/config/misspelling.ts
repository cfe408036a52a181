// Options that nobody reads because their name is not quite right.

import { ignoredRabbitOptions } from '../adapters/rpc/rabbit-options.ts'
import type { OptionPlace } from './oslo-ini.ts'
import { environmentName, namedOptions } from './schema.ts'

// Cinder's and oslo.messaging's options that this agent does not need, in sections where a name
// close to one of ours would otherwise be called misspelt.
const known: Readonly<Record<string, readonly string[]>> = {
  DEFAULT: [
    'backup_api_class',
    'backup_ceph_chunk_size',
    'backup_ceph_conf',
    'backup_ceph_image_journals',
    'backup_ceph_max_snapshots',
    'backup_ceph_pool',
    'backup_ceph_stripe_count',
    'backup_ceph_stripe_unit',
    'backup_ceph_user',
    'backup_driver_init_check_interval',
    'backup_manager',
    'backup_mount_attempts',
    'backup_mount_options',
    'backup_mount_point_base',
    'backup_name_template',
    'backup_native_threads_pool_size',
    'backup_service_inithost_offload',
    'backup_share',
    'backup_use_same_host',
    'backup_use_temp_snapshot',
    'backup_workers',
  ],
  oslo_messaging_rabbit: [...ignoredRabbitOptions, 'ssl_enforce_fips_mode'],
  oslo_messaging_notifications: [],
}
const foreignBackupOption = /^backup_(?:ceph|s3|gcs|google|glusterfs|nfs|tsm)_/

/** How many single changes (insert, remove, replace, swap neighbours) lead from `a` to `b`. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const at = (of: number[], index: number) => of[index] ?? Number.POSITIVE_INFINITY
      const replaced = at(last, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwap = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = isSwap ? at(beforeLast, j - 2) + 1 : Number.POSITIVE_INFINITY
      row.push(Math.min(replaced, swapped, at(last, j) + 1, at(row, j - 1) + 1))
    }
    beforeLast = last
    last = row
  }
  return last[b.length] ?? 0
}

/** The candidate that `name` most likely means, or null where none is close. */
export function nearest(name: string, candidates: readonly string[]): string | null {
  let best: string | null = null
  let bestDistance = Math.min(3, Math.floor(name.length / 3) + 1)
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function optionsOf(section: string): readonly string[] {
  return namedOptions
    .filter((option) => option.section === section)
    .flatMap(({ option, deprecatedNames = [] }) => [option, ...deprecatedNames])
}

const ours = 'cinder_backup_agent'
const sections = [...new Set(namedOptions.map(({ section }) => section))]

/** What is wrong with the name of an option in the files; null where nothing is. */
export function misspelling({ section, option }: OptionPlace): string | null {
  const names = optionsOf(section)
  if (names.includes(option)) return null
  if (section === ours) return unknownHere(option, names)
  if (section === 'DEFAULT' && optionsOf(ours).includes(option) && option !== 'workers') {
    return `belongs in section [${ours}]; here it counts for nothing`
  }
  if (!(section in known) || known[section]?.includes(option)) return null
  if (section === 'DEFAULT' && !option.toLowerCase().startsWith('backup_')) return null
  if (foreignBackupOption.test(option)) return null
  const meant = nearest(option, names)
  return meant === null ? null : `is not known; ${meant} is`
}

function unknownHere(option: string, names: readonly string[]): string {
  const meant = nearest(option, names)
  if (meant !== null) return `is not known; ${meant} is`
  const home = sections.find((section) => optionsOf(section).includes(option))
  return home === undefined
    ? 'is not known; "cinder-backup-agent config sample" lists what is'
    : `belongs in section [${home}]; here it counts for nothing`
}

/** What is wrong with the name of a section; null where nothing is. */
export function misspeltSection(section: string): string | null {
  if (sections.includes(section)) return null
  const meant = nearest(section.replaceAll('-', '_'), [ours])
  return meant === null ? null : `section [${section}] is not known; [${ours}] is`
}

/** What is wrong with a variable of ours in the environment; null where nothing is. */
export function misspeltVariable(variable: string): string | null {
  if (!variable.startsWith('CBA_') || namedOptions.some(({ env }) => env === variable)) return null
  const names = namedOptions.map(({ env }) => env.toLowerCase())
  const meant = nearest(variable.toLowerCase(), names)
  if (meant !== null) return `names no option; ${meant.toUpperCase()} does`
  const isInSection = sections.some((section) => variable.startsWith(environmentName(section, '')))
  return isInSection ? 'names no option; CBA_<SECTION>_<OPTION> does' : null
}
