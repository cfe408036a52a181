import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'

import { hasCode } from '#src/domain/errors.ts'
import { planRestore, type RestoreLink, type RestoreStep } from '#src/domain/restore-plan.ts'
import type { StoredChunk } from '#src/domain/stored-chunk.ts'

type Range = { readonly start: number; readonly end: number }

function aLink(index: number, ranges: readonly Range[], zeroFilledBytes = 0): RestoreLink {
  const chunks = ranges.map(
    ({ start, end }): StoredChunk => ({
      name: `link${index}-${start}`,
      offsetBytes: start,
      lengthBytes: end - start,
      compression: 'none',
      md5: '',
    }),
  )
  return {
    backupId: `backup-${index}`,
    parentId: index === 0 ? null : `backup-${index - 1}`,
    container: `container-${index}`,
    endBytes: Math.max(zeroFilledBytes, ranges.at(-1)?.end ?? 0),
    zeroFilledBytes,
    async *chunks() {
      yield* chunks
    },
  }
}

/** Gaps and lengths in turn, as ascending ranges that do not overlap. */
const ranges = fc
  .array(fc.tuple(fc.nat(9), fc.integer({ min: 1, max: 20 })), { maxLength: 12 })
  .map((steps) => {
    let at = 0
    return steps.map(([gap, length]) => {
      const start = at + gap
      at = start + length
      return { start, end: at }
    })
  })

test('every byte is written once, from the newest link that has it; one that none has is refused', async () => {
  const chains = fc.tuple(fc.array(ranges, { minLength: 1, maxLength: 6 }), fc.nat(150))
  await fc.assert(
    fc.asyncProperty(chains, async ([rangesOfLinks, zeroFilledBytes]) => {
      const links = rangesOfLinks.map((one, index) =>
        aLink(index, one, index ? 0 : zeroFilledBytes),
      )
      const end = Math.max(...links.map(({ endBytes }) => endBytes))
      const wanted = Array.from({ length: end }, (_, at) => {
        const isIn = ({ start, end }: Range) => start <= at && at < end
        const link = rangesOfLinks.findLastIndex((one) => one.some(isIn))
        if (link < 0) return at < zeroFilledBytes ? 'zeros' : 'nothing'
        return `link${link}-${rangesOfLinks[link]?.find(isIn)?.start}`
      })

      const found = Array.from({ length: end }, () => 'nothing')
      const planning = assign(links, found)

      if (wanted.includes('nothing')) {
        await assert.rejects(planning, (error) => hasCode(error, 'MANIFEST_INVALID'))
        const done = found.map((source, at) => (source === 'nothing' ? wanted[at] : source))
        assert.deepEqual(done, wanted)
      } else {
        await planning
        assert.deepEqual(found, wanted)
      }
    }),
    { numRuns: 500 },
  )
})

/** Notes in `found` where the plan takes each byte from. */
async function assign(links: readonly RestoreLink[], found: string[]): Promise<void> {
  const fetched = new Set<string>()
  for await (const step of planRestore(links)) {
    const source = step.kind === 'zeros' ? 'zeros' : step.chunk.name
    if (step.kind === 'chunk') {
      assert.ok(!fetched.has(source), `${source} is fetched twice`)
      assert.equal(step.container, source.replace(/link(\d+)-.*/, 'container-$1'))
      fetched.add(source)
    }
    for (const { offsetBytes, lengthBytes } of piecesOf(step)) {
      assert.ok(lengthBytes > 0)
      for (let at = offsetBytes; at < offsetBytes + lengthBytes; at++) {
        assert.equal(found[at], 'nothing', `byte ${at} is written twice`)
        found[at] = source
      }
    }
  }
}

function piecesOf(step: RestoreStep) {
  return step.kind === 'zeros' ? [step.extent] : step.pieces
}

test('an object that newer ones cover is not fetched', async () => {
  const full = aLink(0, [
    { start: 0, end: 10 },
    { start: 10, end: 20 },
    { start: 20, end: 30 },
  ])
  const newer = aLink(1, [{ start: 5, end: 25 }])

  const names: string[] = []
  for await (const step of planRestore([full, newer])) {
    if (step.kind === 'chunk') names.push(step.chunk.name)
  }

  assert.deepEqual(names.sort(), ['link0-0', 'link0-20', 'link1-5'])
})

test('links that are no chain are refused with PARENT_MISMATCH', async () => {
  const ranges = [{ start: 0, end: 10 }]
  const chains = [
    [aLink(1, ranges)],
    [aLink(0, ranges), aLink(2, ranges)],
    [aLink(0, ranges), aLink(0, ranges)],
  ]
  for (const links of chains) {
    const first = planRestore(links).next()
    await assert.rejects(first, (error) => hasCode(error, 'PARENT_MISMATCH'))
  }
})
