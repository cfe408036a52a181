import { randomUUID } from 'node:crypto'
import { open } from 'node:fs/promises'

import type { AgentHome } from './agent.ts'
import { diskBytes } from './volume-data.ts'
import { volumeFile } from './volume-files.ts'

const mebibyte = 2 ** 20
const pieceBytes = 16 * mebibyte

/** A new volume of noise, text and holes, written piece by piece. */
export async function largeVolume(
  home: AgentHome,
  seed: string,
  sizeBytes: number,
): Promise<string> {
  const id = randomUUID()
  await using file = await open(volumeFile(home, id), 'w')
  const piece = diskBytes(seed, pieceBytes)
  for (let offset = 0; offset < sizeBytes; offset += pieceBytes) {
    piece.writeUInt32LE(offset / pieceBytes, 0)
    await file.write(piece, 0, Math.min(pieceBytes, sizeBytes - offset), offset)
  }
  return id
}
