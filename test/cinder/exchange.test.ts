// Backups outlive the service that wrote them: each restores, goes on with and deletes what the other made.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { type BackupServiceName, stopBackupService, takePlace } from '../support/backup-service.ts'
import { cinderRows } from '../support/cinder-rows.ts'
import { change, inUseOf, refusedWith, writtenVolume } from '../support/cinder-volumes.ts'
import { CinderUser, sumOf } from '../support/real-cinder.ts'
import { ScenarioTimes } from '../support/scenario-times.ts'

const compressions = ['zlib', 'bz2', 'zstd', 'none'] as const
type Compression = (typeof compressions)[number]

type Backup = { readonly id: string; readonly sum: string; readonly compression: Compression }

/** A volume with a full backup of one service and, later, an increment on it of the other. */
type Chain = { readonly volume: string; readonly full: Backup; increment?: Backup }
/** By the compression of the full backup; the increment has the one before it in the list. */
type Chains = Map<Compression, Chain>

const before = (compression: Compression): Compression =>
  compressions.at(compressions.indexOf(compression) - 1) ?? compression

/** One of the two services while it is in its place. */
class Reader {
  readonly #service: BackupServiceName
  readonly #times: ScenarioTimes
  readonly #user: CinderUser

  constructor(service: BackupServiceName, user: CinderUser) {
    this.#service = service
    this.#times = new ScenarioTimes(service, `${service} on what the other wrote`)
    this.#user = user
  }

  /** Everything that it writes from then on is compressed that way. */
  start(t: TestContext, compression: Compression): Promise<void> {
    const lines = ['[DEFAULT]', `backup_compression_algorithm = ${compression}`]
    return takePlace(t, this.#service, lines)
  }

  async writeFull(compression: Compression): Promise<Chain> {
    const [volume, sum] = await writtenVolume(this.#user, 24)
    return { volume, full: { id: await this.#user.createBackup(volume), sum, compression } }
  }

  /** Restores the other's full backup, and makes an increment on it. */
  async goOn(chain: Chain, compression: Compression): Promise<void> {
    const { volume, full } = chain
    assert.notEqual(await change(volume), full.sum)
    await this.#times.time(`the other's full backup restored, ${full.compression}`, () =>
      this.#user.restore(full.id, volume),
    )
    assert.equal(await sumOf(volume), full.sum)
    const sum = await change(volume)
    const id = await this.#times.time(`increment on the other's full backup, ${compression}`, () =>
      this.#user.createBackup(volume, { incremental: true }),
    )
    const [row] = await cinderRows('backups', `id = '${id}'`)
    assert.equal(row?.['parent_id'], full.id)
    chain.increment = { id, sum, compression }
  }

  /** Restores the other's increment on its own full backup, and deletes that increment. */
  async comeBack({ volume, full, increment }: Chain): Promise<void> {
    assert.ok(increment)
    await change(volume)
    const { id, sum, compression } = increment
    const restored = `the other's increment on one's own backup restored, ${compression}` as const
    await this.#times.time(restored, () => this.#user.restore(id, volume))
    assert.equal(await sumOf(volume), sum)

    if (full.compression === 'zlib') await this.#thirdLink(volume, id)

    const parents = await this.#user.objectsOf(full.id)
    await assert.rejects(this.#user.delete('backup', full.id), refusedWith(400))
    const name = "delete of the other's increment"
    await this.#times.time(name, () => this.#user.delete('backup', id))
    assert.deepEqual(await this.#user.objectsOf(id), [])
    assert.deepEqual(await this.#user.objectsOf(full.id), parents)
    assert.equal((await this.#user.get('backup', full.id))['has_dependent_backups'], false)
  }

  /** Makes an increment of its own on the other's, which is on its own full backup: a chain of three. */
  async #thirdLink(volume: string, parent: string): Promise<void> {
    const sum = await change(volume)
    const id = await this.#user.createBackup(volume, { incremental: true })
    const [row] = await cinderRows('backups', `id = '${id}'`)
    assert.equal(row?.['parent_id'], parent)
    assert.notEqual(await change(volume), sum)
    await this.#times.time('restore of a chain of three, made by both in turns', () =>
      this.#user.restore(id, volume),
    )
    assert.equal(await sumOf(volume), sum)
    await this.#user.delete('backup', id)
  }

  async deleteFull({ full }: Chain): Promise<void> {
    const name = "delete of the other's full backup"
    await this.#times.time(name, () => this.#user.delete('backup', full.id))
    assert.deepEqual(await this.#user.objectsOf(full.id), [])
  }

  print(): void {
    this.#times.print()
  }
}

function chainOf(chains: Chains, compression: Compression): Chain {
  const chain = chains.get(compression)
  assert.ok(chain, `the chain in ${compression} was not begun`)
  return chain
}

test('what either wrote is restored, gone on with and deleted by the other, in every compression', async (t) => {
  t.after(stopBackupService)
  const demo = await CinderUser.login('demo')
  const inUse = await inUseOf(demo)
  const [stock, ours] = [new Reader('stock', demo), new Reader('ours', demo)]
  const [stocks, our]: [Chains, Chains] = [new Map(), new Map()]
  const inEach = (what: string, work: (compression: Compression) => Promise<void>) =>
    t.test(what, async (step) => {
      for (const one of compressions) await step.test(`in ${one}`, () => work(one))
    })

  await inEach('ours begins', async (one) => {
    await ours.start(t, one)
    our.set(one, await ours.writeFull(one))
  })
  await inEach('stock begins, and goes on with what ours began', async (one) => {
    await stock.start(t, one)
    stocks.set(one, await stock.writeFull(one))
    await stock.goOn(chainOf(our, before(one)), one)
  })
  await inEach('ours goes on with what stock began, and with its own', async (one) => {
    await ours.start(t, one)
    await ours.goOn(chainOf(stocks, before(one)), one)
    await ours.comeBack(chainOf(our, one))
  })
  await stock.start(t, 'zlib')
  await inEach('stock goes on with its own, and deletes what ours wrote', async (one) => {
    await stock.comeBack(chainOf(stocks, one))
    await stock.deleteFull(chainOf(our, one))
  })
  await ours.start(t, 'zlib')
  await inEach('ours deletes what stock wrote', (one) => ours.deleteFull(chainOf(stocks, one)))

  assert.deepEqual(await inUseOf(demo), inUse)
  await demo.removeAll()
  for (const reader of [stock, ours]) reader.print()
})
