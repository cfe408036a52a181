import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'

import { lineSink } from '#src/adapters/log/line-sink.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'cba-sink-'))
after(() => rmSync(folder, { recursive: true }))

const lostLine = (count: number) => `${count} lines were lost`

test('lines come in order, whatever their number', async () => {
  const file = path.join(folder, 'order.log')
  const expected = Array.from({ length: 10_000 }, (_, number) => `line ${number}`)
  {
    await using sink = lineSink(file, { lostLine })
    for (const line of expected) sink.write(line)
  }

  assert.deepEqual(readFileSync(file, 'utf8').split('\n').slice(0, -1), expected)
})

test('lines that nobody can take are counted, not kept', async () => {
  const file = path.join(folder, 'full.log')
  const mebibyte = 'x'.repeat(2 ** 20)
  {
    await using sink = lineSink(file, { lostLine })
    for (let number = 0; number < 20; number += 1) sink.write(mebibyte)
  }

  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1)
  assert.equal(lines.at(-1), lostLine(20 - (lines.length - 1)))
  assert.ok(lines.length < 10)
})

test('a file that a log rotation moved away is opened anew', async () => {
  const file = path.join(folder, 'rotated.log')
  await using sink = lineSink(file, { lostLine, rotationCheckMs: 0 })
  sink.write('before')
  await sink.written()
  renameSync(file, `${file}.1`)

  sink.write('after')
  await sink.written()

  assert.equal(readFileSync(`${file}.1`, 'utf8'), 'before\n')
  assert.equal(readFileSync(file, 'utf8'), 'after\n')
})
