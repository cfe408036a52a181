import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { memoryJournal } from '#src/adapters/journal/sqlite-journal.ts'
import type { BackupRecord } from '#src/domain/backup-record.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { Disposition, RpcRequest } from '#src/ports/rpc.ts'
import { aContext, aRecord } from './support/builders.ts'
import { ask, call, handlerBench } from './support/handler-bench.ts'

function accepted(disposition: Disposition): string {
  assert.ok(disposition.kind === 'accepted', disposition.kind)
  return disposition.jobId
}

test('a create becomes a job of the journal, with its arguments', async () => {
  const agent = handlerBench()
  const record = aRecord()

  const meta = { volume_meta: { version: 2 } }
  const disposition = await agent.handle(ask('create', record, { args: meta }))

  const [job] = agent.journal.unfinished()
  assert.deepEqual(disposition, { kind: 'accepted', jobId: job?.id, backupId: record.id })
  assert.equal(job?.request.volumeMeta, '{"version": 2}')
  assert.deepEqual(
    agent.runner.inHand(record.id).map(({ id }) => id),
    [job?.id],
  )
})

test('a restore has its target in the record, lower case, and is not of a new volume unless told', async () => {
  const agent = handlerBench()
  const record = agent.known()
  const volume_id = 'ABCDEF00-1111-4222-8333-444455556666'

  await agent.handle(ask('restore', record, { args: { volume_id } }))
  await agent.handle(ask('restore', record, { args: { volume_is_new: true } }))

  const [first, second] = agent.journal.unfinished().map(({ request }) => request)
  assert.equal(first?.targetVolumeId, volume_id.toLowerCase())
  assert.equal(first?.backup.record.restore_volume_id, volume_id.toLowerCase())
  assert.deepEqual([first?.volumeIsNew, second?.volumeIsNew], [false, true])
})

test('what a restore leaves out is filled in from the journal, which keeps what it had', async () => {
  const agent = handlerBench()
  const { id, volume_id, ...made } = agent.known({ display_name: 'nightly', metadata: { a: 'b' } })
  const backup = { id, volume_id, status: 'available' }

  await agent.handle(call('restore_backup', { backup, volume_id: randomUUID() }))

  const record = agent.journal.unfinished()[0]?.record
  assert.deepEqual({ ...record, restore_volume_id: null }, { id, volume_id, ...made })
})

const refusals: readonly [string, RpcRequest, object][] = [
  [
    'another version',
    call('create_backup', {}, { version: '2.5' }),
    {
      code: 'VERSION_UNSUPPORTED',
      message: 'Endpoint does not support RPC version 2.5. Attempted method: create_backup',
    },
  ],
  ['a namespace', call('create_backup', {}, { namespace: 'x' }), { code: 'VERSION_UNSUPPORTED' }],
  [
    'an unknown method',
    call('frobnicate', {}),
    { code: 'METHOD_UNKNOWN', message: 'Endpoint does not support RPC method frobnicate' },
  ],
  [
    'a private method',
    call('_secret', {}),
    { code: 'METHOD_UNKNOWN', message: 'Endpoint does not support RPC method _secret' },
  ],
  ['a method of every object', call('constructor', {}), { code: 'METHOD_UNKNOWN' }],
  [
    'a missing argument',
    call('restore_backup', { backup: {} }),
    {
      code: 'ARGUMENT_MISSING',
      message: "restore_backup() missing 1 required positional argument: 'volume_id'",
    },
  ],
  ['a backup that is none', call('delete_backup', { backup: 7 }), { code: 'ARGUMENT_INVALID' }],
  [
    'a target that is no uuid',
    ask('restore', aRecord({ status: 'available' }), { args: { volume_id: '../x' } }),
    { code: 'ARGUMENT_INVALID', message: 'volume_id must be a uuid, got "../x"' },
  ],
  [
    'a flag that is none',
    ask('restore', aRecord({ status: 'available' }), { args: { volume_is_new: 'yes' } }),
    { code: 'ARGUMENT_INVALID' },
  ],
  [
    'a status that does not fit',
    ask('create', aRecord({ status: 'available' })),
    { code: 'BACKUP_INVALID_STATE' },
  ],
  [
    "another project's backup",
    ask('delete', aRecord({ project_id: 'another' })),
    { code: 'PROJECT_MISMATCH' },
  ],
  [
    "another driver's backup",
    ask('delete', aRecord({ service: 'cinder.backup.drivers.ceph' })),
    { code: 'BACKUP_NOT_OURS' },
  ],
]

for (const [what, request, error] of refusals) {
  test(`${what} is refused, and nothing is taken in hand`, async () => {
    const agent = handlerBench()

    await assert.rejects(agent.handle(request), error)

    assert.deepEqual(agent.journal.unfinished(), [])
  })
}

