import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { encodeBackupUrl } from '#src/adapters/rpc/backup-url.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { JsonObject } from '#src/domain/json.ts'
import type { Notification, RpcRequest } from '#src/ports/rpc.ts'
import { aContext, aRecord } from './support/builders.ts'
import { call, handlerBench } from './support/handler-bench.ts'
import { stockArgs } from './support/stock-calls.ts'

const admin = aContext({ isAdmin: true })
const service = 'cinder.backup.drivers.swift.SwiftBackupDriver'
const zeroId = '00000000-0000-0000-0000-000000000000'

const exported = aRecord({
  status: 'available',
  container: 'volumebackups',
  service_metadata: 'volume_x/20261123000000/az_nova_backup_x',
  service,
})

function importing(args: JsonObject, fields: Partial<RpcRequest> = {}): RpcRequest {
  const { id } = exported
  const backup = { ...aRecord({ id, volume_id: zeroId, size: 0 }) }
  const whole = { backup, backup_service: service, backup_url: encodeBackupUrl(exported) }
  return call('import_record', { ...whole, backup_hosts: [], ...args }, fields)
}

function recordIn(event: Notification | undefined): BackupRecord {
  assert.ok(event !== undefined)
  return event.payload['record'] as unknown as BackupRecord
}

test('what the real API sends becomes a job, with the record that is in it', async () => {
  const agent = handlerBench()

  const request = call('import_record', stockArgs('15-import-record'), { context: admin })
  const disposition = await agent.handle(request)

  const [job] = agent.journal.unfinished()
  const id = '4b631ae5-b92c-4dc1-9bb7-cbd9d1ff7375'
  assert.deepEqual(disposition, { kind: 'accepted', jobId: job?.id, backupId: id })
  assert.equal(job?.record.volume_id, zeroId)
  assert.equal(job?.record.project_id, '145225abc71d4d8098777a77913ed99e')
  assert.equal(job?.request.imported?.volume_id, '646e5d75-70c2-4d94-adcf-8882d85de1d8')
  assert.equal(job?.request.imported?.project_id, 'ac4b2667464c447abd37bd3a6a5c7228')
})

test('a second request joins an import in hand; after its end it is run anew', async () => {
  const agent = handlerBench()
  const first = await agent.handle(importing({}))
  assert.ok(first.kind === 'accepted')

  const second = await agent.handle(importing({}))
  agent.journal.end(first.jobId, { kind: 'done' }, exported, [])
  const third = await agent.handle(importing({}))

  assert.deepEqual(second, first)
  assert.ok(third.kind === 'accepted' && third.jobId !== first.jobId)
})

test('what this agent knows of a backup outlives an import of it that fails', async () => {
  const agent = handlerBench()
  const record = agent.known()
  const backup = { ...aRecord({ id: record.id, volume_id: zeroId }) }

  await agent.handle(importing({ backup, backup_url: encodeBackupUrl(record) }))

  const [job] = agent.journal.unfinished()
  assert.deepEqual(job?.record, { ...record, status: 'creating' })
  assert.deepEqual(job?.request.was, record)
})

const refusals: readonly (readonly [string, JsonObject, string, RegExp])[] = [
  ['a URL that is none', { backup_url: '%%%' }, 'RECORD_INVALID', /not base64/],
  ['a URL that is no text', { backup_url: 7 }, 'ARGUMENT_INVALID', /backup_url must be a string/],
  [
    'the record of another backup',
    { backup_url: encodeBackupUrl({ ...exported, id: randomUUID() }) },
    'RECORD_MISMATCH',
    new RegExp(`from id \\S+ into backup ${exported.id}`),
  ],
  [
    'a driver that nobody has',
    { backup_service: 'x.y.Other' },
    'BACKUP_NOT_OURS',
    /cannot find backup service to perform the import. Request service x.y.Other$/,
  ],
  [
    'hosts that are none',
    { backup_service: 'x.y.Other', backup_hosts: [1] },
    'ARGUMENT_INVALID',
    /backup_hosts/,
  ],
]

for (const [what, args, code, message] of refusals) {
  test(`an import of ${what} is refused once, and its record says why`, async () => {
    const agent = handlerBench()
    const request = importing(args)

    await assert.rejects(agent.handle(request), { code, message })
    await assert.rejects(agent.handle({ ...request, redelivered: true }), { code })

    const [event, ...others] = agent.events()
    assert.deepEqual(others, [])
    assert.equal(event?.eventType, 'backup.import.error')
    const { status, fail_reason, id } = recordIn(event)
    assert.deepEqual([status, id], ['error', exported.id])
    assert.match(String(fail_reason), message)
    assert.match(String(fail_reason), new RegExp(`^${code}: `))
    assert.equal(agent.journal.record(exported.id), null)
  })
}

test('an import of a backup that is being made here leaves that record alone', async () => {
  const agent = handlerBench()
  const record = aRecord({ id: exported.id })
  await agent.handle(call('create_backup', { backup: { ...record } }))

  await assert.rejects(agent.handle(importing({})), {
    code: 'BACKUP_INVALID_STATE',
    message: /its create is in hand here/,
  })

  const [event] = agent.events()
  assert.equal(recordIn(event).status, 'creating')
})

test("another driver's import goes to the last host on the list, with the others", async () => {
  const agent = handlerBench()
  const args = { backup_service: 'x.y.Other', backup_hosts: ['a', 'b', 'host-1'] }

  const disposition = await agent.handle(importing(args))

  assert.deepEqual(disposition, { kind: 'ignored' })
  assert.deepEqual(agent.journal.unfinished(), [])
  const [cast, ...others] = agent.publisher.casts
  assert.deepEqual(others, [])
  assert.equal(cast?.to, 'cinder-backup.b')
  assert.equal(cast?.method, 'import_record')
  assert.deepEqual(cast?.args['backup_hosts'], ['a'])
  assert.equal(cast?.args['backup_url'], encodeBackupUrl(exported))
})

test('hosts that take no messages are left out; where none is left, it fails', async () => {
  const asked: (string | null)[] = []
  const cast = async ({ server }: { readonly server: string | null }) => {
    asked.push(server)
    return false
  }
  const agent = handlerBench({ publisher: { cast } })
  const args = { backup_service: 'x.y.Other', backup_hosts: ['a', 'b'] }

  await assert.rejects(agent.handle(importing(args)), { code: 'BACKUP_NOT_OURS' })

  assert.deepEqual(asked, ['b', 'a'])
  assert.equal(agent.events()[0]?.eventType, 'backup.import.error')
})
