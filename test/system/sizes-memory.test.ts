import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { test } from 'node:test'

import { drivenAgent } from '../support/driven-agent.ts'
import { times } from '../support/soak.ts'
import { noise } from '../support/volume-data.ts'

const mebibyte = 2 ** 20
const gibibyte = 2 ** 30
const patienceMs = 4 * 3_600_000

// Decision D11, and the limit that a production node is promised.
const residentMaxMib = 400

const volumeGib = times(4, 300)
const dataMib = times(64, 1024)
const runMib = 16

/** The most that a process ever had in memory. */
async function peakMib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1024
}

test(`a sparse volume of ${volumeGib} GiB takes at most ${residentMaxMib} MiB to back up and restore`, async (t) => {
  // With the sizes of chunks and blocks as they are when nobody sets them.
  const agent = await drivenAgent(t, {
    DEFAULT: { backup_file_size: 1_999_994_880, backup_sha_block_size_bytes: 32_768 },
  })
  const [source, target] = [randomUUID(), randomUUID()]
  // Runs of data, far from each other.
  const runCount = dataMib / runMib
  const pieces = Array.from({ length: dataMib }, (_, index) => {
    const run = Math.floor((index / dataMib) * runCount)
    const start = Math.floor(((run + 0.5) * volumeGib * gibibyte) / runCount / 4096) * 4096
    const data = noise(`piece ${index % 16}`, mebibyte)
    return { offset: start + (index % runMib) * mebibyte, data }
  })
  for (const volumeId of [source, target]) {
    await agent.writeVolume(volumeId, Buffer.of())
    await using file = await open(agent.volumeFile(volumeId), 'r+')
    await file.truncate(volumeGib * gibibyte)
    if (volumeId === target) continue
    for (const { offset, data } of pieces) await file.write(data, 0, mebibyte, offset)
  }

  const startMs = performance.now()
  const asked = agent.asked(source, { size: volumeGib })
  await agent.scheduler.ask('create', asked)
  const made = await agent.scheduler.ended('create', asked.id, patienceMs)
  assert.equal(made.eventType, 'backup.create.end', String(made.payload['message']))
  const afterBackup = [await peakMib(agent.agent.pid), performance.now() - startMs] as const
  const record = agent.scheduler.recordOf(asked.id)
  await agent.scheduler.ask('restore', record, { volume_id: target, volume_is_new: true })
  const restored = await agent.scheduler.ended('restore', asked.id, patienceMs)

  assert.equal(restored.eventType, 'backup.restore.end', String(restored.payload['message']))
  await using file = await open(agent.volumeFile(target), 'r')
  const found = Buffer.alloc(mebibyte)
  for (const { offset, data } of pieces) {
    await file.read(found, 0, mebibyte, offset)
    assert.ok(found.equals(data), `what lies at ${offset}`)
  }
  const { blocks } = await file.stat()
  assert.ok(blocks * 512 <= 2 * dataMib * mebibyte, 'holes stay holes')
  const peak = await peakMib(agent.agent.pid)
  t.diagnostic(
    `${volumeGib} GiB, ${dataMib} MiB of them data: backup ${Math.round(afterBackup[1] / 1000)} s, ` +
      `${Math.round(afterBackup[0])} MiB; with the restore ` +
      `${Math.round((performance.now() - startMs) / 1000)} s, ${Math.round(peak)} MiB`,
  )
  assert.ok(peak <= residentMaxMib, `${Math.round(peak)} MiB`)
})
