import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TestContext } from 'node:test'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { memoryBus } from '#src/adapters/rpc/memory-bus.ts'
import { memoryPublisher, memoryRpcServer } from '#src/adapters/rpc/memory-rpc.ts'
import { memoryRpcClient } from '#src/adapters/rpc/memory-rpc-client.ts'
import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import { snapshotObject, volumeObject } from '#src/adapters/rpc/volume-objects.ts'
import { cinderVolumes } from '#src/adapters/volumes/cinder-volumes.ts'
import { hostConnector } from '#src/adapters/volumes/host-connector.ts'
import { AgentError } from '#src/domain/errors.ts'
import { testBlockStorage, type VolumeService } from '../../contracts/block-storage.ts'

/** A volume service at the other end of a bus in memory: what it is told to answer is what it says. */
testBlockStorage('cinderVolumes', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-cinder-volumes-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const bus = memoryBus()
  const log = recordingLog()
  const controlExchange = 'openstack'
  const publisher = memoryPublisher(
    bus,
    {
      controlExchange,
      publisherId: 'backup.host-1',
      topics: [],
      drivers: [],
      replyRetrySeconds: 1,
    },
    log,
  )
  const asked: VolumeService['asked'][number][] = []
  const answers: VolumeService['answers'] = new Map()
  const server = memoryRpcServer(
    bus,
    {
      ...{ controlExchange, topic: 'cinder-volume.storage1@lvm', host: 'storage1', prefetch: 4 },
      ...{ messageBytesMax: 2 ** 20, rpcPingEnabled: false },
    },
    publisher,
    log,
  )
  await server.serve(async ({ method, version, args }) => {
    asked.push({ method, version, args })
    const result = answers.get(method) ?? null
    if (result instanceof Error) throw new AgentError('VOLUME_IN_USE', result.message)
    return { kind: 'answered', result }
  }, new AbortController().signal)
  const client = memoryRpcClient(bus, { controlExchange, messageBytesMax: 2 ** 20 }, log)
  atEnd(t, server, client, publisher)
  let files = 0
  return {
    storage: cinderVolumes({
      ...{
        client,
        publisher,
        connector: hostConnector('192.0.2.7'),
        accelerator: null,
        timeoutMs: 5_000,
      },
      forms: { backup: backupToPrimitive, volume: volumeObject, snapshot: snapshotObject },
    }),
    asked,
    answers,
    file(sizeBytes) {
      const file = path.join(folder, `volume-${files++}`)
      const fd = openSync(file, 'w')
      ftruncateSync(fd, sizeBytes)
      closeSync(fd)
      return file
    },
  }
})

function atEnd(t: TestContext, ...parts: AsyncDisposable[]): void {
  for (const part of parts) t.after(() => part[Symbol.asyncDispose]())
}
