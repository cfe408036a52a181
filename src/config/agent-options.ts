// Section [cinder_backup_agent]: what only this agent knows.

import { bytes, choice, flag, integer, list, optionalText, text } from './formats.ts'

const mebibyte = 2 ** 20

export const agentOptions = {
  records: choice(
    'auto',
    ['auto', 'message', 'database'],
    'Where backup and volume records live. message: the request carries them, changes leave as ' +
      "notifications, the journal remembers. database: Cinder's SQL database, in the place of " +
      'cinder-backup. auto: database where the files set [database] connection, else message.',
  ),
  volumes: choice(
    'auto',
    ['auto', 'path', 'cinder'],
    'How a volume becomes a device. path: the templates below; with records=database only volumes that are not ' +
      'attached are backed up so. cinder: asks cinder-volume, and attaches them to this host. ' +
      'auto: cinder with records=database, else path.',
  ),
  attach_socket: text(
    '/run/cinder-backup-agent-attach/socket',
    'With volumes=cinder: where cinder-backup-agent-attach.service listens, which attaches all ' +
      'but what is local to this host.',
  ),
  volume_paths: list(
    ['/dev/cinder-volumes/volume-{volume_id}'],
    'Templates of the path of a volume, tried in order.',
  ),
  snapshot_paths: list(
    ['/dev/cinder-volumes/_snapshot-{snapshot_id}'],
    'Templates of the path of a snapshot, tried in order; {volume_id} may stand in them too.',
  ),
  volume_roots: list(
    [],
    'The folders that a device must lie in. A path that leads outside of them is refused.',
    { defaultText: 'the fixed parents of the templates' },
  ),
  state_dir: text(
    '/var/lib/cinder-backup-agent',
    'Folder of the journal: what this agent has promised and how far it got. Locked while it runs.',
  ),
  uploads_max: integer(4, 'Whole chunks in flight for one backup.', { minimum: 1, maximum: 32 }),
  jobs_max: integer(0, 'Operations at once.', {
    minimum: 0,
    defaultText: 'backup_max_operations',
  }),
  memory_max: bytes(0, 'Chunk buffers over all operations; work waits rather than exceeds it.', {
    minimum: 16 * mebibyte,
    defaultText: "the smaller of 512 MiB and 40 % of the cgroup's limit",
  }),
  workers: integer(0, 'Threads that hash and compress.', {
    minimum: 1,
    maximum: 1024,
    defaultText: 'the number of cores',
  }),
  zero_chunks: choice(
    'compat',
    ['compat', 'sparse'],
    'compat: a chunk of zeros is written as one small constant object. sparse: it is left out ' +
      '(restores right with stock Cinder only onto new volumes).',
  ),
  compression_effort: choice(
    'compatible',
    ['compatible', 'fast'],
    'compatible: objects as small as those of Cinder. fast: zlib some 8 % larger, several times ' +
      'faster.',
  ),
  retry_budget: integer(900, 'How long one object may be retried in all.', {
    minimum: 0,
    unit: 'seconds',
  }),
  verify_upload: choice(
    'auto',
    ['auto', 'on', 'off'],
    'Decompress and compare before an object is sent. auto: where it costs at most 10 %, which is nowhere.',
  ),
  bandwidth_max: bytes(
    0,
    'Stored bytes both ways, over all operations; 0 is no limit. SIGHUP changes it at once.',
    { unit: 'bytes per second' },
  ),
  requests_max: integer(0, 'Requests to the store; 0 is no limit. SIGHUP changes it at once.', {
    minimum: 0,
    unit: 'requests per second',
  }),
  declare: choice(
    'adopt',
    ['adopt', 'strict'],
    'What to do about a queue or exchange that exists with other flags: adopt it, or stop.',
  ),
  advertise_rpc: choice(
    '2.4',
    ['2.3', '2.4'],
    'rpc_current_version in the services row; 2.3 beside agents of the Zed release.',
  ),
  validate_tokens: flag(false, 'Ask Keystone whether a token is good before it is used.'),
  allowed_endpoints: list(
    [],
    "Hosts (host or host:port) that the catalogue of a request may name as the store's. Empty: " +
      'the catalogue is trusted, as in Cinder.',
  ),
  application_credential_id: optionalText(
    'Id of an application credential, by which a single_user of version 3 logs in instead of by ' +
      'backup_swift_key.',
  ),
  application_credential_name: optionalText(
    'Its name, where the id is not set: one of backup_swift_user in backup_swift_user_domain.',
  ),
  application_credential_secret: optionalText('Its secret.', { sensitive: 'whole' }),
  device_timeout: integer(
    3600,
    'How long create_backup waits for continue_backup, which comes after a copy of the volume where the backend makes one.',
    { minimum: 1, unit: 'seconds' },
  ),
  gone_host_timeout: integer(
    86_400,
    'What another host has in hand ends in error when its cinder-backup was not heard of for so long, ' +
      'an hour at least. An agent is not heard of while its store is away: longer than that may take. 0: never.',
    { minimum: 0, maximum: 3_153_600_000, unit: 'seconds' },
  ),
  message_max: bytes(4 * mebibyte, 'Larger messages are rejected unread.', { minimum: 1024 }),
  health_listen: optionalText('Address of the health endpoint, host:port. Not built yet.', {
    defaultText: 'off',
  }),
}
