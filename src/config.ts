// From files and environment to the one typed object that agent.ts builds from.

import { backupDriver } from './config/backup-driver.ts'
import { cautionsOf, findingsOf, serviceDownTime } from './config/checks.ts'
import { type Finding, located } from './config/finding.ts'
import { logOptions } from './config/log-options.ts'
import { type Machine, thisMachine } from './config/machine.ts'
import { notificationDrivers, rabbitOptions } from './config/message-bus.ts'
import { modesOf } from './config/modes.ts'
import type { Problem } from './config/oslo-ini.ts'
import type { Sources } from './config/read-files.ts'
import { type Reading, readSettings } from './config/read-settings.ts'
import type { Settings } from './config/schema.ts'
import { maskPasswords, secretsOf, withoutSecrets } from './config/secret-values.ts'
import { volumeRoots } from './config/volume-paths.ts'
import { codecOf } from './domain/compression.ts'
import { AgentError } from './domain/errors.ts'

type Login = Settings['keystone_authtoken']

/** Login of a service at Keystone; null where no URL is set. */
function login(values: Login) {
  if (values.auth_url === null) return null
  return {
    authUrl: values.auth_url,
    authType: values.auth_type,
    userId: values.user_id,
    userName: values.username,
    password: values.password,
    userDomainName: values.user_domain_name ?? values.default_domain_name,
    userDomainId: values.user_domain_id ?? values.default_domain_id,
    projectId: values.project_id,
    projectName: values.project_name,
    projectDomainName: values.project_domain_name ?? values.default_domain_name,
    projectDomainId: values.project_domain_id ?? values.default_domain_id,
    applicationCredentialId: values.application_credential_id,
    applicationCredentialName: values.application_credential_name,
    applicationCredentialSecret: values.application_credential_secret,
    regionName: values.region_name,
    caFile: values.cafile,
    isInsecure: values.insecure,
  }
}

/** What stands for the password of a single_user; null where nothing does. */
function applicationCredential(agent: Settings['cinder_backup_agent']) {
  const secret = agent.application_credential_secret
  if (secret === null) return null
  return { id: agent.application_credential_id, name: agent.application_credential_name, secret }
}

function swift({ DEFAULT: values, cinder_backup_agent: agent }: Settings) {
  return {
    auth: values.backup_swift_auth,
    /** The store in front of the project's id; null: from the catalogue. */
    url: values.backup_swift_url,
    catalogInfo: values.swift_catalog_info,
    regionName: values.backup_swift_region_name,
    container: values.backup_swift_container,
    objectSizeBytes: values.backup_swift_object_size,
    blockSizeBytes: values.backup_swift_block_size,
    storagePolicy: values.backup_swift_create_storage_policy,
    isProgressByTime: values.backup_swift_enable_progress_timer,
    caFile: values.backup_swift_ca_cert_file,
    isInsecure: values.backup_swift_auth_insecure,
    sendsServiceToken: values.backup_swift_service_auth,
    singleUser: {
      authVersion: values.backup_swift_auth_version === '3' ? 3 : 1,
      authUrl: values.backup_swift_auth_url,
      keystoneCatalogInfo: values.keystone_catalog_info,
      userName: values.backup_swift_user ?? '',
      password: values.backup_swift_key ?? '',
      userDomainName: values.backup_swift_user_domain,
      projectName: values.backup_swift_project ?? values.backup_swift_tenant,
      projectDomainName: values.backup_swift_project_domain,
      applicationCredential: applicationCredential(agent),
    },
  } as const
}

function backups(settings: Settings) {
  const { DEFAULT: values, cinder_backup_agent: agent } = settings
  return {
    compression: codecOf(values.backup_compression_algorithm),
    compressionEffort: agent.compression_effort,
    zeroChunks: agent.zero_chunks,
    verifyUpload: agent.verify_upload,
    createContainers: values.backup_create_containers,
    metadataVersion: values.backup_metadata_version,
    chunksPerProgress: values.backup_object_number_per_notification,
    progressIntervalMs: values.backup_timer_interval * 1000,
  }
}

