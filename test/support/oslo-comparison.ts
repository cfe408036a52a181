// What counts as the same reading of a configuration, ours and that of the real oslo.config. Each way in
// which they may differ has a name and a reason here.

import type { Reading } from '#src/config/read-settings.ts'
import { type NamedOption, namedOptions } from '#src/config/schema.ts'
import { settingOf } from '#src/config/secret-values.ts'
import type { TheirOption, TheirReading, TheirValue } from './oslo-reader.ts'

/**
 * Options that have bounds here and none, or wider ones, in Cinder: outside of them nothing would work.
 * No number of ours can be endless either, or not a number.
 */
export const strictlyBounded: readonly string[] = [
  'DEFAULT.report_interval',
  'DEFAULT.service_down_time',
  'DEFAULT.rpc_response_timeout',
  'DEFAULT.backup_metadata_version',
  'DEFAULT.backup_object_number_per_notification',
  'DEFAULT.backup_timer_interval',
  'DEFAULT.backup_swift_object_size',
  'DEFAULT.backup_swift_block_size',
  'DEFAULT.backup_swift_retry_attempts',
  'DEFAULT.backup_swift_retry_backoff',
  'DEFAULT.backup_file_size',
  'DEFAULT.backup_sha_block_size_bytes',
  'oslo_messaging_rabbit.rabbit_quorum_delivery_limit',
  'oslo_messaging_rabbit.rabbit_qos_prefetch_count',
  'oslo_messaging_rabbit.heartbeat_timeout_threshold',
  'oslo_messaging_rabbit.rabbit_retry_interval',
  'oslo_messaging_rabbit.rabbit_retry_backoff',
  'oslo_messaging_rabbit.rabbit_interval_max',
  'oslo_messaging_rabbit.kombu_missing_consumer_retry_timeout',
  'oslo_messaging_notifications.retry',
]

/** What an empty text means here. Cinder takes the default of each where it uses the value. */
const emptyIsDefault: readonly string[] = ['DEFAULT.host', 'oslo_messaging_rabbit.hostname']

const ofOneValue = ['SystemExit', 'ConfigFileValueError', 'NoSuchOptError', 'NoSuchGroupError']
const ofReferences = ['RecursionError', 'TemplateSubstitutionError']

const numeric: readonly string[] = ['integer', 'number', 'bytes']

/** Whether `complaint` is of a bound that oslo does not know. */
function isStricter(
  option: NamedOption,
  complaint: string | undefined,
  theirs: TheirValue,
): boolean {
  if (complaint === undefined || theirs.error !== undefined) return false
  const { value } = theirs
  const [, referred] = /^refers to \$(?:\w+\.)?(\w+), which must be -?\d+ or /.exec(complaint) ?? []
  if (referred !== undefined) return strictlyBounded.some((name) => name.endsWith(`.${referred}`))
  // Python says inf and nan, which JSON has as texts, and has integers of any size.
  if (numeric.includes(option.format) && typeof value === 'string') return true
  if (typeof value !== 'number' || !numeric.includes(option.format)) return false
  if (!Number.isSafeInteger(value) && option.format !== 'number') return true
  const { minimum = value, maximum = value } = option
  return strictlyBounded.includes(option.name) && (value < minimum || value > maximum)
}

function isSame(option: NamedOption, ours: unknown, theirs: unknown, unset: unknown): boolean {
  if (Array.isArray(theirs)) {
    // An empty name of a driver is none.
    const kept = theirs.filter((item) => option.multi !== true || item !== '')
    return JSON.stringify(ours) === JSON.stringify(kept)
  }
  if (theirs === '' || theirs === null || theirs === undefined) {
    const isDefault = numeric.includes(option.format) || emptyIsDefault.includes(option.name)
    return ours === (isDefault ? unset : option.nullable ? null : '')
  }
  return option.ignoreCase === true ? ours === String(theirs).toLowerCase() : ours === theirs
}

type Compared = {
  readonly differences: readonly string[]
  /** How many options have the same value, which a file sets. */
  readonly equalCount: number
  /** How many options both refuse. */
  readonly refusedCount: number
}

/** Compares two readings of the same files; `defaults` are those that the machine gives. */
export function compareReadings(
  { settings, problems, origins }: Reading,
  theirs: TheirReading,
  defaults: Readonly<Record<string, unknown>>,
): Compared {
  const isRefused = problems.some(({ option }) => option === null)
  const none = { equalCount: 0, refusedCount: 0 }
  if (theirs.values === undefined) {
    // oslo refuses with the files what the command line knows too; we name the option.
    const isOfOption = [...ofOneValue, ...ofReferences].includes(theirs.refused)
    const isSeen = isOfOption ? problems.length > 0 : isRefused
    return { ...none, differences: isSeen ? [] : [`oslo refuses the files: ${theirs.refused}`] }
  }
  if (isRefused) {
    return { ...none, differences: [`we refuse what oslo reads: ${JSON.stringify(problems)}`] }
  }
  let equalCount = 0
  let refusedCount = 0
  const differences: string[] = []
  for (const [index, option] of namedOptions.entries()) {
    const { section, option: key, name } = option
    const theirValue: TheirValue = theirs.values[index] ?? {}
    const complaint = problems.find((problem) => problem.option === `[${section}] ${key}`)?.what
    // Nothing and 0 are backup_max_operations.
    const isOther = name === 'cinder_backup_agent.jobs_max' && !theirValue.value
    const unset = isOther
      ? settings.DEFAULT.backup_max_operations
      : (defaults[name] ?? option.default)
    const ours = settingOf(settings, section, key)
    const isEqual =
      complaint === undefined &&
      theirValue.error === undefined &&
      isSame(option, ours, isOther ? null : theirValue.value, unset)
    if (isEqual) equalCount += origins.get(name) === 'default' ? 0 : 1
    else if (complaint !== undefined && theirValue.error !== undefined) refusedCount += 1
    else if (!isStricter(option, complaint, theirValue)) {
      const oursText = complaint ?? JSON.stringify(ours)
      differences.push(`${name}: we have ${oursText}, oslo has ${JSON.stringify(theirValue)}`)
    }
  }
  return { differences, equalCount, refusedCount }
}

/** The options whose bounds are narrower here than in Cinder. */
export function narrowerThanTheirs(theirs: readonly TheirOption[]): readonly string[] {
  return namedOptions
    .filter(({ minimum = null, maximum = null }, index) => {
      const { isReal, ...bounds } = theirs[index] ?? { isReal: false, minimum: null, maximum: null }
      const isLower = minimum !== null && (bounds.minimum === null || bounds.minimum < minimum)
      const isHigher = maximum !== null && (bounds.maximum === null || bounds.maximum > maximum)
      return isReal && (isLower || isHigher)
    })
    .map(({ name }) => name)
}
