import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

import { environmentName } from '#src/config/schema.ts'
import { inspectConfig } from '#src/config.ts'
import { checkout } from '../support/services.ts'

const page = readFileSync(path.join(checkout, 'docs/compatibility.md'), 'utf8')

/** What is warned of where the environment sets the options, by option. */
function warnedOf(values: Readonly<Record<string, string>>): readonly string[] {
  const env = Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      const [section = '', option = ''] = name.split('.')
      return [environmentName(section, option), value]
    }),
  )
  const sources = { paths: [{ kind: 'file', path: '/dev/null' } as const], env }
  const { problems, warnings } = inspectConfig(sources)
  assert.deepEqual(problems, [])
  return warnings
    .filter(({ what }) => what.startsWith('is not followed: '))
    .map(({ option }) => option ?? '')
}

// Another value than the default of each.
const others: Readonly<Record<string, string>> = {
  'DEFAULT.backup_object_number_per_notification': '20',
  'DEFAULT.backup_timer_interval': '30',
  'DEFAULT.backup_swift_enable_progress_timer': 'false',
  'DEFAULT.backup_enable_progress_timer': 'false',
  'DEFAULT.backup_driver_stats_polling_interval': '300',
  'DEFAULT.backup_metadata_version': '1',
  'DEFAULT.message_ttl': '60',
  'DEFAULT.reservation_expire': '60',
  'DEFAULT.report_interval': '20',
  'DEFAULT.service_down_time': '90',
  'oslo_messaging_notifications.retry': '2',
  'cinder_backup_agent.advertise_rpc': '2.3',
  'cinder_backup_agent.device_timeout': '60',
  'cinder_backup_agent.health_listen': '127.0.0.1:8080',
}

for (const [name, value] of Object.entries(others)) {
  test(`${name} = ${value} is a warning: it is not followed`, () => {
    assert.deepEqual(warnedOf({ [name]: value }), [`[${name.replace('.', '] ')}`])
  })
}

test('what only the database mode follows is followed there', () => {
  assert.deepEqual(
    warnedOf({
      'database.connection': 'mysql+pymysql://u:p@127.0.0.1/cinder',
      'DEFAULT.message_ttl': '60',
      'DEFAULT.backup_driver_stats_polling_interval': '300',
      'DEFAULT.backup_metadata_version': '1',
      'DEFAULT.reservation_expire': '60',
      'DEFAULT.report_interval': '20',
      'DEFAULT.service_down_time': '90',
      'cinder_backup_agent.advertise_rpc': '2.3',
      'cinder_backup_agent.device_timeout': '60',
    }),
    [],
  )
})

test('defaults that somebody wrote down are no warning', () => {
  assert.deepEqual(
    warnedOf({
      'DEFAULT.report_interval': '10',
      'DEFAULT.backup_timer_interval': '120',
      'oslo_messaging_notifications.retry': '-1',
      'DEFAULT.backup_enable_progress_timer': 'True',
    }),
    [],
  )
})

test('docs/compatibility.md says of these options, and of no others, that they are not followed', () => {
  const said = [
    ...page.matchAll(/^\| O-\d\d \| `(?:\[(\w+)\] )?(\w+)` \|.*\| read and not followed/gm),
  ]
  const ofCinder = Object.keys(others).filter((name) => !name.startsWith('cinder_backup_agent.'))

  assert.deepEqual(
    said.map(([, section = 'DEFAULT', option]) => `${section}.${option}`).sort(),
    ofCinder.sort(),
  )
})