test('a refusal is told by one .error event, which leaves the record as it was', async () => {
  const agent = handlerBench()
  const record = agent.known()
  const request = ask('create', { ...record, status: 'error' })

  await assert.rejects(agent.handle(request), { code: 'BACKUP_INVALID_STATE' })
  await assert.rejects(agent.handle({ ...request, redelivered: true }), {
    code: 'BACKUP_INVALID_STATE',
  })

  const [event, ...others] = agent.events()
  assert.deepEqual(others, [])
  assert.equal(event?.eventType, 'backup.create.error')
  assert.equal(event?.payload['code'], 'BACKUP_INVALID_STATE')
  assert.equal(event?.payload['status'], 'available')
  assert.deepEqual(agent.journal.record(record.id), record)
})

test('a refusal of what names no backup has no event', async () => {
  const agent = handlerBench()

  await assert.rejects(agent.handle(call('create_backup', { backup: { id: 'x' } })), {
    code: 'ARGUMENT_INVALID',
  })

  assert.deepEqual(agent.events(), [])
})

test('the same delivery again is one job, and whoever missed the answer gets it', async () => {
  const agent = handlerBench()
  const request = ask('create', aRecord())

  const first = accepted(await agent.handle(request))
  const second = accepted(await agent.handle({ ...request, redelivered: true }))

  assert.equal(second, first)
  assert.equal(agent.runner.count, 1)
})

test('another request for work in hand joins it; one for a delete that failed runs anew', async () => {
  const agent = handlerBench()
  const record = agent.known()

  const first = accepted(await agent.handle(ask('delete', record)))
  assert.equal(accepted(await agent.handle(ask('delete', record))), first)
  const failed = { kind: 'failed', code: 'STORE_UNAVAILABLE', message: 'away' } as const
  agent.journal.end(first, failed, { ...record, status: 'error' }, [])
  const bare = aRecord({ id: record.id, volume_id: record.volume_id, status: 'deleting' })
  const again = accepted(await agent.handle(ask('delete', bare)))

  assert.notEqual(again, first)
  const job = agent.journal.unfinished().find(({ id }) => id === again)
  assert.equal(job?.record.service_metadata, record.service_metadata)
})

const crossings = [
  ['restore', 'delete', /cannot restore backup \S+: its delete is in hand here; ask again/],
  ['create', 'delete', /cannot create backup \S+: its delete is in hand here; ask again/],
  ['restore', 'create', /cannot restore backup \S+: its create is in hand here; ask again/],
] as const

for (const [asked, running, message] of crossings) {
  test(`a ${asked} is refused while the ${running} of its backup is in hand`, async () => {
    const agent = handlerBench()
    const record = aRecord()
    const status = { create: 'creating', restore: 'available', delete: 'deleting' } as const
    await agent.handle(ask(running, { ...record, status: status[running] }))

    const crossing = ask(asked, { ...record, status: status[asked] })

    await assert.rejects(agent.handle(crossing), { code: 'BACKUP_INVALID_STATE', message })
  })
}

for (const parentOperation of ['delete', 'create'] as const) {
  test(`nothing is built on a backup whose ${parentOperation} is in hand`, async () => {
    const agent = handlerBench()
    const parent = aRecord()
    await agent.handle(ask(parentOperation, parent))
    const refused = {
      code: 'BACKUP_INVALID_STATE',
      message: new RegExp(`the ${parentOperation} of backup ${parent.id}, on which it builds, is`),
    }
    const child = aRecord({ parent_id: parent.id })
    const grandchild = aRecord({ parent_id: child.id })

    await assert.rejects(agent.handle(ask('create', child)), refused)
    await assert.rejects(
      agent.handle(ask('create', grandchild, { parent: { ...child, status: 'available' } })),
      refused,
    )
    await assert.rejects(agent.handle(ask('restore', { ...child, status: 'available' })), refused)
  })
}

test('a backup is not deleted while another in hand builds on it, unless that one is cancelled', async () => {
  const agent = handlerBench()
  const parent = agent.known()
  const child = aRecord({ parent_id: parent.id })
  await agent.handle(ask('create', child))

  await assert.rejects(agent.handle(ask('delete', parent)), {
    code: 'BACKUP_INVALID_STATE',
    message: `cannot delete backup ${parent.id}: the create of backup ${child.id}, which builds on it, is in hand here; ask again when that has ended`,
  })
  await agent.handle(ask('delete', child))

  accepted(await agent.handle(ask('delete', parent)))
})

test('a create of a backup that is there since long is refused: it would replace a good one', async () => {
  const agent = handlerBench()
  const record = agent.known()
  agent.journal.forgetOld(Number.MAX_SAFE_INTEGER)

  await assert.rejects(agent.handle(ask('create', { ...record, status: 'creating' })), {
    code: 'BACKUP_INVALID_STATE',
    message: /is available already; delete it first/,
  })

  assert.equal(agent.journal.record(record.id)?.status, 'available')
  assert.equal(agent.events().length, 1)
})

