import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { retryingStore } from '#src/adapters/object-store/retrying-store.ts'
import { openSwift } from '#src/adapters/object-store/swift-store.ts'
import type { Operation } from '#src/domain/job.ts'
import { aRequest } from '../support/builders.ts'
import { driverBench } from '../support/driver-bench.ts'
import { runnerBench, types } from '../support/runner-bench.ts'
import { rowsOf } from '../support/state-bench.ts'
import { restored } from '../support/state-cases.ts'
import { cinderRows, swiftDriver } from '../support/state-rows.ts'

const [idleMs, budgetMs] = [200, 500]

/** Takes every connection and what comes over it, and never says a word. */
async function silentServer() {
  const sockets = new Set<Socket>()
  let asked = 0
  const server = createServer((socket) => {
    sockets.add(socket)
    socket
      .on('error', () => undefined)
      .on('data', () => {
        asked += 1
      })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { readonly port: number }
  return {
    url: `http://127.0.0.1:${port}/v1/AUTH_x`,
    asked: () => asked,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

for (const [operation, during, ended, volumeStatus] of [
  ['create', 'creating', 'error', 'available'],
  ['restore', 'restoring', 'available', 'error_restoring'],
  ['delete', 'deleting', 'error', 'backing-up'],
] as const satisfies readonly (readonly [Operation, string, string, string])[]) {
  test(`K-08 a ${operation} from a Swift that takes its requests and never answers ends with that reason`, async () => {
    await using server = await silentServer()
    await using client = openSwift({
      ...{ caFile: null, insecure: false, connectMs: 1000, idleMs },
      ...{ createContainers: true, storagePolicy: null },
    })
    const access = { url: server.url, token: 'a token' }
    const once = client.store({ access: async () => access, renew: async () => access })
    const policy = { attemptsMin: 2, backoffMs: 5, budgetMs, onRetry: () => undefined }
    const { operations, contents } = driverBench({ store: retryingStore(once, policy) })
    const place = { container: 'backups', service: swiftDriver }
    const rows = cinderRows({
      backup: { status: during, ...(operation === 'create' ? {} : place) },
      ...(operation === 'restore' ? { volume: restored } : {}),
    })
    const { id, volume_id: volumeId } = rows.record
    if (operation !== 'create') {
      const prefix = `volume_${volumeId}/20261123000000/az_nova_backup_${id}`
      Object.assign(rows.tables.backups[0] ?? {}, { service_metadata: prefix })
    }
    contents.set(volumeId, Buffer.alloc(4096, 'data'))
    const bench = runnerBench(operations, 4, memoryJournal(), rowsOf(rows, true))
    const beganMs = performance.now()

    const target = operation === 'restore' ? { targetVolumeId: volumeId } : {}
    bench.ask(aRequest(operation, rows.record, target))
    await bench.idle()

    // A try that began within the budget may take its time; what is asked for at the end is asked once.
    assert.ok(performance.now() - beganMs < 5 * (budgetMs + idleMs))
    assert.ok(server.asked() >= 2)
    assert.equal(rows.backup()['status'], ended)
    const reason = /^STORE_UNAVAILABLE: .*no byte came or went/
    if (operation === 'restore') assert.equal(rows.backup()['fail_reason'], null)
    else assert.match(String(rows.backup()['fail_reason']), reason)
    assert.equal(rows.volume()['status'], volumeStatus)
    const last = bench.events().at(-1)
    assert.deepEqual(types(bench.events()).at(-1), `backup.${operation}.error`)
    assert.match(JSON.stringify(last?.payload), /STORE_UNAVAILABLE/)
    assert.equal(rows.messages().length, 1)
    await bench.stop()
  })
}
