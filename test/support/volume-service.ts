import type { TestContext } from 'node:test'
import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { memoryBus } from '#src/adapters/rpc/memory-bus.ts'
import { memoryPublisher, memoryRpcServer } from '#src/adapters/rpc/memory-rpc.ts'
import { memoryRpcClient } from '#src/adapters/rpc/memory-rpc-client.ts'
import { backupToPrimitive } from '#src/adapters/rpc/versioned-object.ts'
import { backupDeviceFrom, snapshotObject, volumeObject } from '#src/adapters/rpc/volume-objects.ts'
import { cinderVolumes } from '#src/adapters/volumes/cinder-volumes.ts'
import { hostConnector } from '#src/adapters/volumes/host-connector.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { HostAttach } from '#src/ports/host-attach.ts'
import type { VolumeService } from '../contracts/block-storage.ts'

/**
 * A volume service at the other end of a bus in memory, and the storage that asks it: what it is told to
 * answer is what it says.
 */
export async function volumeService(
  t: TestContext,
  attach: HostAttach,
): Promise<Omit<VolumeService, 'exported'>> {
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
  const pins: VolumeService['pins'] = { rpc: null }
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
  return {
    storage: cinderVolumes({
      ...{
        client,
        publisher,
        connector: hostConnector('192.0.2.7'),
        attach,
        accelerator: null,
        timeoutMs: 5_000,
        stop: new AbortController().signal,
      },
      forms: {
        ...{ backup: backupToPrimitive, volume: volumeObject, snapshot: snapshotObject },
        device: backupDeviceFrom,
      },
      versionPin: async () => pins.rpc,
    }),
    asked,
    pins,
    answers,
  }
}

function atEnd(t: TestContext, ...parts: AsyncDisposable[]): void {
  for (const part of parts) t.after(() => part[Symbol.asyncDispose]())
}
