import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import type { UserMessage } from '#src/ports/records.ts'
import { assertRecent, type RecordsBench, recordedRows, signal } from '../support/records-bench.ts'

export function testServices(adapter: string, bench: () => RecordsBench): void {
  test(`${adapter}: a message is the row that Cinder writes`, async () => {
    await using records = await bench().open()
    const [{ inserted: expected = {} } = {}] = recordedRows('23-backup-create-fails-swift-down')
    const message: UserMessage = {
      projectId: String(expected['project_id']),
      requestId: String(expected['request_id']),
      resourceType: 'VOLUME_BACKUP',
      resourceId: randomUUID(),
      actionId: '013',
      detailId: '020',
    }

    await records.addMessage(message, signal)

    const rows = await bench().rows('messages')
    const row = rows.find((one) => one['resource_uuid'] === message.resourceId) ?? {}
    const { id, created_at, expires_at, resource_uuid, deleted, ...fields } = row
    assert.deepEqual({ ...expected, ...fields }, expected)
    assert.equal(Object.keys(row).length, Object.keys(expected).length)
    assert.equal(deleted, false)
    assert.match(String(id), /^[0-9a-f-]{36}$/)
    assertRecent(created_at)
    const keptMs = Date.parse(String(expires_at)) - Date.parse(String(created_at))
    assert.ok(Math.abs(keptMs - 30 * 86_400_000) <= 1000)
  })

  test(`${adapter}: our service has one row, which each start refreshes and each heartbeat counts`, async () => {
    await using records = await bench().open()
    const host = `Storage-${randomUUID()}`
    const service = {
      ...{ host, availabilityZone: 'nova', rpcVersion: '2.3', objectVersion: '1.39' },
      disabled: true,
    }
    const ofHost = async () =>
      (await bench().rows('services')).filter((row) => row['host'] === host)

    assert.equal(await records.heartbeat(host, signal), null)
    assert.deepEqual(await records.reportService(service, signal), { disabled: true })
    const [made = {}] = await ofHost()
    const next = { ...service, availabilityZone: 'az2', rpcVersion: '2.4', disabled: false }
    assert.deepEqual(await records.reportService(next, signal), { disabled: true })
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(await records.heartbeat(host, signal), { disabled: true })
    }
    assert.equal(await records.heartbeat(host.toLowerCase(), signal), null)

    const { uuid, id, created_at, ...rest } = made
    assert.match(String(uuid), /^[0-9a-f-]{36}$/)
    assertRecent(created_at)
    const filled = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null))
    assert.deepEqual(filled, {
      ...{ host, binary: 'cinder-backup', topic: 'cinder-backup', report_count: 0 },
      ...{ disabled: true, availability_zone: 'nova', rpc_current_version: '2.3' },
      ...{ object_current_version: '1.39', replication_status: 'not-capable' },
      ...{ frozen: false, deleted: false },
    })
    const rows = await ofHost()
    assert.equal(rows.length, 1)
    const { updated_at, ...row } = rows[0] ?? {}
    assertRecent(updated_at)
    const { updated_at: _, ...before } = made
    assert.deepEqual(row, {
      ...before,
      ...{ report_count: 3, availability_zone: 'az2', rpc_current_version: '2.4' },
    })
  })

  test(`${adapter}: a service row without a uuid is given one`, async () => {
    await using records = await bench().open()
    const host = `old-${randomUUID()}`
    const row = { host, binary: 'cinder-backup', report_count: 5, deleted: false, disabled: false }
    await bench().insert('services', row)
    const service = { host, availabilityZone: 'nova', rpcVersion: '2.3', objectVersion: '1.39' }

    const told = await records.reportService({ ...service, disabled: true }, signal)

    const rows = await bench().rows('services')
    assert.equal(told.disabled, false)
    assert.match(String(rows.find((one) => one['host'] === host)?.['uuid']), /^[0-9a-f-]{36}$/)
  })

  test(`${adapter}: a service was last heard of when its row says so`, async () => {
    await using records = await bench().open()
    const binary = `cinder-${randomUUID()}`
    const row = { binary, report_count: 0, deleted: false }
    await bench().insert('services', { ...row, host: 'h', updated_at: '2026-11-26 05:00:00' })
    await bench().insert('services', { ...row, host: 'never' })

    assert.match(String(await records.lastHeartbeat(binary, 'h', signal)), /^2026-11-26.05:00:00/)
    assert.equal(await records.lastHeartbeat(binary, 'never', signal), null)
    assert.equal(await records.lastHeartbeat(binary, 'H', signal), null)
  })

  test(`${adapter}: the pin is the lowest version by its numbers, of rows that say one`, async () => {
    await using records = await bench().open()
    const binary = `cinder-${randomUUID()}`
    assert.equal(await records.versionPin(binary, signal), null)
    for (const [rpc, deleted] of [
      ['3.10', false],
      ['3.9', false],
      [null, false],
      ['1.0', true],
    ] as const) {
      await bench().insert('services', {
        ...{ host: 'h', binary, report_count: 0, deleted },
        rpc_current_version: rpc,
      })
    }

    assert.equal(await records.versionPin(binary, signal), '3.9')
  })
}
