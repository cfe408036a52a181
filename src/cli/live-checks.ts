// What `config check --live` tries: whatever the agent needs of the world, without changing anything in it.

import { accessSync, constants } from 'node:fs'
import { access, readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'

import { unitAttach } from '../adapters/attach/unit-attach.ts'
import { identityHttp } from '../adapters/identity/identity-http.ts'
import { checkKeystone } from '../adapters/identity/keystone-version.ts'
import { connectionName, openConnection } from '../adapters/rpc/broker-socket.ts'
import { parseTransportUrl } from '../adapters/rpc/transport-url.ts'
import { withoutSecrets } from '../config/secret-values.ts'
import type { Config } from '../config.ts'
import { AgentError, type ErrorCode, toAgentError } from '../domain/errors.ts'
import { administratorContext } from '../domain/request-context.ts'
import { storeRates } from '../lane-stores.ts'
import { orAborted } from '../lib/aborted.ts'
import { delay } from '../lib/clock.ts'
import { openStores } from '../open-stores.ts'
import type { Log } from '../ports/log.ts'

/** What one check found; `code` says why it failed, and is null otherwise. */
export type LiveResult = {
  readonly check: string
  readonly outcome: 'ok' | 'not tried' | 'failed'
  readonly code: ErrorCode | null
  /** What was reached, or why not. */
  readonly what: string
}

type Check = {
  readonly name: string
  /** How no answer in time is told. */
  readonly late: ErrorCode
  /** Resolves to what was reached; rejects with why not, or with why nothing was tried. */
  readonly run: (signal: AbortSignal) => Promise<string>
}

const checkMs = 5_000

/** There is nothing that could be tried. */
class NotTried extends Error {}

const silent = () => {}
const noLog: Log = {
  debug: silent,
  info: silent,
  warn: silent,
  error: silent,
  child: () => noLog,
  named: () => noLog,
}

/** Tries everything side by side, five seconds each; in the order in which the agent meets them. */
export function liveChecks(config: Config, ms = checkMs): Promise<readonly LiveResult[]> {
  const checks = [
    stateCheck(config),
    ...brokerChecks(config),
    ...keystoneChecks(config),
    storeCheck(config),
    ...attachChecks(config),
    ...config.volumes.volumeRoots.map(rootCheck),
  ]
  return Promise.all(checks.map((check) => tried(check, config.log.secrets, ms)))
}

async function tried(
  { name, late, run }: Check,
  secrets: readonly string[],
  ms: number,
): Promise<LiveResult> {
  const stop = new AbortController()
  const over = new AbortController()
  delay(ms, over.signal).then(
    () => stop.abort(new AgentError(late, `no answer in ${ms / 1000} s`)),
    () => {}, // The check has ended.
  )
  try {
    const what = await orAborted(run(stop.signal), stop.signal)
    return { check: name, outcome: 'ok', code: null, what: withoutSecrets(what, secrets) }
  } catch (error) {
    if (error instanceof NotTried) {
      return { check: name, outcome: 'not tried', code: null, what: error.message }
    }
    const { code, message } = toAgentError(error)
    return { check: name, outcome: 'failed', code, what: withoutSecrets(message, secrets) }
  } finally {
    over.abort()
  }
}

function brokerChecks({ transport, notifications, rabbit }: Config): readonly Check[] {
  const urls = [...new Set([transport.url, notifications.transportUrl])]
  return urls.flatMap((url) => {
    const parsed = parseTransportUrl(url, rabbit)
    return parsed.hosts.map((host) => ({
      name: `rabbitmq ${host.hostname}:${host.port}`,
      late: 'BROKER_UNAVAILABLE' as const,
      run: async (signal: AbortSignal) => {
        const connection = await openConnection(parsed, host, connectionName('check'), signal)
        await connection.close()
        return `user ${host.username} may use the virtual host ${parsed.virtualHost}`
      },
    }))
  })
}

/** Keystone as far as the store's check does not meet it: it is asked for its version. */
function keystoneChecks({ driver, identity, swift }: Config): readonly Check[] {
  const { keystone, serviceUser, validateTokens } = identity
  const needed = [
    ...(keystone !== null && validateTokens ? [keystone] : []),
    ...(serviceUser !== null && swift.sendsServiceToken ? [serviceUser] : []),
  ]
  if (driver.kind !== 'swift') return []
  const byUrl = new Map(needed.map((login) => [login.authUrl, login]))
  return [...byUrl].map(([url, { caFile, isInsecure }]) => ({
    name: `keystone ${url}`,
    late: 'IDENTITY_UNAVAILABLE',
    run: async (signal) => {
      const trust = { caFile: caFile ?? swift.caFile, insecure: isInsecure }
      await checkKeystone(url, identityHttp({ ...trust, requestMs: checkMs }), signal)
      return 'answers'
    },
  }))
}

function storeCheck(config: Config): Check {
  const { driver, posix, swift } = config
  if (driver.kind === 'posix') {
    return {
      name: `store ${posix.path}`,
      late: 'STORE_UNAVAILABLE',
      run: () => folderFor(posix.path, 'STORE_UNAVAILABLE', 'backup_posix_path'),
    }
  }
  return {
    name: `swift ${swift.auth === 'single_user' ? `as ${swift.singleUser.userName}` : (swift.url ?? '')}`.trim(),
    late: 'STORE_UNAVAILABLE',
    run: async (signal) => {
      await using stores = openStores(config, storeRates(config), noLog, silent)
      if (swift.auth === 'single_user' && swift.singleUser.authUrl !== null) {
        const store = stores.storeFor(administratorContext('req-check'), null)
        await store.listPage(swift.container, '', '', signal)
        return `logged in, container ${swift.container} may be read or is not there yet`
      }
      if (stores.probe === null || swift.url === null) {
        throw new NotTried('its address comes with each request')
      }
      await stores.probe(signal)
      return 'answers; whose token it takes shows with the first request'
    },
  }
}

function stateCheck({ stateDir }: Config): Check {
  return {
    name: `state_dir ${stateDir}`,
    late: 'JOURNAL_UNAVAILABLE',
    run: () => folderFor(stateDir, 'JOURNAL_UNAVAILABLE', 'state_dir'),
  }
}

/** A folder that is there and may be written, or may be made. */
async function folderFor(folder: string, code: ErrorCode, option: string): Promise<string> {
  const user = process.getuid?.() ?? 'unknown'
  try {
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK)
    if ((await stat(folder)).isDirectory()) return `user ${user} may write it`
    throw new AgentError(code, `is no folder; set ${option} to one`)
  } catch (error) {
    if (error instanceof AgentError) throw error
    const reason = (error as NodeJS.ErrnoException).code
    if (reason === 'ENOENT' && mayBeMade(folder)) return 'not there yet; it will be made'
    throw new AgentError(code, `user ${user} cannot write it: ${reason}; check its owner and mode`)
  }
}

