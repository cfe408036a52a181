import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import type { Machine } from '#src/config/machine.ts'
import type { ConfigPath } from '#src/config/read-files.ts'
import { inspectConfig, loadConfig, problemText } from '#src/config.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'cba-config-'))
after(() => rmSync(folder, { recursive: true }))

function configFile(text: string): string {
  const file = path.join(mkdtempSync(path.join(folder, 'etc-')), 'agent.conf')
  writeFileSync(file, text)
  return file
}

const bus = '[DEFAULT]\ntransport_url = rabbit://u:p@127.0.0.1/\n'

function aFile(named: string): ConfigPath {
  return { kind: 'file', path: named }
}

function load(text: string, env: Record<string, string> = {}) {
  return loadConfig({ paths: [aFile(configFile(text))], env }).config
}

const machine: Machine = {
  hostName: 'node-7',
  address: '192.0.2.7',
  coreCount: 4,
  memoryBytes: 2 ** 34,
  isJournalStream: false,
  hasProgram: () => false,
  hasNativeBz2: false,
  canRead: () => false,
}

/** Problems and warnings of one file, each without its folder. */
function complaints(text: string, env: Record<string, string> = {}) {
  const file = configFile(text)
  const { problems, warnings } = inspectConfig({ paths: [aFile(file)], env }, machine)
  const texts = (of: typeof problems) =>
    of.map((each) => problemText(each).replace(file, 'agent.conf'))
  return { problems: texts(problems), warnings: texts(warnings) }
}

test('a bus is all that must be set', () => {
  const config = load(bus)

  assert.equal(config.transport.url, 'rabbit://u:p@127.0.0.1/')
  assert.equal(config.records, 'message')
  assert.equal(config.driver.classPath, 'cinder.backup.drivers.swift.SwiftBackupDriver')
  assert.deepEqual(config.notifications.drivers, ['messagingv2'])
  assert.equal(config.notifications.isDriverAssumed, true)
  assert.equal(config.retry.attemptsMax, 4)
  assert.equal(config.limits.jobsMax, 15)
  assert.deepEqual(config.volumes.volumeRoots, ['/dev/cinder-volumes'])
})

test('the configuration is frozen all the way down', () => {
  const config = load(bus)

  assert.throws(() => Object.assign(config.swift.singleUser, { password: 'x' }), TypeError)
})

test('later files win, folders come after files, and the environment wins over all', () => {
  const first = configFile(`${bus}host = a\ncontrol_exchange = a\nbackup_swift_container = a\n`)
  const second = configFile('[DEFAULT]\nhost = b\ncontrol_exchange = b\n')
  const confD = mkdtempSync(path.join(folder, 'conf.d-'))
  writeFileSync(path.join(confD, '10-x.conf'), '[DEFAULT]\nhost = c\n')
  writeFileSync(path.join(confD, '20-x.conf'), '[DEFAULT]\nhost = d\n')
  writeFileSync(path.join(confD, 'not-read.txt'), '[DEFAULT]\nhost = e\n')
  const env = { CBA_DEFAULT_BACKUP_SWIFT_CONTAINER: 'f' }
  const paths = [aFile(first), aFile(second), { kind: 'folder', path: confD } as const]

  const { config, origins } = loadConfig({ paths, env })

  assert.equal(config.host, 'd')
  assert.equal(config.transport.controlExchange, 'b')
  assert.equal(config.swift.container, 'f')
  assert.equal(origins.get('DEFAULT.host'), `${path.join(confD, '20-x.conf')}:2`)
  assert.equal(origins.get('DEFAULT.backup_swift_container'), 'CBA_DEFAULT_BACKUP_SWIFT_CONTAINER')
  assert.equal(origins.get('DEFAULT.debug'), 'default')
})

test('values refer to others, to defaults and to the environment', () => {
  const text = `${bus}state_path = /srv/$host\n[cinder_backup_agent]\nstate_dir = $state_path/agent\n`

  const config = load(text, { CBA_DEFAULT_HOST: 'h' })

  assert.equal(config.stateDir, '/srv/h/agent')
  assert.equal(config.posix.path, '/srv/h/backup')
})

test('an empty value is as good as none', () => {
  const config = load(`${bus}host =\nbackup_swift_user =\nreport_interval =\n`)

  assert.notEqual(config.host, '')
  assert.equal(config.swift.singleUser.userName, '')
  assert.equal(config.service.reportIntervalMs, 10_000)
})

