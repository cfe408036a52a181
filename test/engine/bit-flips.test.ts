// One bit of a stored object is another one: it is found out, or it makes no difference. Never is a wrong
// byte written and called right.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { memorySpool } from '#src/adapters/spool/memory-spool.ts'
import type { Compression } from '#src/domain/compression.ts'
import { AgentError } from '#src/domain/errors.ts'
import { extentSet } from '#src/domain/extents.ts'
import { metadataName, sha256fileName } from '#src/domain/object-names.ts'
import { type BackupPlace, readMetadata } from '#src/engine/read-manifest.ts'
import type { Accelerator } from '#src/ports/accelerator.ts'
import {
  aChain,
  addBackup,
  type BackupChoices,
  type Chain,
  container,
  never,
  restoreChain,
} from '../support/chains.ts'
import { nativeAccelerator } from '../support/native-accelerator.ts'
import { times } from '../support/soak.ts'
import { noise } from '../support/volume-data.ts'
import { randomOf, testSeed } from '../support/volume-files.ts'

const blockBytes = 512
const chunkBytes = 4096
const volumeBytes = 46_080 // The last chunk is short.
const untouched = 0xa5

type Scene = Chain & {
  readonly what: string
  /** What the volume was at each backup. */
  readonly volumes: readonly Buffer[]
  readonly choices: BackupChoices
}

type Flip = { readonly object: string; readonly bit: number }

/** Text, noise and zeros by turns, of a few blocks each; the end is zeros. */
function firstVolume(seed: string): Buffer {
  const bytes = noise(seed, volumeBytes)
  for (let offset = 0, turn = 0; offset < volumeBytes; offset += 3 * blockBytes, turn += 1) {
    if (turn % 3 === 1) bytes.fill(`line ${offset}\n`, offset, offset + 3 * blockBytes)
    if (turn % 3 === 2) bytes.fill(0, offset, offset + 3 * blockBytes)
  }
  bytes.fill(0, 5 * chunkBytes, 6 * chunkBytes)
  return bytes.fill(0, volumeBytes - 2 * chunkBytes)
}

/** Blocks here and there become others. */
function changedBlocks(before: Buffer, seed: string, random: () => number): Buffer {
  const after = Buffer.from(before)
  for (let count = 0; count < 8; count += 1) {
    const offset = Math.floor((random() * volumeBytes) / blockBytes) * blockBytes
    const length = Math.min(blockBytes * (1 + Math.floor(random() * 3)), volumeBytes - offset)
    noise(`${seed} ${count}`, length).copy(after, offset)
  }
  return after
}

/** The first half becomes another: such an increment looks like a shorter full backup. */
function changedStart(before: Buffer, seed: string): Buffer {
  return Buffer.concat([noise(seed, 4 * chunkBytes), before.subarray(4 * chunkBytes)])
}

async function aScene(
  what: string,
  seed: string,
  random: () => number,
  choices: BackupChoices,
): Promise<Scene> {
  const chain = await aChain()
  const first = firstVolume(seed)
  const second = changedBlocks(first, `${seed} second`, random)
  const volumes = [first, second, changedStart(second, `${seed} third`)]
  for (const volume of volumes) {
    await addBackup(chain, volume, { blockSizeBytes: blockBytes, ...choices })
  }
  return { ...chain, what, volumes, choices }
}

const codecs: readonly Compression[] = ['none', 'zlib', 'zstd', 'bz2']

async function scenes(seed: string, random: () => number): Promise<readonly Scene[]> {
  const { accelerator } = nativeAccelerator()
  const made: Scene[] = []
  const kinds: (readonly [string, BackupChoices])[] = codecs.flatMap((compression) => [
    [`${compression}, accelerated`, { compression, accelerator }] as const,
    [`${compression}, by Node`, { compression, accelerator: null }] as const,
  ])
  kinds.push(['sparse', { compression: 'zlib', zeroChunks: 'sparse', accelerator }])
  for (const [what, choices] of kinds) made.push(await aScene(what, seed, random, choices))
  return made
}

async function bytesOf({ store }: Chain, name: string): Promise<Buffer> {
  const pieces: Buffer[] = []
  const sink = {
    start: () => void pieces.splice(0),
    write: (piece: Uint8Array) => void pieces.push(Buffer.from(piece)),
  }
  await store.getObject({ container, name }, sink, never)
  return Buffer.concat(pieces)
}

