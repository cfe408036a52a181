import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import zlib from 'node:zlib'
import { type CodecUnderTest, testDigests, testNativeCodec } from '../../contracts/accelerator.ts'
import { testOpenFiles } from '../../contracts/accelerator-files.ts'
import { nativeAccelerator } from '../../support/native-accelerator.ts'
import { runPeer } from '../../support/python.ts'
import { diskBytes, sha256 } from '../../support/volume-data.ts'

const adapter = 'native-accelerator'
const { accelerator, why } = nativeAccelerator()
assert.ok(accelerator !== null, `"make native" builds what is tested here: ${why}`)
const { zlib: deflate, fastZlib, bz2, zstd } = accelerator
assert.ok(
  deflate !== null && fastZlib !== null && bz2 !== null && zstd !== null,
  `these tests want libdeflate0, libisal2, libbz2-1.0 and libzstd1; there is only: ${why}`,
)

const bzip2 = (option: '-c' | '-dc') => (input: Uint8Array) =>
  execFileSync('bzip2', [option], { input, maxBuffer: 1 << 24, stdio: 'pipe' })

const zlibPeer = {
  read: (stored: Uint8Array) => zlib.inflateSync(stored),
  write: (plain: Uint8Array) => zlib.deflateSync(plain),
}
const zlibKind = { joins: false, checks: true, peer: zlibPeer }
const codecs: readonly CodecUnderTest[] = [
  { name: 'zlib', ...deflate, levelMax: 12, ...zlibKind },
  { name: 'fastZlib', compress: fastZlib.compress, decompress: null, levelMax: 3, ...zlibKind },
  {
    name: 'bz2',
    ...bz2,
    levelMax: 9,
    joins: true,
    checks: true,
    peer: { read: bzip2('-dc'), write: bzip2('-c') },
  },
  {
    name: 'zstd',
    ...zstd,
    levelMax: 19,
    joins: true,
    checks: false,
    peer: {
      read: (stored) => zlib.zstdDecompressSync(stored),
      write: (plain) => zlib.zstdCompressSync(plain),
    },
  },
]

for (const codec of codecs) testNativeCodec(adapter, codec)
testDigests(adapter, accelerator)
testOpenFiles(adapter, accelerator)

test('Python reads what each codec writes, as Cinder does to restore it', async () => {
  const plain = diskBytes('for Python', 300_000)
  const format = { zlib: 'zlib', fastZlib: 'zlib', bz2: 'bz2', zstd: 'zstd' }
  const input = codecs.map(({ name, compress, levelMax }) => {
    const room = Buffer.alloc(400_000)
    const stored = room.subarray(0, compress(plain, room, levelMax))
    return { as: format[name as keyof typeof format], base64: stored.toString('base64') }
  })

  const digests = await runPeer('decompress.py', { input })

  assert.deepEqual(digests, Array(4).fill(sha256(plain)))
})

test('what there is can be read in one line of the log', () => {
  assert.match(
    why,
    /^libdeflate, isa-l, libbz2 1\.\d+\.\d+, libzstd 1\.\d+\.\d+, sha256 \S.*, md5 in two lanes$/,
  )
})

const loader = path.resolve(import.meta.dirname, '../../../src/adapters/accelerator')

/** Runs in a thread: does some of everything, and says what came of it. */
const threadCode = `
  const { parentPort } = require('node:worker_threads')
  import(${JSON.stringify(path.join(loader, 'native-accelerator.ts'))}).then((module) => {
    const { accelerator } = module.loadAccelerator()
    const plain = Buffer.alloc(1_000_000, 'from a thread')
    const room = Buffer.alloc(1_000_000)
    const again = Buffer.alloc(1_000_000)
    for (const name of ['zlib', 'zstd', 'bz2', 'fastZlib']) {
      const stored = room.subarray(0, accelerator[name].compress(plain, room, 2))
      const reader = accelerator[name === 'fastZlib' ? 'zlib' : name]
      again.fill(0)
      reader.decompress(stored, again)
      parentPort.postMessage(name + ' ' + again.equals(plain))
    }
  })`

test('threads have it too, several at once, and after each other', async () => {
  for (let round = 0; round < 3; round++) {
    const said = Array.from({ length: 3 }, async () => {
      const lines: unknown[] = []
      const worker = new Worker(threadCode, { eval: true, env: {} })
      worker.on('message', (line) => lines.push(line))
      await once(worker, 'exit')
      return lines
    })
    const expected = ['zlib true', 'zstd true', 'bz2 true', 'fastZlib true']
    assert.deepEqual(await Promise.all(said), [expected, expected, expected])
  }
})

/** What a process of its own says when it loads the accelerator from this checkout or copy. */
async function loadedBy(folder: string, env: Readonly<Record<string, string>> = {}) {
  const code = `import(${JSON.stringify(path.join(folder, 'native-accelerator.ts'))}).then(
    (module) => console.log(JSON.stringify(module.loadAccelerator())))`
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', code], { env })
  return JSON.parse(stdout)
}

test('CBA_ACCELERATOR=off does without it', async () => {
  const loaded = await loadedBy(loader, { CBA_ACCELERATOR: 'off' })

  assert.deepEqual(loaded, { accelerator: null, why: 'CBA_ACCELERATOR=off' })
})

test('where it was not built, or is not for this host, there is none and a reason', async (t) => {
  const root = mkdtempSync(path.join(tmpdir(), 'cba-accelerator-'))
  t.after(() => rmSync(root, { recursive: true }))
  const copy = path.join(root, 'src/adapters/accelerator')
  const name = `accelerator-linux-${process.arch}.node`
  cpSync(loader, copy, { recursive: true })

  const loaded = await loadedBy(copy)
  mkdirSync(path.join(root, 'native/build'), { recursive: true })
  writeFileSync(path.join(root, 'native/build', name), 'not for this host')
  const loadedOfOther = await loadedBy(copy)

  assert.deepEqual(loaded, { accelerator: null, why: `no ${name} was built` })
  assert.equal(loadedOfOther.accelerator, null)
  assert.match(loadedOfOther.why, /file too short|invalid ELF header/)
})