test('sizes may have a unit, and so do names', () => {
  const config = load(`${bus}[cinder_backup_agent]\nmemory_max = 256 MiB\nmessage_max = 65536\n`)

  assert.equal(config.limits.memoryBytesMax, 256 * 2 ** 20)
  assert.equal(config.limits.messageBytesMax, 65_536)
})

test('a missing file, a broken one and bad settings come as one error', () => {
  const broken = configFile('[DEFAULT]\nnonsense\ndebug = maybe\n')
  const paths = [aFile(path.join(folder, 'missing.conf')), aFile(broken)]

  assert.throws(
    () => loadConfig({ paths, env: {} }),
    (error: { code: string; context: { problems: string[] } }) => {
      const found = error.context.problems.map((text) => text.replace(/^\/.*\//, ''))
      const file = path.basename(broken)
      assert.equal(error.code, 'CONFIGURATION_INVALID')
      assert.deepEqual(found, [
        `${file}:2: neither a [section] nor "option = value"`,
        `${file}:3: [DEFAULT] debug: must be true or false: value was "maybe"`,
        'missing.conf: cannot be read: there is no such file',
      ])
      return true
    },
  )
})

const url = 'transport_url = rabbit://u:p@h/\n'
const rejected: readonly [name: string, text: string, complaint: RegExp][] = [
  [
    'an object size that is no multiple of the block size',
    `[DEFAULT]\n${url}backup_swift_object_size = 100000`,
    /^agent.conf:3: \[DEFAULT\] backup_swift_object_size: must be a multiple of backup_swift_block_size, 32768: 98304 would be$/,
  ],
  [
    'a file size that is no multiple of the block size',
    `[DEFAULT]\n${url}backup_driver = cinder.backup.drivers.posix\nbackup_file_size = 5`,
    /backup_file_size: must be a multiple of backup_sha_block_size_bytes, 32768: 32768 would be$/,
  ],
  [
    'an unknown way to log in',
    `[DEFAULT]\n${url}backup_swift_auth = both`,
    /backup_swift_auth: must be one of per_user, single_user: value was "both"$/,
  ],
  [
    "Keystone's v2 API",
    `[DEFAULT]\n${url}backup_swift_auth = single_user\nbackup_swift_user = u\nbackup_swift_key = k\nbackup_swift_auth_version = 2`,
    /backup_swift_auth_version: cannot be 2: Keystone no longer has its v2 API; write 3$/,
  ],
  [
    'a single user without a name',
    `[DEFAULT]\n${url}backup_swift_auth = single_user\nbackup_swift_key = k\nbackup_swift_auth_url = http://p/`,
    /backup_swift_user: is needed by backup_swift_auth = single_user; set it$/,
  ],
  [
    'a single user without a password',
    `[DEFAULT]\n${url}backup_swift_auth = single_user\nbackup_swift_user = u\nbackup_swift_auth_url = http://p/`,
    /backup_swift_key: is needed by backup_swift_auth = single_user; set it$/,
  ],
  [
    'a single user without a project',
    `[DEFAULT]\n${url}backup_swift_auth = single_user\nbackup_swift_user = u\nbackup_swift_key = k\nbackup_swift_auth_version = 3`,
    /backup_swift_project: is needed by backup_swift_auth_version = 3; set it$/,
  ],
  [
    'an unknown backup driver',
    `[DEFAULT]\n${url}backup_driver = cinder.backup.drivers.ceph.CephBackupDriver`,
    /backup_driver: cinder.backup.drivers.ceph.CephBackupDriver is not known; write cinder.backup.drivers.swift.SwiftBackupDriver or cinder.backup.drivers.posix.PosixBackupDriver$/,
  ],
  [
    'a catalogue entry without three fields',
    `[DEFAULT]\n${url}swift_catalog_info = object-store:swift`,
    /swift_catalog_info: must have three fields: object-store:swift:publicURL$/,
  ],
  [
    'bz2 without a program for it',
    `[DEFAULT]\n${url}backup_compression_algorithm = BZ2`,
    /backup_compression_algorithm: needs the program bzip2 or lbzip2 on the PATH; install one/,
  ],
  [
    'a CA file that cannot be read',
    `[DEFAULT]\n${url}backup_swift_ca_cert_file = /etc/ca.pem`,
    /backup_swift_ca_cert_file: \/etc\/ca.pem cannot be read$/,
  ],
  [
    'a URL that is none',
    `[DEFAULT]\n${url}backup_swift_url = swift:8080/v1`,
    /backup_swift_url: must be a URL such as https:.* to set none: value was "swift:8080\/v1"$/,
  ],
  [
    'a bus of another kind',
    '[DEFAULT]\ntransport_url = kafka://u:p@h/',
    /^agent.conf:2: \[DEFAULT\] transport_url: has the scheme kafka: only rabbit is served; write /,
  ],
  [
    'volumes of cinder with records in messages',
    `[DEFAULT]\n${url}[cinder_backup_agent]\nvolumes = cinder`,
    /volumes: cinder needs records = database; set \[database\] connection, or write volumes = path$/,
  ],
  [
    'records in a database that is not named',
    `[DEFAULT]\n${url}[cinder_backup_agent]\nrecords = database`,
    /\[database\] connection: is needed with records = database; /,
  ],
  [
    'notifications that go nowhere',
    `[DEFAULT]\n${url}[oslo_messaging_notifications]\ndriver = noop`,
    /driver: noop sends nothing to the bus, .* write driver = messagingv2$/,
  ],
  [
    'an unknown notification driver',
    `[DEFAULT]\n${url}[oslo_messaging_notifications]\ndriver = messagingv3`,
    /driver: messagingv3 is not known; write messagingv2$/,
  ],
  [
    'queues that are mirrored and quorum queues',
    `[DEFAULT]\n${url}[oslo_messaging_rabbit]\nrabbit_ha_queues = 1\nrabbit_quorum_queue = 1`,
    /rabbit_ha_queues: cannot go with rabbit_quorum_queue/,
  ],
  [
    'a stream without a prefetch count',
    `[DEFAULT]\n${url}[oslo_messaging_rabbit]\nrabbit_stream_fanout = 1`,
    /rabbit_stream_fanout: needs rabbit_qos_prefetch_count of 1 or more/,
  ],
  [
    'a volume path that is not absolute',
    `[DEFAULT]\n${url}[cinder_backup_agent]\nvolume_paths = volume-{volume_id}`,
    /volume_paths: volume-\{volume_id\} must be an absolute path$/,
  ],
  [
    'a volume path that is the same for all volumes',
    `[DEFAULT]\n${url}[cinder_backup_agent]\nvolume_paths = /dev/sda`,
    /volume_paths: \/dev\/sda must hold \{volume_id\}$/,
  ],
  [
    'a volume path that leads upwards',
    `[DEFAULT]\n${url}[cinder_backup_agent]\nvolume_paths = /dev/../{volume_id}`,
    /volume_paths: \/dev\/..\/\{volume_id\} must not hold ..$/,
  ],
  [
    'a volume path outside the roots',
    `[DEFAULT]\n${url}[cinder_backup_agent]\nvolume_roots = /dev/vg\nsnapshot_paths = /dev/vg/{snapshot_id}`,
    /volume_paths: \/dev\/cinder-volumes\/volume-\{volume_id\} lies in none of volume_roots \(\/dev\/vg\)$/,
  ],
  [
    'a reference to nothing',
    `[DEFAULT]\n${url}control_exchange = $exchange`,
    /control_exchange: refers to \$exchange, which nothing sets; write \$\$ for a dollar sign$/,
  ],
  [
    'a reference to itself',
    `[DEFAULT]\n${url}host = $control_exchange\ncontrol_exchange = $host`,
    /host: refers to itself by \$host$/,
  ],
  [
    'a host name with a blank',
    `[DEFAULT]\n${url}host = a b`,
    /host: must be 1 to 200 characters without blanks$/,
  ],
  [
    'memory for less than two blocks a worker',
    `[DEFAULT]\n${url}backup_swift_block_size = 8388608\nbackup_swift_object_size = 8388608\n[cinder_backup_agent]\nmemory_max = 16 MiB`,
    /memory_max: must hold two blocks for each worker: at least 67108864 bytes$/,
  ],
  [
    'token checks without a Keystone',
    `[DEFAULT]\n${url}[cinder_backup_agent]\nvalidate_tokens = true`,
    /validate_tokens: needs \[keystone_authtoken\] auth_url; set it$/,
  ],
  [
    'an allowed endpoint that is a URL',
    `[DEFAULT]\n${url}[cinder_backup_agent]\nallowed_endpoints = http://swift`,
    /allowed_endpoints: http:\/\/swift must be a host or host:port, without a scheme$/,
  ],
]
for (const [name, text, complaint] of rejected) {
  test(`${name} is refused, with what would be right`, () => {
    const { problems } = complaints(text)

    assert.ok(
      problems.some((problem) => complaint.test(problem)),
      problems.join('\n'),
    )
  })
}

const warned: readonly [name: string, text: string, warning: string][] = [
  [
    'a misspelt option of ours',
    `${bus}[cinder_backup_agent]\nmemory_maks = 1`,
    'agent.conf:4: [cinder_backup_agent] memory_maks: is not known; memory_max is',
  ],
  [
    "a misspelt option of Cinder's",
    `${bus}backup_swift_aut = per_user`,
    'agent.conf:3: [DEFAULT] backup_swift_aut: is not known; backup_swift_auth is',
  ],
  [
    'a misspelt option of the bus',
    `${bus}[oslo_messaging_rabbit]\nrabbit_quorum_queues = true`,
    'agent.conf:4: [oslo_messaging_rabbit] rabbit_quorum_queues: is not known; rabbit_quorum_queue is',
  ],
  [
    'an option of ours in the wrong section',
    `${bus}volume_paths = /x/{volume_id}`,
    'agent.conf:3: [DEFAULT] volume_paths: belongs in section [cinder_backup_agent]; here it counts for nothing',
  ],
  [
    "an option of Cinder's in our section",
    `${bus}[cinder_backup_agent]\nbackup_swift_url = http://x/`,
    'agent.conf:4: [cinder_backup_agent] backup_swift_url: belongs in section [DEFAULT]; here it counts for nothing',
  ],
  [
    'a misspelt section',
    `${bus}[cinder-backup-agent]\nrecords = message`,
    'agent.conf:4: section [cinder-backup-agent] is not known; [cinder_backup_agent] is',
  ],
  [
    'an old name',
    `${bus}backup_driver_status_check_interval = 60`,
    'agent.conf:3: [DEFAULT] backup_driver_status_check_interval: is an old name of [DEFAULT] backup_driver_stats_polling_interval',
  ],
  [
    'services that count as dead too soon',
    `${bus}service_down_time = 10`,
    'agent.conf:3: [DEFAULT] service_down_time: must be more than report_interval: 25 seconds is used',
  ],
]
for (const [name, text, warning] of warned) {
  test(`${name} is a warning`, () => {
    assert.deepEqual(complaints(text), { problems: [], warnings: [warning] })
  })
}

test('a variable of ours that names no option is a warning', () => {
  const { warnings } = complaints(bus, { CBA_DEFAULT_HOSTT: 'x', CBA_SOMETHING: 'y', HOME: '/' })

  assert.deepEqual(warnings, ['CBA_DEFAULT_HOSTT: names no option; CBA_DEFAULT_HOST does'])
})

test('options of stores that are not chosen are nobody’s business', () => {
  const text = `${bus}backup_driver = cinder.backup.drivers.posix.PosixBackupDriver\nbackup_swift_object_size = 7\nswift_catalog_info = x\n`

  assert.deepEqual(complaints(text), { problems: [], warnings: [] })
})

test('a password with a dollar sign is not quoted in the complaint about it', () => {
  const { problems } = complaints(`${bus}backup_swift_key = half$otherhalf\n`)

  assert.deepEqual(problems, [
    'agent.conf:3: [DEFAULT] backup_swift_key: holds a $ that refers to nothing; write $$ for a dollar sign',
  ])
})

test('passwords of the configuration are known to the log, decoded too', () => {
  const text =
    '[DEFAULT]\ntransport_url = rabbit://u:p%40ss@h1,u2:other@h2/v\nbackup_swift_key = s3cret\n'

  const { log } = load(text)

  assert.deepEqual(log.secrets, ['p%40ss', 'p@ss', 'other', 's3cret'])
})

const logForms: readonly [text: string, format: string, file: string | null][] = [
  ['', 'oslo', null],
  ['use_json = true', 'json', null],
  ['use_journal = true', 'journald', null],
  ['log_file = /var/log/a.log', 'oslo', '/var/log/a.log'],
  ['log_dir = /var/log\nlog_file = a.log', 'oslo', '/var/log/a.log'],
  ['log_dir = /var/log', 'oslo', '/var/log/cinder-backup-agent.log'],
]
for (const [text, format, file] of logForms) {
  test(`"${text.replace('\n', ', ')}" logs as ${format} to ${file ?? 'standard error'}`, () => {
    const { log } = load(`${bus}${text}\n`)

    assert.deepEqual([log.format, log.file], [format, file])
  })
}

test('without a transport_url the broker is looked for where oslo.messaging does, and that is said', () => {
  const { config, warnings } = loadConfig({ paths: [aFile(configFile(''))], env: {} })

  assert.equal(config.transport.url, 'rabbit://')
  assert.deepEqual(
    warnings.map(({ option }) => option),
    ['[DEFAULT] transport_url'],
  )
})