/** Whether the nearest folder above that exists lets us make those below. */
function mayBeMade(folder: string): boolean {
  const above = path.dirname(folder)
  try {
    accessSync(above, constants.W_OK | constants.X_OK)
    return true
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    return isMissing && above !== folder && mayBeMade(above)
  }
}

/** Whether volumes that are not local to this host can be attached to it. */
function attachChecks({ volumes, attach, address }: Config): readonly Check[] {
  if (volumes.kind !== 'cinder') return []
  const run = async (signal: AbortSignal) => {
    const connector = await unitAttach({ ...attach, address }).connector(signal)
    if (connector === null) {
      throw new NotTried('cinder-backup-agent-attach does not run: only local volumes are attached')
    }
    return `os-brick answers; initiator ${connector['initiator'] ?? 'none'}`
  }
  return [{ name: `attach ${attach.socket}`, late: 'ATTACH_FAILED', run }]
}

const readAndWrite = constants.R_OK | constants.W_OK

/** Whether devices can be found in the folder, and the first of them be opened both ways. */
function rootCheck(root: string): Check {
  const user = process.getuid?.() ?? 'unknown'
  return {
    name: `devices ${root}`,
    late: 'VOLUME_READ_FAILED',
    run: async () => {
      const names = await readdir(root).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') {
          const what =
            'is no folder; set volume_paths or volume_roots (LVM makes it with its first volume)'
          throw new AgentError('CONFIGURATION_INVALID', what)
        }
        throw new AgentError('VOLUME_READ_FAILED', `user ${user} cannot list it: ${error.code}`)
      })
      for (const name of names.toSorted()) {
        const device = path.join(root, name)
        const kind = await stat(device).catch(() => null)
        if (kind === null || !(kind.isBlockDevice() || kind.isFile())) continue
        try {
          await access(device, readAndWrite)
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException
          const what = `user ${user} cannot read and write ${name}: ${code}; the group disk may`
          throw new AgentError('VOLUME_READ_FAILED', what)
        }
        return `user ${user} may read and write ${name}`
      }
      return 'may be listed; there is no device in it yet'
    },
  }
}
