import { randomUUID } from 'node:crypto'
import fc from 'fast-check'

import type { Incoming } from '#src/adapters/rpc/request-intake.ts'
import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import {
  type BackupRecord,
  type BackupWithParents,
  backupStatuses,
} from '#src/domain/backup-record.ts'
import type { Json, JsonObject } from '#src/domain/json.ts'
import { type GoldenChain, goldenChain } from './golden.ts'
import {
  type ByteChange,
  byteChange,
  type Change,
  changed,
  changedBytes,
  changeOf,
  textOf,
} from './hostile-json.ts'
import { wireSample } from './wire-samples.ts'

export const secretCanary = 'gAAAAAB-canary-'

/** A message as a stranger made it of a real one. */
export type HostileMessage = {
  readonly sample: number
  readonly ids: readonly string[]
  readonly changes: readonly Change[]
  readonly bytes: readonly ByteChange[]
  readonly isBare: boolean
  readonly properties: Incoming['properties']
  readonly source: Incoming['source']
  readonly redelivered: boolean
}

const samples = [
  ...['rpc-cast-create_backup', 'rpc-cast-create_backup-changes', 'rpc-cast-restore_backup'],
  ...['rpc-cast-delete_backup', 'rpc-call-check_support_to_force_delete', 'rpc-call-export_record'],
  ...['rpc-call-ping', 'rpc-call-monitored', 'rpc-fanout-publish_service_capabilities'],
].map((name) => wireSample(name).message_decoded)

const chains = (['none', 'zlib'] as const).map(goldenChain)

/** What is there to be asked for, and what must be left alone. */
export type Targets = {
  readonly volumes: readonly string[]
  /** Volumes whose path leads where no volume may lie. */
  readonly traps: readonly string[]
  /** A backup of another project, of which nobody may have anything. */
  readonly victim: BackupRecord
}

/** Cinder's own backups are asked for as Cinder's services ask. */
function goldenRequest(chain: GoldenChain, link: number, operation: string, target: string) {
  const [sample] = samples
  const record = (index: number): BackupRecord => {
    const { row } = chain.backups[index] ?? chain.backups[0]
    const status = index === link && operation === 'restore' ? 'restoring' : 'available'
    return { ...row, status, project_id: String(sample?.['_context_project_id']) }
  }
  const nest = (index: number): BackupWithParents => ({
    record: record(index),
    parent: index === 0 ? null : nest(index - 1),
  })
  const backup = backupToPrimitive(nest(link))
  const more = operation === 'restore' ? { volume_id: target } : {}
  return { ...sample, method: `${operation}_backup`, args: { backup, ...more } }
}

function goodMessage(
  sample: number,
  [first = '', second = '']: readonly string[],
  { volumes }: Pick<Targets, 'volumes'>,
): JsonObject {
  const volume = volumes[sample % volumes.length] ?? ''
  const kinds = samples.length + 4 * chains.length
  const kind = sample % kinds
  const plain = samples[kind]
  const isDelete = (kind - samples.length) % 4 === 3
  const chain = chains[Math.floor((kind - samples.length) / 4)]
  const message: JsonObject =
    plain ??
    goldenRequest(chain ?? goldenChain('none'), sample % 3, isDelete ? 'delete' : 'restore', volume)
  const text = JSON.stringify(message)
    .replaceAll('6c9b1c1a-6d24-4d4c-9b7a-0a1b2c3d4e5f', first)
    .replaceAll('b1f0c0de-1111-4222-8333-444455556666', volume)
    .replaceAll('c2d3e4f5-aaaa-4bbb-8ccc-ddddeeeeffff', volume)
    .replaceAll(/"gAAAAAB[^"]*"/g, `"${secretCanary}${first}"`)
  return { ...JSON.parse(text), _unique_id: second.replaceAll('-', '') }
}

/** Values that mean something to the agent, in places where they do not belong. */
function knownValues({ volumes, traps, victim }: Targets): fc.Arbitrary<Json> {
  const records = [victim, ...chains.flatMap(({ backups }) => backups.map(({ row }) => row))]
  const texts = records.flatMap(({ id, volume_id, service_metadata, container, project_id }) => [
    ...[id, volume_id, container, project_id, service_metadata],
    `${service_metadata}/../..`,
    `volume_${volume_id}`,
    `volume_${volume_id}/../${victim.service_metadata}_${id}`,
  ])
  return fc.constantFrom<Json>(
    ...[...texts, ...volumes, ...traps, ...backupStatuses],
    ...['create_backup', 'restore_backup', 'delete_backup', 'oslo_rpc_server_ping', '__class__'],
    ...['1.0', '2.0', '2.4', '2.99', '3.0', '2', 'v2', '2.0.0', '1.7', '-1.0', '2.4294967296'],
    ...['a token\r\nX-Evil: 1', 'Backup', 'BackupImport', 'cinder', 'messagingv2'],
    { version: 2, 'volume-base-metadata': { provider_auth: 'CHAP u secret-canary' } },
    backupToPrimitive({ record: victim, parent: null }),
  )
}

const oddProperties = fc.constantFrom<Incoming['properties']>(
  ...Array.from({ length: 24 }, () => ({})),
  { contentType: 'application/json', contentEncoding: 'utf-8', headers: {} },
  { contentType: 'application/json; charset=utf-8', replyTo: 'reply_nobody', correlationId: 'c' },
  { contentType: 'application/x-python-serialize' },
  { contentType: 'text/plain\r\nX: y', contentEncoding: 'binary' },
  { headers: { compression: 'application/x-gzip' }, replyTo: '../%2e' },
  { contentType: 7, contentEncoding: {}, headers: 'none', replyTo: [], correlationId: -1 },
)

export function hostileMessage(targets: Targets): fc.Arbitrary<HostileMessage> {
  const change = changeOf(knownValues(targets))
  return fc.record({
    sample: fc.nat(),
    ids: fc.tuple(fc.uuid(), fc.uuid()),
    changes: fc.oneof(
      { weight: 6, arbitrary: fc.array(change, { minLength: 1, maxLength: 3 }) },
      { weight: 1, arbitrary: fc.array(change, { minLength: 4, maxLength: 20 }) },
      { weight: 2, arbitrary: fc.constant([]) },
    ),
    bytes: fc.oneof(
      { weight: 5, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(byteChange, { minLength: 1, maxLength: 4 }) },
    ),
    isBare: fc.boolean(),
    properties: oddProperties,
    source: fc.constantFrom('topic', 'server', 'fanout'),
    redelivered: fc.boolean(),
  })
}

/** The delivery that the message makes. */
export function deliveryOf(message: HostileMessage, targets: Targets): Incoming {
  const { sample, ids, changes, bytes, isBare, properties, source, redelivered } = message
  const text = textOf(changed(goodMessage(sample, ids, targets), changes))
  const whole = isBare ? text : JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': text })
  return { body: changedBytes(Buffer.from(whole), bytes), properties, source, redelivered }
}

/** A request that must be served, and the id of its backup. */
export function goodDelivery(volumeId: string): {
  readonly id: string
  readonly incoming: Incoming
} {
  const id = randomUUID()
  const message = goodMessage(0, [id, randomUUID()], { volumes: [volumeId] })
  const body = Buffer.from(JSON.stringify(message))
  return { id, incoming: { body, properties: {}, source: 'server', redelivered: false } }
}
