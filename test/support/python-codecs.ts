import { spawn } from 'node:child_process'
import { once } from 'node:events'

const program = `
import bz2, hashlib, sys, zlib, zstd
read = {'zlib': zlib.decompress, 'bz2': bz2.decompress, 'zstd': zstd.decompress}[sys.argv[1]]
print(hashlib.sha256(read(sys.stdin.buffer.read())).hexdigest())
`

/** The SHA-256 of what Python's own module, which Cinder uses, reads there. */
export async function pyDecompress(
  codec: 'zlib' | 'bz2' | 'zstd',
  stored: Uint8Array,
): Promise<string> {
  const child = spawn('/usr/bin/python3', ['-c', program, codec], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  child.stdin.end(stored)
  await once(child, 'close')
  return output.trim()
}
