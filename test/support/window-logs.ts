import { hash } from 'node:crypto'

import type { PutChunk, WindowResult } from '#src/domain/lane-tasks.ts'
import { chunkName } from '#src/domain/object-names.ts'
import type { WindowLayout, WindowLog } from '#src/engine/window-log.ts'

/** Five windows of four blocks, of which the last has one and a half. */
export const layout: WindowLayout = {
  backupId: '1bbbfe0c-6ba2-4a12-8f10-0d0a5f2f9b6c',
  parentId: null,
  container: 'backups',
  prefix: 'volume_1/20261123002624/az_nova_backup_1',
  sizeBytes: 4 * 4096 + 1536,
  windowBytes: 4096,
  blockSizeBytes: 1024,
  zeroChunks: 'compat',
}

export function aPutChunk(number: number, offsetBytes: number): PutChunk {
  return {
    name: chunkName(layout.prefix, number),
    offsetBytes,
    lengthBytes: 1024,
    compression: 'zlib',
    md5: hash('md5', `plain ${number}`),
    storedBytes: 100 + number,
    storedMd5: hash('md5', `stored ${number}`),
  }
}

/** A window with chunks of these numbers. */
export function aResult(index: number, ...numbers: readonly number[]): WindowResult {
  const blocks = index === 4 ? 2 : 4
  const digests = new Uint8Array(32 * blocks).map((_, at) => (at * 7 + index) % 251)
  const offset = index * layout.windowBytes
  return { digests, chunks: numbers.map((number, at) => aPutChunk(number, offset + at * 1024)) }
}

export function doneIndexes(log: WindowLog): number[] {
  return [0, 1, 2, 3, 4].filter(log.isDone)
}
