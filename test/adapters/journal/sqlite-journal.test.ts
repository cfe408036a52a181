import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'

import { memoryJournal, memoryJournals, openJournal } from '#src/adapters/journal/sqlite-journal.ts'
import { readHostKey, tokenSeal } from '#src/adapters/journal/token-seal.ts'
import { testJournal } from '../../contracts/journal.ts'
import { aContext, aDelivery, aDevice, anEvent, aRecord, aRequest } from '../../support/builders.ts'

const parent = mkdtempSync(path.join(tmpdir(), 'cba-journal-'))
process.once('exit', () => rmSync(parent, { recursive: true }))

function stateDir(): string {
  return mkdtempSync(path.join(parent, 'state-'))
}

testJournal('memoryJournal', memoryJournal)
testJournal('openJournal', () => openJournal(stateDir()))

test('a job, its token and its events are there after a restart', () => {
  const folder = stateDir()
  const context = aContext({ authToken: 'a secret' })
  const record = aRecord()
  {
    using journal = openJournal(folder)
    const accepted = journal.accept(aDelivery(aRequest('create', record), { context }))
    assert.ok(accepted.kind === 'new')
    journal.begin(accepted.job.id, anEvent('backup.create.start'))
    journal.nextSequence(accepted.job.id)
  }

  using journal = openJournal(folder)
  const [job] = journal.unfinished()

  assert.equal(job?.context.authToken, 'a secret')
  assert.equal(job?.starts, 1)
  assert.equal(journal.events(9).length, 1)
  assert.ok(journal.nextSequence(job?.id ?? '') > 1)
})

test('a journal in memory finds what the one before it left, and gives no number of its again', () => {
  const open = memoryJournals()
  const first = open()
  const accepted = first.accept(aDelivery(aRequest('create')))
  assert.ok(accepted.kind === 'new')
  const { id } = accepted.job
  first.begin(id, anEvent('backup.create.start'))
  const number = first.nextSequence(id)
  first[Symbol.dispose]()

  using second = open()
  assert.deepEqual(
    second.unfinished().map((job) => job.id),
    [id],
  )
  assert.ok(second.nextSequence(id) > number)
})

test('no file of the state folder holds a secret of a context in clear, and none is kept after the end', () => {
  const folder = stateDir()
  const context = aContext({
    authToken: 'canary-token-7461',
    serviceCatalog: [
      { type: 'compute', name: null, endpoints: [{ publicURL: 'http://h/canary-path-7462' }] },
    ],
    values: { roles: ['member'], token_info: { secret: 'canary-value-7463' } },
  })
  using journal = openJournal(folder)
  const accepted = journal.accept(aDelivery(aRequest('create'), { context }))
  assert.ok(accepted.kind === 'new')

  const files = readdirSync(folder).map((name) => path.join(folder, name))
  for (const file of files) assert.ok(!readFileSync(file).includes('canary-'), file)
  assert.deepEqual(journal.unfinished()[0]?.context, context)
  assert.equal(statSync(path.join(folder, 'journal.key')).mode & 0o777, 0o600)

  journal.end(accepted.job.id, { kind: 'done' }, aRecord(), [])
  const again = journal.accept(aDelivery(accepted.job.request, { context: aContext() }))
  assert.ok(again.kind === 'new')
})

test('a job of 0.1.0, whose token alone was sealed, is taken up with it', () => {
  const folder = stateDir()
  const context = aContext({ authToken: 'gAAAAA-old', values: { roles: ['member'] } })
  const request = aRequest('create')
  openJournal(folder)[Symbol.dispose]()
  const seal = tokenSeal(readHostKey(folder))
  const { authToken, ...open } = context
  const columns = [JSON.stringify(request), JSON.stringify(open), seal.seal(String(authToken))]
  using database = new DatabaseSync(path.join(folder, 'journal.sqlite'))
  database
    .prepare(
      "INSERT INTO jobs (id, key, request, context, token, record, run) VALUES ('1', 'k', ?, ?, ?, ?, 'r')",
    )
    .run(...columns, JSON.stringify(request.backup.record))
  database.close()
  using journal = openJournal(folder)

  assert.deepEqual(journal.unfinished()[0]?.context, context)
})

test('a second agent on the same state folder is refused with JOURNAL_LOCKED', () => {
  const folder = stateDir()
  using _journal = openJournal(folder)

  assert.throws(() => openJournal(folder), { code: 'JOURNAL_LOCKED' })
})

test('a killed agent leaves no lock behind', async () => {
  const folder = stateDir()
  const script = `
    const { openJournal } = await import('#src/adapters/journal/sqlite-journal.ts')
    globalThis.journal = openJournal(${JSON.stringify(folder)})
    process.stdout.write('open')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  assert.throws(() => openJournal(folder), { code: 'JOURNAL_LOCKED' })

  child.kill('SIGKILL')
  await once(child, 'exit')

  using journal = openJournal(folder)
  assert.deepEqual(journal.unfinished(), [])
})

test('a damaged journal is not guessed at: the error names the file', () => {
  const folder = stateDir()
  openJournal(folder)[Symbol.dispose]()
  writeFileSync(path.join(folder, 'journal.sqlite'), Buffer.alloc(8192, 0x5a))

  assert.throws(() => openJournal(folder), {
    code: 'JOURNAL_UNAVAILABLE',
    message: /journal\.sqlite/,
  })
})

test('a full disk refuses the delivery and changes nothing', () => {
  const folder = stateDir()
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', folder])
  using _mount = { [Symbol.dispose]: () => execFileSync('umount', [folder]) }
  using journal = openJournal(folder)
  const filler = path.join(folder, 'filler')
  assert.throws(() => writeFileSync(filler, Buffer.alloc(2 << 20)), { code: 'ENOSPC' })
  const big = aContext({ values: { padding: 'x'.repeat(300_000) } })

  assert.throws(() => journal.accept(aDelivery(aRequest('create'), { context: big })), {
    code: 'JOURNAL_UNAVAILABLE',
  })
  rmSync(filler)

  assert.deepEqual(journal.unfinished(), [])
  assert.equal(journal.accept(aDelivery(aRequest('create'))).kind, 'new')
})

test('the journal of an older agent goes on, with its jobs', () => {
  const folder = stateDir()
  const accepted = (() => {
    using journal = openJournal(folder)
    return journal.accept(aDelivery(aRequest('create')))
  })()
  assert.ok(accepted.kind === 'new')
  {
    using database = new DatabaseSync(path.join(folder, 'journal.sqlite'))
    database.exec('ALTER TABLE jobs DROP COLUMN device; ALTER TABLE jobs DROP COLUMN ending')
    database.exec('PRAGMA user_version = 1')
  }

  using journal = openJournal(folder)
  const device = aDevice({ kind: 'snapshot' })
  journal.update(accepted.job.id, { device })

  assert.deepEqual(journal.unfinished(), [{ ...accepted.job, device }])
})

test('the device of a job is not in clear in the journal: it may hold the secret of a target', () => {
  const folder = stateDir()
  {
    using journal = openJournal(folder)
    const accepted = journal.accept(aDelivery(aRequest('create')))
    assert.ok(accepted.kind === 'new')
    const object = { provider_auth: 'CHAP user s3cret-of-the-target' }
    journal.update(accepted.job.id, { device: aDevice({ object }) })
  }

  for (const name of readdirSync(folder)) {
    assert.ok(
      !readFileSync(path.join(folder, name), 'latin1').includes('s3cret-of-the-target'),
      name,
    )
  }
})