function limits({ DEFAULT: values, cinder_backup_agent: agent }: Settings) {
  return {
    /** Number.MAX_SAFE_INTEGER where there is no limit. */
    jobsMax: agent.jobs_max || Number.MAX_SAFE_INTEGER,
    uploadsMax: agent.uploads_max,
    memoryBytesMax: agent.memory_max,
    workers: agent.workers,
    messageBytesMax: agent.message_max,
    /** 0: no limit, as in the next. */
    bytesPerSecondMax: agent.bandwidth_max,
    requestsPerSecondMax: agent.requests_max,
    deviceWaitMs: agent.device_timeout * 1000,
    /** Infinite: no host is ever taken for gone. */
    goneHostMs: goneHostMs(agent.gone_host_timeout),
    responseWaitMs: values.rpc_response_timeout * 1000,
  }
}

/** An agent that is only restarted, or has no store for a while, must not be taken for gone. */
function goneHostMs(seconds: number): number {
  return seconds === 0 ? Number.POSITIVE_INFINITY : Math.max(seconds, 3600) * 1000
}

/** Cinder's database; null where none is configured. */
function database({ database: values, DEFAULT: cinder }: Settings) {
  if (values.connection === null) return null
  const { max_pool_size: connectionsMax, connection_recycle_time: recycleSeconds } = values
  return {
    url: values.connection,
    parameters: values.connection_parameters,
    wsrepSyncWait:
      values.mysql_wsrep_sync_wait === null ? null : Number(values.mysql_wsrep_sync_wait),
    /** Number.MAX_SAFE_INTEGER where there is no limit, as in the next. */
    connectionsMax: connectionsMax > 0 ? connectionsMax : Number.MAX_SAFE_INTEGER,
    recycleMs: recycleSeconds >= 0 ? recycleSeconds * 1000 : Number.MAX_SAFE_INTEGER,
    retryMsMax: Math.max(1, values.retry_interval) * 1000,
    messageSeconds: cinder.message_ttl,
    reservationSeconds: cinder.reservation_expire,
  }
}

function build(settings: Settings, secrets: readonly string[], machine: Machine) {
  const { DEFAULT: values, cinder_backup_agent: agent } = settings
  const notifications = settings.oslo_messaging_notifications
  const transportUrl = values.transport_url
  const modes = modesOf(settings)
  return {
    host: values.host,
    address: values.my_ip,
    availabilityZone: values.storage_availability_zone,
    stateDir: agent.state_dir,
    records: modes.records,
    database: modes.records === 'database' ? database(settings) : null,
    driver: backupDriver(values.backup_driver) ?? { kind: 'swift', classPath: '' },
    transport: {
      url: transportUrl,
      controlExchange: values.control_exchange,
      isPingEnabled: values.rpc_ping_enabled,
    },
    rabbit: rabbitOptions(settings),
    declare: agent.declare,
    notifications: {
      drivers: notificationDrivers(settings),
      /** No driver is configured, and messagingv2 stands in (D25). */
      isDriverAssumed: modes.records === 'message' && notifications.driver.length === 0,
      transportUrl: notifications.transport_url ?? transportUrl,
      topics: notifications.topics,
      /** Of progress only; -1 is for ever. */
      triesMax: notifications.retry,
    },
    volumes: {
      kind: modes.volumes,
      volumePaths: agent.volume_paths,
      snapshotPaths: agent.snapshot_paths,
      volumeRoots: volumeRoots(agent),
    },
    attach: {
      socket: agent.attach_socket,
      isMultipath: values.use_multipath_for_image_xfer,
      scanTries: values.num_volume_device_scan_tries,
    },
    swift: swift(settings),
    posix: {
      path: values.backup_posix_path,
      container: values.backup_container,
      objectSizeBytes: values.backup_file_size,
      blockSizeBytes: values.backup_sha_block_size_bytes,
      isProgressByTime: values.backup_enable_progress_timer,
    },
    backups: backups(settings),
    retry: {
      attemptsMax: values.backup_swift_retry_attempts + 1,
      backoffMs: values.backup_swift_retry_backoff * 1000,
      budgetMs: agent.retry_budget * 1000,
    },
    limits: limits(settings),
    identity: {
      validateTokens: agent.validate_tokens,
      allowedEndpoints: agent.allowed_endpoints,
      keystone: login(settings.keystone_authtoken),
      serviceUser: settings.service_user.send_service_user_token
        ? login(settings.service_user)
        : null,
    },
    service: {
      advertisedRpcVersion: agent.advertise_rpc,
      isNewEnabled: values.enable_new_services,
      reportIntervalMs: values.report_interval * 1000,
      downAfterMs: serviceDownTime(values) * 1000,
      capabilitiesIntervalMs: values.backup_driver_stats_polling_interval * 1000,
      healthListen: agent.health_listen,
    },
    log: logOptions(values, secrets, machine),
  } as const
}

