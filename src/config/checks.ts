// What no single option shows to be wrong: rules between options, and between options and machine.

import { backupDriver } from './backup-driver.ts'
import { databaseFindings } from './database-checks.ts'
import type { Finding } from './finding.ts'
import type { Machine } from './machine.ts'
import { messageBusFindings } from './message-bus.ts'
import { modeFindings } from './modes.ts'
import type { Settings } from './schema.ts'
import { storeFindings } from './store-checks.ts'
import {
  insecureCautions,
  keystoneAddressFindings,
  serviceUserCautions,
  serviceUserFindings,
} from './trust-checks.ts'
import { unfollowedCautions } from './unfollowed.ts'
import { volumePathFindings } from './volume-paths.ts'

const agentSection = 'cinder_backup_agent'

/** The size of a block of the chosen store, and the option that says it. */
function blockSize({ DEFAULT: values }: Settings): number {
  return backupDriver(values.backup_driver)?.kind === 'posix'
    ? values.backup_sha_block_size_bytes
    : values.backup_swift_block_size
}

function agentFindings(settings: Settings): readonly Finding[] {
  const agent = settings.cinder_backup_agent
  const findings: Finding[] = []
  const complain = (option: keyof typeof agent, what: string) =>
    findings.push({ name: `${agentSection}.${option}`, what })

  if (!agent.state_dir.startsWith('/')) complain('state_dir', 'must be an absolute path')
  const chunkBytesMax = Math.floor(agent.memory_max / (2 * agent.workers))
  if (blockSize(settings) > chunkBytesMax) {
    const needed = blockSize(settings) * 2 * agent.workers
    complain('memory_max', `must hold two blocks for each worker: at least ${needed} bytes`)
  }
  for (const endpoint of agent.allowed_endpoints) {
    if (URL.parse(`http://${endpoint}/`)?.host === endpoint.toLowerCase()) continue
    complain('allowed_endpoints', `${endpoint} must be a host or host:port, without a scheme`)
  }
  if (agent.validate_tokens && settings.keystone_authtoken.auth_url === null) {
    complain('validate_tokens', 'needs [keystone_authtoken] auth_url; set it')
  }
  return findings
}

function serviceFindings({ DEFAULT: { host } }: Settings): readonly Finding[] {
  // A queue's name has 255 bytes at most, and cinder-backup_fanout_<32 hex> is around the host's.
  if (/^[\x21-\x7e]{1,200}$/.test(host)) return []
  return [{ name: 'DEFAULT.host', what: 'must be 1 to 200 characters without blanks' }]
}

export function findingsOf(settings: Settings, machine: Machine): readonly Finding[] {
  return [
    ...modeFindings(settings),
    ...databaseFindings(settings),
    ...serviceFindings(settings),
    ...serviceUserFindings(settings),
    ...keystoneAddressFindings(settings),
    ...messageBusFindings(settings),
    ...storeFindings(settings, machine),
    ...volumePathFindings(settings),
    ...agentFindings(settings),
  ]
}

/** What works, but not as it is written. */
export function cautionsOf(settings: Settings): readonly Finding[] {
  const { DEFAULT: values } = settings
  const cautions: Finding[] = [...serviceUserCautions(settings), ...insecureCautions(settings)]
  if (values.transport_url === 'rabbit://') {
    const what = 'is not set: the broker is looked for at localhost, as guest'
    cautions.push({ name: 'DEFAULT.transport_url', what })
  }
  if (values.service_down_time <= values.report_interval) {
    const what = `must be more than report_interval: ${serviceDownTime(values)} seconds is used`
    cautions.push({ name: 'DEFAULT.service_down_time', what })
  }
  const said = new Set(cautions.map(({ name }) => name))
  return [...cautions, ...unfollowedCautions(settings).filter(({ name }) => !said.has(name))]
}

/** Source: cinder/service.py, which corrects the option in the same way. */
export function serviceDownTime(values: Settings['DEFAULT']): number {
  const { service_down_time: downTime, report_interval: interval } = values
  return downTime > interval ? downTime : Math.floor(interval * 2.5)
}
