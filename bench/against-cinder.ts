// Our agent, through the bus and end to end, beside Debian's real cinder driver: the same data, the same
// real Swift, in turns. Prints medians and ratios; the figures of one machine at one time mean little
// without the other column. The driver's part has neither bus nor database, which favours it.
//
//   make bench              three rounds over 256 MiB
//   make bench ROUNDS=5 MIB=1024

import { randomBytes, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'

import type { BackupRecord } from '#src/domain/backup-record.ts'
import { type AgentProcess, agentHome, startAgent } from '../test/support/agent.ts'
import { aContext, aRecord } from '../test/support/builders.ts'
import { type CinderDriver, startCinderDriver } from '../test/support/cinder-driver.ts'
import { keystoneToken } from '../test/support/keystone.ts'
import { rabbitVhost } from '../test/support/rabbit-vhost.ts'
import { recordFor, type Scheduler, startScheduler } from '../test/support/scheduler.ts'
import { services } from '../test/support/services.ts'

const mebibyte = 2 ** 20
const rounds = Number(process.env['ROUNDS'] ?? 3)
const mebibytes = Number(process.env['MIB'] ?? 256)
const codecs = ['none', 'zstd', 'zlib'] as const

type Ended = Pick<AsyncDisposableStack, 'defer'>
type Sample = { readonly job: string; readonly cinderMs: number; readonly oursMs: number }

/** A disk as they are: 60 % files, 10 % noise, 30 % zeros. */
async function makeVolume(file: string): Promise<void> {
  const text = readFileSync(process.execPath)
  const volume = await open(file, 'wx')
  for (let index = 0; index < mebibytes; index += 1) {
    const share = (index * 7) % 10
    if (share >= 7) continue
    const from = (index * mebibyte) % (text.byteLength - mebibyte)
    const piece = share === 6 ? randomBytes(mebibyte) : text.subarray(from, from + mebibyte)
    await volume.write(piece, 0, mebibyte, index * mebibyte)
  }
  await volume.truncate(mebibytes * mebibyte)
  await volume.sync()
  await volume.close()
}

async function timed<T>(work: () => Promise<T>): Promise<[number, T]> {
  const startMs = performance.now()
  const result = await work()
  return [performance.now() - startMs, result]
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

type Bench = {
  readonly cinder: CinderDriver
  readonly scheduler: Scheduler
  readonly agent: AgentProcess
  readonly access: { readonly url: string; readonly token: string }
  readonly source: { readonly id: string; readonly file: string }
  readonly targetFile: string
  readonly targetId: string
  readonly projectId: string
}

/** One full backup and its restore, by cinder and then by us. */
async function round(bench: Bench, codec: string): Promise<readonly Sample[]> {
  const { cinder, scheduler, access, source, targetFile, targetId, projectId } = bench
  const container = `bench-${randomUUID()}`
  const store = { driver: 'swift', ...access } as const
  const options = { backup_compression_algorithm: codec }
  const size = Math.ceil(mebibytes / 1024)
  const theirs = aRecord({ volume_id: source.id, project_id: projectId, container, size })

  const [cinderBackupMs, made] = await timed(() =>
    cinder.backup({ store, options, chain: [theirs], file: source.file }),
  )
  const [cinderRestoreMs] = await timed(() =>
    cinder.restore({ store, options, chain: [made.record], file: targetFile }),
  )
  await cinder.remove({ store, options, chain: [made.record] })

  const context = aContext({ projectId, authToken: access.token })
  const ours = recordFor(source.id, context, { container, size })
  const [oursBackupMs] = await timed(() => ended(scheduler, 'create', ours))
  const record = scheduler.recordOf(ours.id)
  const [oursRestoreMs] = await timed(() =>
    ended(scheduler, 'restore', { ...record, status: 'restoring' }, { volume_id: targetId }),
  )
  await ended(scheduler, 'delete', record)
  return [
    { job: `full ${codec}`, cinderMs: cinderBackupMs, oursMs: oursBackupMs },
    { job: `restore ${codec}`, cinderMs: cinderRestoreMs, oursMs: oursRestoreMs },
  ]
}

async function ended(
  scheduler: Scheduler,
  operation: 'create' | 'restore' | 'delete',
  record: BackupRecord,
  extra = {},
): Promise<void> {
  const event = await scheduler.run(operation, record, extra)
  if (event.eventType === `backup.${operation}.end`) return
  throw new Error(`${operation}: ${event.payload['code']}: ${event.payload['message']}`)
}

async function benchCodec(codec: string, owner: Ended, folder: string): Promise<void> {
  const parts = {
    after: (end: () => unknown) => {
      owner.defer(async () => {
        await end()
      })
    },
  }
  const vhost = await rabbitVhost(parts)
  const user = await keystoneToken('demo')
  const [sourceId, targetId] = [randomUUID(), randomUUID()]
  const home = await agentHome(parts, vhost.transportUrl, {
    DEFAULT: {
      backup_driver: 'cinder.backup.drivers.swift.SwiftBackupDriver',
      backup_swift_url: `${services().swift.url}/v1/AUTH_`,
      backup_compression_algorithm: codec,
    },
    cinder_backup_agent: { volume_paths: path.join(folder, 'volume-{volume_id}') },
  })
  const file = path.join(folder, `volume-${sourceId}`)
  const targetFile = path.join(folder, `volume-${targetId}`)
  await makeVolume(file)
  const target = await open(targetFile, 'wx')
  await target.truncate(mebibytes * mebibyte)
  await target.close()
  const agent = await startAgent(parts, home)
  const context = aContext({ projectId: user.projectId, authToken: user.token })
  const scheduler = await startScheduler(parts, vhost.transportUrl, context)
  const cinder = startCinderDriver()
  owner.defer(() => Promise.resolve(cinder[Symbol.asyncDispose]()))

  const access = { url: user.swiftUrl, token: user.token }
  const { projectId } = user
  const source = { id: sourceId, file }
  const samples: Sample[] = []
  for (let index = 0; index < rounds; index += 1) {
    const bench = { cinder, scheduler, agent, access, source, targetFile, targetId, projectId }
    samples.push(...(await round(bench, codec)))
  }
  for (const job of new Set(samples.map((sample) => sample.job))) {
    const those = samples.filter((sample) => sample.job === job)
    const cinderMs = median(those.map((sample) => sample.cinderMs))
    const oursMs = median(those.map((sample) => sample.oursMs))
    row(job, seconds(cinderMs), seconds(oursMs), `${(cinderMs / oursMs).toFixed(2)}×`)
  }
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1]
  row(`  our peak RSS, ${codec}`, '', `${Math.round(Number(peak) / 1024)} MiB`, '')
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`

function row(...cells: readonly string[]): void {
  process.stdout.write(`${cells.map((cell) => cell.padEnd(22)).join('')}\n`)
}

const folder = await mkdtemp(path.join(tmpdir(), 'cba-bench-'))
row(`${mebibytes} MiB, n=${rounds}`, 'cinder 21.3.1', 'this agent', 'times faster')
try {
  for (const codec of codecs) {
    await using stack = new AsyncDisposableStack()
    await benchCodec(codec, stack, folder)
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
