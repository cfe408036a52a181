import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Ending, Job } from '#src/domain/job.ts'
import type { Acceptance, Journal, Outbox } from '#src/ports/journal.ts'
import type { ReplyAddress } from '#src/ports/rpc.ts'
import { aContext, aDelivery, aDevice, anEvent, aRecord, aRequest } from '../support/builders.ts'

type Opened = Journal & Outbox & Disposable

const caller: ReplyAddress = { kind: 'oslo', queue: 'reply_1', msgId: 'm1', monitorSeconds: null }

function jobOf(acceptance: Acceptance): Job {
  if (acceptance.kind !== 'new') throw new Error(`expected a new job, got ${acceptance.kind}`)
  return acceptance.job
}

/** What every Journal must do. Each adapter's test file calls this with its own factory. */
export function testJournal(adapter: string, open: () => Opened): void {
  test(`${adapter}: an accepted delivery is an unfinished job with its token`, () => {
    using journal = open()
    const context = aContext({ authToken: 'a secret' })

    const job = jobOf(journal.accept(aDelivery(aRequest('create'), { context })))

    assert.deepEqual(journal.unfinished(), [job])
    assert.equal(journal.unfinished()[0]?.context.authToken, 'a secret')
  })

  test(`${adapter}: the same delivery twice is one job`, () => {
    using journal = open()
    const delivery = aDelivery(aRequest('create'))

    const { id: jobId } = jobOf(journal.accept(delivery))

    assert.deepEqual(journal.accept(delivery), { kind: 'repeated', jobId })
    assert.equal(journal.unfinished().length, 1)
  })

  test(`${adapter}: a digest makes a repetition only where the broker redelivers`, () => {
    using journal = open()
    const request = aRequest('create')
    const key = 'sha256:aa'
    journal.accept(aDelivery(request, { id: { key, identifies: false } }))

    const again = journal.accept(aDelivery(request, { id: { key, identifies: false } }))
    const redelivered = journal.accept(aDelivery(request, { id: { key, identifies: true } }))

    assert.equal(again.kind, 'joined')
    assert.equal(redelivered.kind, 'repeated')
  })

  test(`${adapter}: another request for work in hand joins it, and both callers are answered`, () => {
    using journal = open()
    const request = aRequest('create')
    const other = { ...caller, msgId: 'm2' }
    const job = jobOf(journal.accept(aDelivery(request, { replyTo: caller })))

    const second = journal.accept(aDelivery(request, { replyTo: other }))
    journal.end(job.id, { kind: 'done' }, aRecord(), [])

    assert.equal(second.kind, 'joined')
    assert.deepEqual(
      journal.replies().map(({ replyTo, outcome }) => [replyTo, outcome.kind]),
      [
        [caller, 'done'],
        [other, 'done'],
      ],
    )
  })

  test(`${adapter}: a create that ended well is not run again, its final event goes out again`, () => {
    using journal = open()
    const record = aRecord()
    const request = aRequest('create', record)
    const job = jobOf(journal.accept(aDelivery(request)))
    const end = anEvent('backup.create.end')
    journal.end(job.id, { kind: 'done' }, { ...record, status: 'available' }, [end])
    for (const { position } of journal.events(9)) journal.eventSent(position)

    const again = journal.accept(aDelivery(request, { replyTo: caller }))

    assert.deepEqual(again, { kind: 'ended-well', jobId: job.id })
    assert.deepEqual(
      journal.events(9).map(({ notification }) => notification),
      [end],
    )
    assert.equal(journal.replies()[0]?.outcome.kind, 'done')
    assert.deepEqual(journal.unfinished(), [])
  })

  test(`${adapter}: what ended well runs anew where others know that it is to be done once more`, () => {
    using journal = open()
    const record = aRecord()
    const request = aRequest('delete', record)
    const job = jobOf(journal.accept(aDelivery(request)))
    journal.end(job.id, { kind: 'done' }, { ...record, status: 'deleted' }, [])

    assert.equal(journal.accept(aDelivery(request)).kind, 'ended-well')
    assert.equal(journal.accept(aDelivery(request, { isAnew: true })).kind, 'new')
    assert.equal(journal.accept(aDelivery(request, { isAnew: true })).kind, 'joined')
  })

  test(`${adapter}: what ended in error runs anew, and so does a restore that ended well`, () => {
    using journal = open()
    const record = aRecord()
    for (const operation of ['create', 'delete', 'restore'] as const) {
      const request = aRequest(operation, record)
      const job = jobOf(journal.accept(aDelivery(request)))
      const outcome =
        operation === 'restore'
          ? ({ kind: 'done' } as const)
          : ({ kind: 'failed', code: 'STORE_UNAVAILABLE', message: 'down' } as const)
      journal.end(job.id, outcome, { ...record, status: 'error' }, [])

      assert.equal(journal.accept(aDelivery(request)).kind, 'new', operation)
    }
  })

  test(`${adapter}: a create runs anew after its backup was deleted`, () => {
    using journal = open()
    const record = aRecord()
    const create = aRequest('create', record)
    const made = jobOf(journal.accept(aDelivery(create)))
    journal.end(made.id, { kind: 'done' }, { ...record, status: 'available' }, [])
    const deleted = jobOf(journal.accept(aDelivery(aRequest('delete', record))))
    journal.end(deleted.id, { kind: 'done' }, { ...record, status: 'deleted' }, [])

    assert.equal(journal.accept(aDelivery(create)).kind, 'new')
  })

  test(`${adapter}: the device of a job and the end it is about to have are kept until it has ended`, () => {
    using journal = open()
    const record = aRecord()
    const job = jobOf(journal.accept(aDelivery(aRequest('create', record))))
    const device = aDevice({ object: { provider_auth: 'CHAP user s3cret' } })
    const ending: Ending = {
      ...{ outcome: { kind: 'done' }, record, kept: record },
      ...{ extra: { volume_meta: null }, error: null },
    }

    journal.update(job.id, { device })
    journal.update(job.id, { ending })

    assert.deepEqual(journal.unfinished(), [{ ...job, device, ending }])
    journal.end(job.id, ending.outcome, record, [])
    assert.deepEqual(journal.unfinished(), [])
  })

  test(`${adapter}: what is temporary of a backup is known until it is cleared`, () => {
    using journal = open()
    const record = aRecord({ temp_snapshot_id: '3b3b9cc0-5a8c-4b4e-8b0e-9a44b5fe2a11' })
    const made = jobOf(journal.accept(aDelivery(aRequest('create', record))))
    const other = jobOf(journal.accept(aDelivery(aRequest('create'))))
    journal.end(made.id, { kind: 'done' }, record, [])
    journal.end(other.id, { kind: 'done' }, other.record, [])

    assert.deepEqual(journal.leftovers(), [record])
    journal.cleared(record.id)

    assert.deepEqual(journal.leftovers(), [])
    assert.deepEqual(journal.record(record.id), { ...record, temp_snapshot_id: null })
  })

  test(`${adapter}: restores of one backup onto two volumes are two jobs`, () => {
    using journal = open()
    const record = aRecord({ status: 'available' })

    const first = journal.accept(aDelivery(aRequest('restore', record)))
    const second = journal.accept(aDelivery(aRequest('restore', record)))

    assert.deepEqual([first.kind, second.kind], ['new', 'new'])
  })

  test(`${adapter}: jobs keep the order of their acceptance`, () => {
    using journal = open()
    const jobs = [1, 2, 3].map(() => jobOf(journal.accept(aDelivery(aRequest('create')))))

    assert.deepEqual(
      journal.unfinished().map(({ id }) => id),
      jobs.map(({ id }) => id),
    )
  })

  test(`${adapter}: starts count until the job gets further, and a stop in order does not count`, () => {
    using journal = open()
    const { id } = jobOf(journal.accept(aDelivery(aRequest('create'))))
    const starts = () => journal.unfinished()[0]?.starts

    journal.begin(id, anEvent('backup.create.start'))
    assert.equal(journal.begin(id, null).starts, 2)
    journal.update(id, { highWaterBytes: 100 })
    assert.equal(starts(), 0)
    journal.begin(id, null)
    journal.begin(id, null)
    journal.update(id, { highWaterBytes: 100 }) // No further than before.
    assert.equal(starts(), 2)
    journal.update(id, { stoppedInOrder: true })
    assert.equal(starts(), 1)
    assert.equal(journal.events(9).length, 1)
  })

  test(`${adapter}: a record is what the last change made of it`, () => {
    using journal = open()
    const record = aRecord()
    const job = jobOf(journal.accept(aDelivery(aRequest('create', record))))
    assert.equal(journal.record(record.id), null)

    journal.update(job.id, { record: { ...record, container: 'c' } })
    assert.equal(journal.record(record.id)?.container, 'c')
    assert.equal(journal.unfinished()[0]?.record.container, 'c')

    journal.end(job.id, { kind: 'done' }, { ...record, status: 'available' }, [])
    assert.equal(journal.record(record.id)?.status, 'available')
  })

  test(`${adapter}: a job ends once`, () => {
    using journal = open()
    const { id } = jobOf(journal.accept(aDelivery(aRequest('create'))))
    journal.end(id, { kind: 'done' }, aRecord(), [anEvent('backup.create.end')])

    assert.throws(() => journal.end(id, { kind: 'done' }, aRecord(), [anEvent('again')]), {
      code: 'ASSERTION_FAILED',
    })
    assert.equal(journal.events(9).length, 1)
  })

  test(`${adapter}: a refusal is told once`, () => {
    using journal = open()
    const id = { key: 'u1', identifies: true }

    assert.equal(journal.refuse(id, anEvent('backup.create.error')), true)
    assert.equal(journal.refuse(id, anEvent('backup.create.error')), true)
    assert.equal(journal.events(9).length, 1)
    const acceptance = journal.accept(aDelivery(aRequest('create'), { id }))
    assert.deepEqual(acceptance, { kind: 'repeated', jobId: null })
  })

  test(`${adapter}: what was accepted cannot be refused when it is delivered again`, () => {
    using journal = open()
    const delivery = aDelivery(aRequest('create'))
    journal.accept(delivery)

    assert.equal(journal.refuse(delivery.id, anEvent('backup.create.error')), false)
    assert.deepEqual(journal.events(9), [])
  })

  test(`${adapter}: a job gets the newer token of a request that joins it, of its project only`, () => {
    using journal = open()
    const request = aRequest('create')
    const catalogOf = (url: string) => [
      { type: 'object-store', name: null, endpoints: [{ publicURL: url }] },
    ]
    const [old, fresh] = [catalogOf('http://old'), catalogOf('http://fresh')]
    const first = aContext({ authToken: 'dead', serviceCatalog: old })
    const job = jobOf(journal.accept(aDelivery(request, { context: first })))
    const join = (fields: Partial<typeof first>) => {
      const context = aContext({ serviceCatalog: fresh, ...fields })
      return journal.accept(aDelivery(request, { context }))
    }

    join({ authToken: 'foreign', projectId: 'another' })
    join({ authToken: null })
    assert.equal(journal.unfinished()[0]?.context.authToken, 'dead')
    const joined = join({ authToken: 'alive' })

    const context = { ...first, authToken: 'alive', serviceCatalog: fresh }
    assert.ok(joined.kind === 'joined')
    assert.deepEqual(joined.job.context, context)
    assert.deepEqual(journal.begin(job.id, null).context, context)
  })

  test(`${adapter}: a create of a backup that is there, whose making is forgotten, changes nothing`, () => {
    using journal = open()
    const record = aRecord()
    const request = aRequest('create', record)
    const job = jobOf(journal.accept(aDelivery(request)))
    journal.end(job.id, { kind: 'done' }, { ...record, status: 'available' }, [])
    journal.forgetOld(Number.MAX_SAFE_INTEGER)
    const delivery = aDelivery(request)

    assert.deepEqual(journal.accept(delivery), { kind: 'exists' })

    assert.deepEqual(journal.unfinished(), [])
    assert.equal(journal.refuse(delivery.id, anEvent('backup.create.error')), true)
    assert.equal(journal.events(9).length, 1)
  })

  test(`${adapter}: events come in order and stay until they are sent; news is announced`, () => {
    using journal = open()
    let announcements = 0
    journal.onEntry(() => {
      announcements += 1
    })
    const job = jobOf(journal.accept(aDelivery(aRequest('create'))))
    journal.begin(job.id, anEvent('backup.create.start'))
    journal.end(job.id, { kind: 'done' }, aRecord(), [anEvent('backup.create.end')])

    const types = () => journal.events(9).map(({ notification }) => notification.eventType)
    assert.deepEqual(types(), ['backup.create.start', 'backup.create.end'])
    journal.eventSent(journal.events(1)[0]?.position ?? -1)
    assert.deepEqual(types(), ['backup.create.end'])
    assert.ok(announcements >= 2)
  })

  test(`${adapter}: sequence numbers rise from 1 and are never given twice`, () => {
    using journal = open()
    const { id } = jobOf(journal.accept(aDelivery(aRequest('create'))))

    const numbers = Array.from({ length: 2500 }, () => journal.nextSequence(id))

    assert.equal(numbers[0], 1)
    assert.ok(numbers.every((number, index) => index === 0 || number > (numbers[index - 1] ?? 0)))
  })

  test(`${adapter}: what ended long ago is forgotten, records of backups that exist are not`, () => {
    using journal = open()
    const kept = aRecord({ status: 'available' })
    const request = aRequest('create', kept)
    const delivery = aDelivery(request)
    const job = jobOf(journal.accept(delivery))
    journal.end(job.id, { kind: 'done' }, kept, [])
    const gone = aRecord()
    const deleted = jobOf(journal.accept(aDelivery(aRequest('delete', gone))))
    journal.end(deleted.id, { kind: 'done' }, { ...gone, status: 'deleted' }, [])

    journal.forgetOld(Number.MAX_SAFE_INTEGER)

    assert.equal(journal.record(kept.id)?.status, 'available')
    assert.equal(journal.record(gone.id), null)
    assert.notEqual(journal.accept(delivery).kind, 'repeated')
  })
}
