// Options that are read and checked, and change nothing here: who sets one is told why.

import type { Finding } from './finding.ts'
import { modesOf } from './modes.ts'
import { namedOptions, type Settings } from './schema.ts'

const everySecond = 'progress is told at most once a second, whatever is set'
const noDatabase = 'of use only with records = database'

/** By `section.option`; docs/compatibility.md says it of each that is Cinder's. */
const whyNot: Readonly<Record<string, string>> = {
  'DEFAULT.backup_object_number_per_notification': everySecond,
  'DEFAULT.backup_timer_interval': everySecond,
  'DEFAULT.backup_swift_enable_progress_timer': everySecond,
  'DEFAULT.backup_enable_progress_timer': everySecond,
  'DEFAULT.backup_driver_stats_polling_interval':
    'capabilities are told when they change and when they are asked for',
  'DEFAULT.backup_metadata_version': 'volume metadata is kept in the version in which it comes',
  'DEFAULT.message_ttl': noDatabase,
  'DEFAULT.reservation_expire': noDatabase,
  'DEFAULT.report_interval': noDatabase,
  'DEFAULT.service_down_time': noDatabase,
  'oslo_messaging_notifications.retry':
    'final events are never given up, and progress is left out while the broker is away',
  'cinder_backup_agent.advertise_rpc': noDatabase,
  'cinder_backup_agent.device_timeout': noDatabase,
  'cinder_backup_agent.gone_host_timeout': noDatabase,
  'cinder_backup_agent.health_listen': 'the health endpoint is not built yet',
}

/** Those that have a use with records in messages too, but another. */
const followedWithDatabase: readonly string[] = [
  ...['DEFAULT.backup_driver_stats_polling_interval', 'DEFAULT.backup_metadata_version'],
  ...Object.keys(whyNot).filter((name) => whyNot[name] === noDatabase),
]

const unfollowed = namedOptions.filter(({ name }) => name in whyNot)

/** A value that is the default asks for nothing, whoever wrote it. */
export function unfollowedCautions(settings: Settings): readonly Finding[] {
  const { records } = modesOf(settings)
  return unfollowed.flatMap(({ section, option, name, default: fallback }) => {
    if (records === 'database' && followedWithDatabase.includes(name)) return []
    const ofSection: Readonly<Record<string, unknown>> = settings[section as keyof Settings]
    if (ofSection[option] === fallback) return []
    return [{ name, what: `is not followed: ${whyNot[name]}` }]
  })
}
