import { backupDriver, driverChoices } from './backup-driver.ts'
import type { Finding } from './finding.ts'
import type { Machine } from './machine.ts'
import type { Settings } from './schema.ts'

type DefaultSettings = Settings['DEFAULT']
type Complain = (option: keyof DefaultSettings, what: string) => void

function isHttpUrl(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && (url.protocol === 'http:' || url.protocol === 'https:')
}

function isCatalogInfo(text: string): boolean {
  const fields = text.split(':')
  return fields.length === 3 && fields.every((field) => field.trim() !== '')
}

function checkSizes(
  values: DefaultSettings,
  object: 'backup_swift_object_size' | 'backup_file_size',
  block: 'backup_swift_block_size' | 'backup_sha_block_size_bytes',
  complain: Complain,
): void {
  const remainder = values[object] % values[block]
  if (remainder === 0) return
  const right = values[object] - remainder || values[block]
  complain(object, `must be a multiple of ${block}, ${values[block]}: ${right} would be`)
}

function checkPassword(values: DefaultSettings, complain: Complain): void {
  const user = values.backup_swift_user
  if (user === null) {
    complain('backup_swift_user', 'is needed by backup_swift_auth = single_user; set it')
  }
  if (values.backup_swift_key === null) {
    complain('backup_swift_key', 'is needed by backup_swift_auth = single_user; set it')
  }
  const project = values.backup_swift_project ?? values.backup_swift_tenant
  const isScoped = project !== null || user?.includes(':') === true
  if (values.backup_swift_auth_version === '3' && !isScoped) {
    complain('backup_swift_project', 'is needed by backup_swift_auth_version = 3; set it')
  }
}

/** It has its user and project in itself; only its name means nothing without the user. */
function checkApplicationCredential(
  values: DefaultSettings,
  agent: Settings['cinder_backup_agent'],
  complain: Complain,
): void {
  if (values.backup_swift_auth_version === '1') {
    complain('backup_swift_auth_version', 'must be 3 for an application credential: write 3')
  }
  if (agent.application_credential_id !== null) return
  if (agent.application_credential_name !== null && values.backup_swift_user !== null) return
  complain(
    'backup_swift_user',
    'is needed with application_credential_name; set both, or application_credential_id',
  )
}

function checkSingleUser(
  { DEFAULT: values, cinder_backup_agent: agent }: Settings,
  complain: Complain,
): void {
  const version = values.backup_swift_auth_version
  const isApplication = agent.application_credential_secret !== null
  if (isApplication) checkApplicationCredential(values, agent, complain)
  else checkPassword(values, complain)
  if (version === '2') {
    complain('backup_swift_auth_version', 'cannot be 2: Keystone no longer has its v2 API; write 3')
  } else if (version !== '1' && version !== '3') {
    complain('backup_swift_auth_version', `must be 1 or 3: value was ${JSON.stringify(version)}`)
  }
  const url = values.backup_swift_auth_url
  if (url === null && version === '1') {
    complain(
      'backup_swift_auth_url',
      'is needed by backup_swift_auth_version = 1; write http://proxy:8080/auth/v1.0',
    )
  } else if (url === null && !isCatalogInfo(values.keystone_catalog_info)) {
    complain('keystone_catalog_info', 'must have three fields: identity:Identity Service:publicURL')
  }
}

function checkSwift(settings: Settings, machine: Machine, complain: Complain): void {
  const values = settings.DEFAULT
  checkSizes(values, 'backup_swift_object_size', 'backup_swift_block_size', complain)
  for (const option of ['backup_swift_url', 'backup_swift_auth_url'] as const) {
    const url = values[option]
    if (url !== null && !isHttpUrl(url)) complain(option, 'must be an http or https URL')
  }
  const caFile = values.backup_swift_ca_cert_file
  if (caFile !== null && !machine.canRead(caFile)) {
    complain('backup_swift_ca_cert_file', `${caFile} cannot be read`)
  }
  if (values.backup_swift_auth === 'single_user') {
    checkSingleUser(settings, complain)
  } else if (values.backup_swift_url === null && !isCatalogInfo(values.swift_catalog_info)) {
    complain('swift_catalog_info', 'must have three fields: object-store:swift:publicURL')
  }
}

/** Rules about the store that is chosen; options of the others are nobody's business. */
export function storeFindings(settings: Settings, machine: Machine): readonly Finding[] {
  const values = settings.DEFAULT
  const findings: Finding[] = []
  const complain: Complain = (option, what) => findings.push({ name: `DEFAULT.${option}`, what })
  const driver = backupDriver(values.backup_driver)

  if (driver === null) {
    complain('backup_driver', `${values.backup_driver} is not known; write ${driverChoices}`)
  } else if (driver.kind === 'swift') {
    checkSwift(settings, machine, complain)
  } else {
    checkSizes(values, 'backup_file_size', 'backup_sha_block_size_bytes', complain)
    if (!values.backup_posix_path.startsWith('/')) {
      complain('backup_posix_path', 'must be an absolute path')
    }
  }
  const isBzip2 = values.backup_compression_algorithm.startsWith('bz')
  if (
    isBzip2 &&
    !machine.hasNativeBz2 &&
    !machine.hasProgram('bzip2') &&
    !machine.hasProgram('lbzip2')
  ) {
    complain(
      'backup_compression_algorithm',
      'needs the program bzip2 or lbzip2 on the PATH; install one, or write zlib or zstd',
    )
  }
  return findings
}
