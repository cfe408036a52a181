import assert from 'node:assert/strict'
import { test } from 'node:test'

import { decodeBackupUrl, encodeBackupUrl } from '#src/adapters/rpc/backup-url.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import type { Json } from '#src/domain/json.ts'
import { aRecord } from '../../support/builders.ts'
import { runPeer } from '../../support/python.ts'
import { stockArgs } from '../../support/stock-calls.ts'

const records: readonly BackupRecord[] = [
  aRecord({ status: 'available', container: 'c', object_count: 7, size: 3, deleted: false }),
  aRecord({
    display_name: 'nächtlich 🐘 "quoted" \u0007\u2028',
    display_description: '\\ / é',
    metadata: { z: '1', ключ: 'значение', a: '' },
    data_timestamp: '2026-11-22T10:11:12.345678Z',
  }),
]

test("Cinder's own code writes the same bytes, and reads ours", async () => {
  const urls = records.map(encodeBackupUrl)

  const answers = await runPeer('backup_url.py', {
    input: [...records.map((encode) => ({ encode })), ...urls.map((decode) => ({ decode }))],
  })

  const [first, second, third] = answers as [string, string, object]
  assert.deepEqual(urls, [first, second])
  assert.deepEqual(third, { driver_info: {}, ...records[0] })
})

test('times are written in whole seconds, text as it was', () => {
  const url = encodeBackupUrl(records[1] ?? aRecord())

  const text = Buffer.from(url, 'base64').toString()
  assert.match(text, /"data_timestamp": "2026-11-22T10:11:12Z"/)
  assert.equal(JSON.parse(text).display_name, records[1]?.display_name)
})

test('the export of the real service is read, and so is what a mail made of it', () => {
  const url = String(stockArgs('15-import-record')['backup_url'])
  const broken = url.replaceAll(/.{76}/g, '$&\r\n')

  const record = decodeBackupUrl(url)

  assert.equal(record.id, '4b631ae5-b92c-4dc1-9bb7-cbd9d1ff7375')
  assert.equal(record.object_count, 21)
  assert.equal(encodeBackupUrl(record), url)
  assert.deepEqual(decodeBackupUrl(broken), record)
})

test('what we wrote we read', () => {
  for (const record of records) {
    const read = decodeBackupUrl(encodeBackupUrl(record))
    assert.deepEqual({ ...read, data_timestamp: null }, { ...record, data_timestamp: null })
  }
})

const packed = (value: Json) => Buffer.from(JSON.stringify(value)).toString('base64')
const whole = { ...aRecord({ container: 'c', service_metadata: 'p' }) }
const { size: _size, container: _container, ...part } = whole

const unreadable: readonly (readonly [string, string, RegExp])[] = [
  ['no base64', 'not base64 at all!', /not base64/],
  ['half of it', packed(whole).slice(0, 401), /not base64/],
  ['no text', Buffer.from([0xff, 0xfe, 0xff]).toString('base64'), /holds no JSON/],
  ['no JSON', Buffer.from('{"id": ').toString('base64'), /holds no JSON/],
  ['nothing', '', /holds no JSON/],
  ['a list', packed([whole]), /no JSON object/],
  ['a record without some fields', packed(part), /missing fields \(container, size\)\.$/],
  ['a record with a wrong field', packed({ ...whole, size: 'big' }), /backup_url\.size is not/],
  ['a record of no volume', packed({ ...whole, volume_id: null }), /backup_url\.volume_id/],
]

for (const [what, url, message] of unreadable) {
  test(`${what} is no record`, () => {
    assert.throws(() => decodeBackupUrl(url), { code: 'RECORD_INVALID', message })
  })
}

test('what is deep or wants to be a prototype does no harm', () => {
  const deep = Buffer.from(`${'['.repeat(100_000)}${']'.repeat(100_000)}`).toString('base64')
  const proto = Buffer.from(JSON.stringify(whole).replace('{', '{"__proto__": {"host": "x"},'))

  assert.throws(() => decodeBackupUrl(deep), { code: 'RECORD_INVALID' })
  assert.deepEqual(decodeBackupUrl(proto.toString('base64')), whole)
})
