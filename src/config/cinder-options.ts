// Cinder's own options, with Cinder's names, sections, defaults and meanings.
// Source: cinder/backup/drivers/swift.py, drivers/posix.py, chunkeddriver.py, manager.py and
// cinder/common/config.py; 2026.1.

import { address, choice, flag, integer, optionalText, optionalUrl, text } from './formats.ts'

const serviceOptions = {
  host: text(
    '',
    'Name of this backup host: it is served on the topic cinder-backup.<host>. Two agents never ' +
      'share one.',
    { defaultText: "the machine's host name" },
  ),
  my_ip: address('', 'Address of this machine: other values refer to it.', {
    defaultText: "the machine's, on the way out",
  }),
  transport_url: text(
    'rabbit://',
    'The message bus: rabbit://user:password@host:5672,user:password@host2:5672/vhost. Keys after ' +
      '? override [oslo_messaging_rabbit]. Without a host: guest at localhost.',
    { sensitive: 'password' },
  ),
  control_exchange: text('openstack', 'The exchange of requests and notifications.'),
  storage_availability_zone: text('nova', 'Availability zone of this agent and its backups.'),
  state_path: text('/var/lib/cinder', "Cinder's own state folder; other values refer to it."),
  enable_new_services: flag(true, 'Whether a new row of this service is enabled.'),
  report_interval: integer(10, 'How often the agent says that it lives.', {
    minimum: 1,
    unit: 'seconds',
  }),
  service_down_time: integer(60, 'How long a silent service counts as alive.', {
    minimum: 1,
    unit: 'seconds',
  }),
  rpc_response_timeout: integer(60, 'How long to wait for the answer of another service.', {
    minimum: 1,
    unit: 'seconds',
  }),
  use_multipath_for_image_xfer: flag(
    false,
    'With volumes=cinder: whether volumes are attached by all of their paths, where multipathd runs.',
  ),
  num_volume_device_scan_tries: integer(
    3,
    'With volumes=cinder: how often a device that is attached is looked for.',
  ),
  rpc_ping_enabled: flag(false, 'Answer oslo_rpc_server_ping, by which operators probe services.'),
  debug: flag(false, 'Log what only a developer wants to see. SIGHUP changes it at once.'),
  log_file: optionalText('Log to this file, in log_dir where it is relative.', {
    deprecatedNames: ['logfile'],
    defaultText: 'standard error',
  }),
  log_dir: optionalText('Folder of the log file.', { deprecatedNames: ['logdir'] }),
  use_json: flag(false, 'Log JSON, one object a line.'),
  use_journal: flag(false, 'Log for journald: priorities in front, no time.'),
}

const backupOptions = {
  backup_driver: text(
    'cinder.backup.drivers.swift.SwiftBackupDriver',
    'Where backups go. This agent has cinder.backup.drivers.swift.SwiftBackupDriver and ' +
      'cinder.backup.drivers.posix.PosixBackupDriver.',
  ),
  backup_compression_algorithm: choice(
    'zlib',
    ['none', 'off', 'no', 'zlib', 'gzip', 'bz2', 'bzip2', 'zstd'],
    'Compression of chunks. bz2 needs the accelerator with libbz2, or the program bzip2 or lbzip2.',
    { ignoreCase: true },
  ),
  backup_create_containers: flag(true, 'false: a container that is missing is an error.'),
  backup_metadata_version: integer(2, 'Version stamped into the volume metadata.', {
    minimum: 1,
    maximum: 2,
  }),
  backup_object_number_per_notification: integer(10, 'Chunks between two progress events.', {
    minimum: 1,
  }),
  backup_timer_interval: integer(120, 'Time between two progress events of a slow backup.', {
    minimum: 1,
    unit: 'seconds',
  }),
  backup_max_operations: integer(15, 'Operations at once; 0 is no limit.', { minimum: 0 }),
  message_ttl: integer(2592000, 'How long a user message about a failure is kept.', {
    unit: 'seconds',
  }),
  reservation_expire: integer(
    86400,
    'The life of the reservations by which a delete gives quota back.',
    { unit: 'seconds' },
  ),
  backup_driver_stats_polling_interval: integer(60, 'How often capabilities are published.', {
    minimum: 10,
    unit: 'seconds',
    deprecatedNames: ['backup_driver_status_check_interval'],
  }),
}