const pick = <T>(from: readonly T[], random: () => number): T => {
  const one = from[Math.floor(random() * from.length)]
  assert.ok(one !== undefined)
  return one
}

async function chunksOf({ store }: Chain, { prefix }: BackupPlace): Promise<readonly string[]> {
  const listed = await store.listPage(container, `${prefix}-`, '', never)
  return listed.map(({ name }) => name)
}

/** Flips a bit of an object for as long as `work` runs. */
async function whileFlipped<T>(
  scene: Scene,
  object: string,
  random: () => number,
  work: (flip: Flip) => Promise<T>,
): Promise<T> {
  const whole = await bytesOf(scene, object)
  const bit = Math.floor(random() * whole.byteLength * 8)
  const flipped = Buffer.from(whole)
  flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
  await scene.store.putObject({ container, name: object }, flipped, never)
  try {
    return await work({ object, bit })
  } finally {
    await scene.store.putObject({ container, name: object }, whole, never)
  }
}

/** The chain as the metadata documents tell it, the full backup first. */
async function followed({ store, places }: Chain, last: number): Promise<readonly BackupPlace[]> {
  const chain: BackupPlace[] = []
  let next = places[last]
  while (next !== undefined) {
    chain.unshift(next)
    const { parentId } = await readMetadata(store, next, await memorySpool().open(), never)
    if (parentId === null) return chain
    next = places.find(({ record }) => record.id === parentId)
  }
  throw new AgentError('PARENT_NOT_FOUND', 'nobody knows that parent')
}

type Outcome = 'refused' | 'right'

/**
 * Restores the backup at `last`. Whatever comes of it, the volume then holds what it held before or what
 * it should; all of the latter where the restore ended well or says so of an extent.
 */
async function outcomeOf(
  scene: Scene,
  last: number,
  options: { usesDigests: boolean; accelerator: Accelerator | null; roomBytes: number },
): Promise<Outcome> {
  const wanted = scene.volumes[last] ?? Buffer.alloc(0)
  const target = Buffer.alloc(volumeBytes + options.roomBytes, untouched)
  const restored = extentSet()
  let outcome: Outcome = 'right'
  try {
    const places = await followed(scene, last)
    await restoreChain(scene.store, places, target, { restored, ...options })
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    outcome = 'refused'
  }
  const isWhole = outcome === 'right'
  // Where a backup ends in its last block only its chunk can tell: by then a parent's may be written.
  const surelyBytes = isWhole ? target.byteLength : volumeBytes - blockBytes
  const isOlder = (at: number) => scene.volumes.some((older) => older[at] === target[at])
  for (let at = 0; at < target.byteLength; at += 1) {
    const [found, should] = [target[at], wanted[at] ?? untouched]
    if (found === should || (!isWhole && found === untouched)) continue
    if (at < surelyBytes || !isOlder(at)) {
      assert.fail(`${outcome}, but byte ${at} is ${found} instead of ${should}`)
    }
  }
  for (const { offsetBytes, lengthBytes } of restored.list(10_000).extents) {
    const end = Math.min(offsetBytes + lengthBytes, surelyBytes)
    const [is, was] = [target, wanted].map((bytes) => bytes.subarray(offsetBytes, end))
    assert.ok(was?.equals(is ?? Buffer.alloc(0)), `${offsetBytes} to ${end} is called restored`)
  }
  return outcome
}

type Tally = Record<Outcome, number>

function told(tally: Tally): string {
  return `${tally.refused} refused, ${tally.right} made no difference`
}

async function flipMany(
  t: TestContext,
  count: number,
  flipOne: (scene: Scene, random: () => number) => Promise<Outcome>,
): Promise<Tally> {
  const seed = testSeed(t)
  const all = await scenes(seed, randomOf(`${seed} ${t.name}`))
  const tally: Tally = { refused: 0, right: 0 }
  for (let index = 0; index < count; index += 1) {
    const scene = all[index % all.length]
    assert.ok(scene !== undefined)
    tally[await flipOne(scene, randomOf(`${seed} ${t.name} ${index}`))] += 1
  }
  t.diagnostic(`${count} flips: ${told(tally)}`)
  return tally
}