test('a cancel by the shared topic goes to the host that has the backup, once', async () => {
  const agent = handlerBench()
  const record = aRecord({ host: 'host-2' })

  const disposition = await agent.handle(ask('delete', record))

  assert.deepEqual(disposition, { kind: 'ignored' })
  assert.deepEqual(agent.journal.unfinished(), [])
  const [cast] = agent.publisher.casts
  assert.equal(cast?.to, 'cinder-backup.host-2')
  assert.equal(cast?.method, 'delete_backup')
  assert.equal(cast?.args['passed_on'], true)
})

const doneHere: readonly [string, Partial<BackupRecord>, Partial<RpcRequest>][] = [
  ['was sent to this host', { host: 'host-2' }, { source: 'server' }],
  ['was passed on already', { host: 'host-2' }, { args: { passed_on: true } }],
  ['is of this host', { host: 'host-1' }, {}],
  ['names no host', { host: null }, {}],
  ['is of a backup that is made', { host: 'host-2', status: 'available' }, {}],
]

for (const [what, fields, request] of doneHere) {
  test(`a delete that ${what} is done here`, async () => {
    const agent = handlerBench()

    accepted(await agent.handle(ask('delete', aRecord(fields), request)))

    assert.deepEqual(agent.publisher.casts, [])
  })
}

test('a cancel whose host takes no messages is done here', async () => {
  const publisher = { cast: async () => false }
  const agent = handlerBench({ publisher })

  accepted(await agent.handle(ask('delete', aRecord({ host: 'host-2' }))))
})

test('an unknown argument is told of, cut short, and ignored', async () => {
  const agent = handlerBench()

  accepted(await agent.handle(ask('create', aRecord(), { args: { ['x'.repeat(5000)]: 1 } })))

  const [line] = agent.log.lines.filter(({ level }) => level === 'warn')
  assert.equal(line?.message, 'unknown arguments ignored')
  assert.ok(JSON.stringify(line?.fields).length < 200)
})

test('names of methods and versions are cut short in what is told of them', async () => {
  const { handle } = handlerBench()
  const long = 'x'.repeat(100_000)
  const short = (error: Error) => error.message.length < 300

  await assert.rejects(handle(call(long, {})), short)
  await assert.rejects(handle(call('create_backup', {}, { version: long })), short)
})

test('a journal that cannot be written refuses nothing: the delivery is put back', async () => {
  const journal = memoryJournal()
  const full = (): never => {
    throw new AgentError('JOURNAL_UNAVAILABLE', 'database or disk is full')
  }
  const agent = handlerBench({ journal: { ...journal, accept: full, refuse: full } })

  await assert.rejects(agent.handle(ask('create', aRecord())), { code: 'JOURNAL_UNAVAILABLE' })
  await assert.rejects(agent.handle(ask('create', aRecord({ status: 'error' }))), {
    code: 'JOURNAL_UNAVAILABLE',
  })
})

test('a request that cannot be looked at while the agent stops is put back', async () => {
  const stop = AbortSignal.abort(new AgentError('AGENT_STOPPING', 'made up'))
  const cast = async () => {
    throw stop.reason
  }
  const agent = handlerBench({ signal: stop, publisher: { cast } })

  await assert.rejects(agent.handle(ask('delete', aRecord({ host: 'host-2' }))), {
    code: 'AGENT_STOPPING',
  })

  assert.deepEqual(agent.events(), [])
})

test('a token that comes with a request is hidden from the log before anything is done', async () => {
  const agent = handlerBench()
  const hiding = handlerBench({ hideSecret: agent.log.addSecret })
  const context = aContext({ authToken: 'canary-value-of-a-token' })

  await hiding.handle(call('check_support_to_force_delete', {}, { context }))
  agent.log.info('something says canary-value-of-a-token aloud')

  assert.ok(!JSON.stringify(agent.log.lines).includes('canary-value'))
})

test('a token that no header could carry is refused, and not kept to be hidden', async () => {
  const hidden: string[] = []
  const agent = handlerBench({ hideSecret: (value) => void hidden.push(value) })
  const asking = (authToken: string) =>
    agent.handle(call('check_support_to_force_delete', {}, { context: aContext({ authToken }) }))

  await assert.rejects(asking('t'.repeat(16_385)), { code: 'ARGUMENT_INVALID', message: /16385/ })
  await asking('t'.repeat(16_384))
  assert.deepEqual(hidden, ['t'.repeat(16_384)])
})

test('a refusal tells nobody a secret', async () => {
  const agent = handlerBench({ maskSecrets: (text) => text.replaceAll('s3cret', '***') })
  const backup = { ...aRecord(), id: 's3cret' }

  await assert.rejects(agent.handle(call('create_backup', { backup })), (error: Error) => {
    assert.match(error.message, /backup\.id is not a UUID: "\*\*\*"/)
    return true
  })
})