const swiftOptions = {
  backup_swift_url: optionalUrl(
    "The store in front of the project's id: https://swift/v1/AUTH_. For per_user; without it the " +
      "catalogue of the user's request names the store.",
  ),
  backup_swift_auth_url: optionalUrl('Keystone, or the v1 auth URL, for single_user.'),
  swift_catalog_info: text(
    'object-store:swift:publicURL',
    'Which endpoint of the catalogue is the store: type, name and key.',
  ),
  keystone_catalog_info: text(
    'identity:Identity Service:publicURL',
    'Which endpoint of the catalogue is Keystone: type, name and key. For single_user without ' +
      'backup_swift_auth_url.',
  ),
  backup_swift_auth: choice(
    'per_user',
    ['per_user', 'single_user'],
    "per_user: the token that came with the request. single_user: the agent's own account.",
  ),
  backup_swift_auth_version: text(
    '1',
    'How a single_user logs in: 1 or 3. 2 is refused, for Keystone no longer has its v2 API.',
  ),
  backup_swift_tenant: optionalText('Project of a v2 login; stands in for backup_swift_project.'),
  backup_swift_user_domain: optionalText('Domain name of the user of a v3 login.'),
  backup_swift_project_domain: optionalText('Domain name of the project of a v3 login.'),
  backup_swift_project: optionalText('Project name of a v3 login.'),
  backup_swift_user: optionalText('User name for single_user.'),
  backup_swift_key: optionalText('Password for single_user.', { sensitive: 'whole' }),
  backup_swift_container: text('volumebackups', 'Container where the request names none.'),
  backup_swift_create_storage_policy: optionalText('Storage policy of containers made by us.'),
  backup_swift_object_size: integer(52428800, 'Size of a chunk: a multiple of the block size.', {
    minimum: 1,
    unit: 'bytes',
  }),
  backup_swift_block_size: integer(32768, 'Size of a block: changes are tracked by blocks.', {
    minimum: 1,
    unit: 'bytes',
  }),
  backup_swift_retry_attempts: integer(3, 'Tries of a request after the first.', { minimum: 0 }),
  backup_swift_retry_backoff: integer(2, 'First wait between tries; doubles, at most 64.', {
    minimum: 0,
    unit: 'seconds',
  }),
  backup_swift_enable_progress_timer: flag(true, 'Progress events by time, Swift store.'),
  backup_swift_ca_cert_file: optionalText('File with the CA certificates to trust.'),
  backup_swift_auth_insecure: flag(false, 'Do not verify certificates.'),
  backup_swift_service_auth: flag(false, "Send the agent's own token with the user's."),
  backup_swift_region_name: optionalText('Region of the endpoint in the catalogue.'),
}

const posixOptions = {
  backup_posix_path: text('$state_path/backup', 'Folder of the POSIX store.'),
  backup_container: optionalText('Folder in it where the request names none.', {
    defaultText: 'made from the id of the backup',
  }),
  backup_file_size: integer(1999994880, 'Size of a chunk, POSIX store.', {
    minimum: 1,
    unit: 'bytes',
  }),
  backup_sha_block_size_bytes: integer(32768, 'Size of a block, POSIX store.', {
    minimum: 1,
    unit: 'bytes',
  }),
  backup_enable_progress_timer: flag(true, 'Progress events by time, POSIX store.'),
}

export const defaultOptions = {
  ...serviceOptions,
  ...backupOptions,
  ...swiftOptions,
  ...posixOptions,
}

// Source: oslo_db/options.py, 12.1 and later.
export const databaseOptions = {
  connection: optionalText(
    "Cinder's SQL database, where records live with records=database: mysql+pymysql:// or postgresql://, " +
      'as SQLAlchemy reads them, with ssl_ca, ssl_capath, ssl_cert, ssl_key, ssl_check_hostname and unix_socket, ' +
      'or sslmode, sslrootcert, sslcert and sslkey.',
    {
      sensitive: 'password',
      deprecatedNames: ['DEFAULT.sql_connection', 'database.sql_connection', 'sql.connection'],
    },
  ),
  connection_parameters: text(
    '',
    'More parameters of the connection, as param=value&param=value.',
    { sensitive: 'whole' },
  ),
  mysql_wsrep_sync_wait: optionalText(
    'wsrep_sync_wait of each session, a number, where Galera has several writers: 1 makes reads wait for what ' +
      'others wrote before. Not set: as the server has it.',
  ),
  connection_recycle_time: integer(
    3600,
    'A connection to the database older than this is not used again; -1: it may be.',
    { unit: 'seconds' },
  ),
  max_pool_size: integer(
    5,
    'Connections to the database at once; 0 is no limit. One more is for the heartbeat.',
  ),
  retry_interval: integer(
    10,
    'Longest wait between two tries while the database is away, at least 1. The agent tries for ' +
      'ever: max_retries has no meaning here.',
    {
      unit: 'seconds',
      deprecatedNames: ['DEFAULT.sql_retry_interval', 'database.reconnect_interval'],
    },
  ),
}

const loginOptions = {
  auth_type: optionalText(
    'How to log in: password, v3password or v3applicationcredential. Not set: password.',
    { deprecatedNames: ['auth_plugin'] },
  ),
  auth_url: optionalText('URL of Keystone.'),
  user_id: optionalText('User id; stands for name and domain.'),
  username: optionalText('User name.', { deprecatedNames: ['user-name', 'user_name'] }),
  password: optionalText('Password.', { sensitive: 'whole' }),
  user_domain_name: optionalText('Domain name of the user.'),
  user_domain_id: optionalText('Domain id of the user.'),
  project_id: optionalText('Project id; stands for name and domain.', {
    deprecatedNames: ['tenant-id', 'tenant_id'],
  }),
  project_name: optionalText('Project name.', { deprecatedNames: ['tenant-name', 'tenant_name'] }),
  project_domain_name: optionalText('Domain name of the project.'),
  project_domain_id: optionalText('Domain id of the project.'),
  default_domain_name: optionalText('Domain name of user and project where theirs is not set.'),
  default_domain_id: optionalText('Domain id of user and project where theirs is not set.'),
  application_credential_id: optionalText('Id of the application credential.'),
  application_credential_name: optionalText(
    'Its name, where the id is not set; it needs the user too.',
  ),
  application_credential_secret: optionalText('Its secret.', { sensitive: 'whole' }),
  region_name: optionalText('Region of the endpoints.'),
  cafile: optionalText('File with the CA certificates to trust.'),
  insecure: flag(false, 'Do not verify certificates.'),
}

export const serviceUserOptions = {
  send_service_user_token: flag(false, "Whether the agent has a token to send with the user's."),
  ...loginOptions,
}

export const keystoneAuthtokenOptions = loginOptions