/** Says which flip it was where it was not well. */
async function named<T>(scene: Scene, { object, bit }: Flip, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    const at = bit >> 3
    const near = (await bytesOf(scene, object)).subarray(Math.max(0, at - 40), at + 20).toString()
    const what = `${scene.what}: bit ${bit & 7} of byte ${at} of ${object}: ${JSON.stringify(near)}`
    throw new Error(what, { cause: error })
  }
}

test('a bit flipped in a chunk is found out before a byte of it is written', async (t) => {
  const tally = await flipMany(t, times(27, 4000), async (scene, random) => {
    const last = Math.floor(random() * 3)
    const object = pick(
      await chunksOf(scene, pick(scene.places.slice(0, last + 1), random)),
      random,
    )
    const { accelerator = null } = scene.choices
    const options = { usesDigests: random() < 0.5, accelerator, roomBytes: 0 }
    return whileFlipped(scene, object, random, (flip) =>
      named(scene, flip, outcomeOf(scene, last, options)),
    )
  })
  assert.ok(tally.refused > 0)
})

test('a bit flipped in a metadata object leads to no wrong byte', async (t) => {
  await flipMany(t, times(27, 4000), async (scene, random) => {
    const last = Math.floor(random() * 3)
    const { prefix } = pick(scene.places.slice(0, last + 1), random)
    const { accelerator = null } = scene.choices
    const roomBytes = random() < 0.5 ? 0 : volumeBytes
    const options = { usesDigests: true, accelerator, roomBytes }
    return whileFlipped(scene, metadataName(prefix), random, (flip) =>
      named(scene, flip, outcomeOf(scene, last, options)),
    )
  })
})

test('a bit flipped in a sha256file leads to no wrong byte of a restore', async (t) => {
  await flipMany(t, times(9, 1000), async (scene, random) => {
    const last = Math.floor(random() * 3)
    const { prefix } = scene.places[last] ?? { prefix: '' }
    const { accelerator = null } = scene.choices
    const options = { usesDigests: true, accelerator, roomBytes: 0 }
    return whileFlipped(scene, sha256fileName(prefix), random, (flip) =>
      named(scene, flip, outcomeOf(scene, last, options)),
    )
  })
})

test("a bit flipped in a parent's sha256file leads to no wrong increment", async (t) => {
  await flipMany(t, times(9, 1000), async (scene, random) => {
    const [parent] = scene.places
    const [before] = scene.volumes
    assert.ok(parent !== undefined && before !== undefined)
    const object = sha256fileName(parent.prefix)
    const volume = changedBlocks(before, `increment ${random()}`, random)
    const forked = { ...scene, places: [parent], volumes: [before, volume] }
    const isMade = await whileFlipped(scene, object, random, async () => {
      try {
        await addBackup(forked, volume, { blockSizeBytes: blockBytes, ...scene.choices })
        return true
      } catch (error) {
        if (error instanceof AgentError) return false
        throw error
      }
    })
    if (!isMade) return 'refused'
    const { accelerator = null } = scene.choices
    const options = { usesDigests: true, accelerator, roomBytes: 0 }
    assert.equal(await outcomeOf(forked, 1, options), 'right', object)
    return 'right'
  })
})

/** Single bits that once led to wrong bytes, or to a volume that was restored only in part. */
const contradictions: readonly (readonly [string, number, RegExp, string])[] = [
  ['moves an increment by less than a block', 1, /"offset": (\d*)0\b/, '"offset": $12'],
  ['forgets zeros at the end', 0, /"volume_bytes": 46080/, '"volume_bytes": 42080'],
]

for (const [what, last, found, put] of contradictions) {
  test(`a bit of the metadata that ${what} is refused: the sha256file says otherwise`, async () => {
    const random = randomOf(what)
    const choices = { compression: 'zlib', zeroChunks: 'sparse' } as const
    const scene = await aScene('sparse', what, random, choices)
    const name = metadataName(scene.places[last]?.prefix ?? '')
    const text = (await bytesOf(scene, name)).toString('latin1')
    assert.match(text, found)
    await scene.store.putObject({ container, name }, Buffer.from(text.replace(found, put)), never)
    const options = { usesDigests: true, accelerator: null, roomBytes: 0 }
    assert.equal(await outcomeOf(scene, last, options), 'refused')
  })
}