type Frozen<T> = { readonly [K in keyof T]: T[K] extends object ? Frozen<T[K]> : T[K] }

/** Everything that agent.ts needs to know, with units in the names. Frozen. */
export type Config = Frozen<ReturnType<typeof build>>

function frozen<T extends object>(value: T): Frozen<T> {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) frozen(part)
  }
  return Object.freeze(value) as Frozen<T>
}

export type Loaded = {
  readonly config: Config
  readonly warnings: readonly Problem[]
  /** By `section.option`: `default`, `file:line`, or the variable's name. */
  readonly origins: Reading['origins']
  /** Every option as it is set. */
  readonly settings: Settings
}

/** What is set and what is wrong with it; never throws. */
export function inspectConfig(
  sources: Sources,
  machine: Machine = thisMachine(sources.env),
): Reading {
  const reading = readSettings(sources, machine)
  const { settings, origins } = reading
  const secrets = secretsOf(settings, reading.referredSecrets)
  const locate = ({ name, what }: Finding) =>
    located({ name, what: withoutSecrets(what, secrets) }, origins)
  return {
    ...reading,
    problems: told([...reading.problems, ...findingsOf(settings, machine).map(locate)]),
    warnings: told([...reading.warnings, ...cautionsOf(settings).map(locate)]),
  }
}

// What our own advice says is no password of anybody's.
const ourExample = 'user:password@host'

/** In the order of their places, without the passwords that stand in what they repeat. */
function told(problems: readonly Problem[]): readonly Problem[] {
  const mask = (what: string) => what.split(ourExample).map(maskPasswords).join(ourExample)
  const harmless = problems.map((problem) => ({ ...problem, what: mask(problem.what) }))
  return harmless.toSorted((a, b) => a.where.localeCompare(b.where, 'en', { numeric: true }))
}

/** `file:line: [section] option: what is wrong and what would be right`. */
export function problemText({ where, option, what }: Problem): string {
  return option === null ? `${where}: ${what}` : `${where}: ${option}: ${what}`
}

/**
 * Reads files, folders and environment. Throws one CONFIGURATION_INVALID that lists every bad
 * setting; its context has them as `problems`, one text each.
 */
export function loadConfig(sources: Sources): Loaded {
  const machine = thisMachine(sources.env)
  const { settings, origins, problems, warnings, referredSecrets } = inspectConfig(sources, machine)
  const secrets = secretsOf(settings, referredSecrets)
  if (problems.length > 0) {
    const texts = problems.map(problemText)
    const message = `the configuration cannot be used: ${texts.join('; ')}`
    throw new AgentError('CONFIGURATION_INVALID', message, { problems: texts })
  }
  return { config: frozen(build(settings, secrets, machine)), warnings, origins, settings }
}
