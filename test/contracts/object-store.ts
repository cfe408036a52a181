import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'

import { AgentError } from '#src/domain/errors.ts'
import type { ObjectEntry, ObjectSink, ObjectStore, StreamedBody } from '#src/ports/object-store.ts'
import { testStoreNames } from './object-store-names.ts'

/** A store to try, and a container of its own that may be made there. */
export type StoreFixture = { readonly store: ObjectStore; readonly container: string }

/** A sink that keeps what it gets, and how often it was begun. */
export function collectingSink() {
  let pieces: Buffer[] = []
  let starts = 0
  const sink: ObjectSink = {
    start: () => {
      pieces = []
      starts += 1
    },
    write: (piece) => {
      pieces.push(Buffer.from(piece))
    },
  }
  return { ...sink, bytes: () => Buffer.concat(pieces), starts: () => starts }
}

/** A body of `pieces`, which counts how often it was opened and how many of its readers ended. */
export function streamedBody(pieces: readonly Uint8Array[], failure?: Error) {
  const sizeBytes = pieces.reduce((sum, piece) => sum + piece.byteLength, 0)
  const counts = { opened: 0, ended: 0 }
  const body: StreamedBody = {
    sizeBytes,
    open: async function* () {
      counts.opened += 1
      try {
        for (const piece of pieces) yield piece
        if (failure !== undefined) throw failure
      } finally {
        counts.ended += 1
      }
    },
  }
  return { body, counts }
}

export async function listAll(
  store: ObjectStore,
  container: string,
  prefix: string,
  signal: AbortSignal,
): Promise<readonly ObjectEntry[]> {
  const all: ObjectEntry[] = []
  for (let after = ''; ; ) {
    const page = await store.listPage(container, prefix, after, signal)
    const last = page.at(-1)
    if (last === undefined) return all
    all.push(...page)
    after = last.name
  }
}

/** What every ObjectStore must do. Each adapter's test file calls this with its own factory. */
export function testObjectStore(
  adapter: string,
  open: (t: TestContext) => Promise<StoreFixture>,
): void {
  const signal = AbortSignal.timeout(120_000)
  const opened = async (t: TestContext) => {
    const { store, container } = await open(t)
    await store.ensureContainer(container, signal)
    return { store, container, id: (name: string) => ({ container, name }) }
  }

  for (const sizeBytes of [0, 1, 65_536, 3 * 1024 * 1024 + 7]) {
    test(`${adapter}: an object of ${sizeBytes} bytes reads back as it was written`, async (t) => {
      const { store, id } = await opened(t)
      const body = randomBytes(sizeBytes)
      const sink = collectingSink()

      const written = await store.putObject(id('a-00001'), body, signal)
      const read = await store.getObject(id('a-00001'), sink, signal)

      assert.deepEqual(written, { sizeBytes, md5: hash('md5', body) })
      assert.deepEqual(read, written)
      assert.ok(sink.bytes().equals(body))
      assert.equal(sink.starts(), 1)
    })

    test(`${adapter}: ${sizeBytes} bytes of known md5 read back undigested`, async (t) => {
      const { store, id } = await opened(t)
      const bytes = randomBytes(sizeBytes)
      const sink = collectingSink()

      const written = await store.putObject(id('a'), { bytes, md5: hash('md5', bytes) }, signal)
      const read = await store.getUndigested(id('a'), sink, signal)

      assert.deepEqual(written, { sizeBytes, md5: hash('md5', bytes) })
      assert.equal(read, sizeBytes)
      assert.ok(sink.bytes().equals(bytes))
      assert.equal(sink.starts(), 1)
    })
  }

  test(`${adapter}: a streamed body reads back as it was written`, async (t) => {
    const { store, id } = await opened(t)
    const pieces = [randomBytes(1), randomBytes(2_000_000), randomBytes(70_000)]
    const { body, counts } = streamedBody(pieces)
    const sink = collectingSink()

    const written = await store.putObject(id('a_sha256file'), body, signal)
    await store.getObject(id('a_sha256file'), sink, signal)

    assert.ok(sink.bytes().equals(Buffer.concat(pieces)))
    assert.equal(written.md5, hash('md5', sink.bytes()))
    assert.equal(written.sizeBytes, body.sizeBytes)
    assert.deepEqual(counts, { opened: 1, ended: 1 })
  })

  test(`${adapter}: a streamed body of no bytes is an empty object`, async (t) => {
    const { store, id } = await opened(t)
    const sink = collectingSink()

    await store.putObject(id('empty'), streamedBody([]).body, signal)
    const read = await store.getObject(id('empty'), sink, signal)

    assert.equal(read.sizeBytes, 0)
    assert.equal(sink.starts(), 1)
  })

  test(`${adapter}: a streamed body that fails leaves no object and passes its failure on`, async (t) => {
    const { store, container, id } = await opened(t)
    const failure = new AgentError('JOURNAL_UNAVAILABLE', 'the spool is full')
    const { body, counts } = streamedBody([randomBytes(100_000)], failure)
    const longer = { ...body, sizeBytes: 200_000 }

    const thrown = await store.putObject(id('broken'), longer, signal).catch((error) => error)

    assert.equal(thrown, failure)
    assert.deepEqual(await store.listPage(container, '', '', signal), [])
    assert.equal(counts.ended, counts.opened)
  })

  test(`${adapter}: writing again replaces`, async (t) => {
    const { store, container, id } = await opened(t)
    const sink = collectingSink()
    await store.putObject(id('a'), Buffer.from('first, and longer'), signal)

    await store.putObject(id('a'), Buffer.from('second'), signal)
    await store.getObject(id('a'), sink, signal)

    assert.equal(sink.bytes().toString(), 'second')
    assert.equal((await store.listPage(container, '', '', signal)).length, 1)
  })

  test(`${adapter}: reading a missing object says OBJECT_NOT_FOUND and begins nothing`, async (t) => {
    const { store, id } = await opened(t)
    const sink = collectingSink()

    const missing = { code: 'OBJECT_NOT_FOUND' }
    await assert.rejects(store.getObject(id('missing'), sink, signal), missing)
    await assert.rejects(store.getUndigested(id('missing'), sink, signal), missing)
    assert.equal(sink.starts(), 0)
  })

  test(`${adapter}: writing to a missing container says CONTAINER_NOT_FOUND`, async (t) => {
    const { store } = await opened(t)
    const id = { container: `missing-${randomBytes(6).toString('hex')}`, name: 'a' }
    const { body, counts } = streamedBody([Buffer.from('abc')])

    await assert.rejects(store.putObject(id, Buffer.from('abc'), signal), {
      code: 'CONTAINER_NOT_FOUND',
    })
    await assert.rejects(store.putObject(id, body, signal), { code: 'CONTAINER_NOT_FOUND' })
    assert.equal(counts.ended, counts.opened)
  })

  test(`${adapter}: a missing container lists as empty and is no obstacle to a delete`, async (t) => {
    const { store } = await opened(t)
    const container = `missing-${randomBytes(6).toString('hex')}`

    assert.deepEqual(await store.listPage(container, '', '', signal), [])
    await store.deleteObject({ container, name: 'a' }, signal)
  })

  test(`${adapter}: a container may be asked for twice, and by two at once`, async (t) => {
    const { store, container, id } = await opened(t)
    await store.putObject(id('a'), Buffer.from('kept'), signal)

    await Promise.all([
      store.ensureContainer(container, signal),
      store.ensureContainer(container, signal),
    ])

    assert.equal((await store.listPage(container, '', '', signal)).length, 1)
  })

  test(`${adapter}: deleting is complete and may be repeated`, async (t) => {
    const { store, container, id } = await opened(t)
    await store.putObject(id('a'), Buffer.from('abc'), signal)

    await store.deleteObject(id('a'), signal)
    await store.deleteObject(id('a'), signal)

    assert.deepEqual(await store.listPage(container, '', '', signal), [])
    await assert.rejects(store.getObject(id('a'), collectingSink(), signal), {
      code: 'OBJECT_NOT_FOUND',
    })
  })

  test(`${adapter}: a listing has the names of the prefix in order, with their sizes`, async (t) => {
    const { store, container, id } = await opened(t)
    const names = ['b-00002', 'a-00001', 'b_metadata', 'b-00001', 'b-00010', 'c']
    for (const name of names) await store.putObject(id(name), Buffer.from(name), signal)

    const listed = await listAll(store, container, 'b', signal)

    assert.deepEqual(
      listed.map(({ name }) => name),
      ['b-00001', 'b-00002', 'b-00010', 'b_metadata'],
    )
    for (const { name, sizeBytes, md5 } of listed) {
      assert.equal(sizeBytes, name.length)
      assert.ok(md5 === null || md5 === hash('md5', name))
    }
  })

  test(`${adapter}: a page begins after the name that is given`, async (t) => {
    const { store, container, id } = await opened(t)
    for (const name of ['a-1', 'a-2', 'a-3']) await store.putObject(id(name), Buffer.of(1), signal)

    const page = await store.listPage(container, 'a-', 'a-1', signal)

    assert.deepEqual(
      page.map(({ name }) => name),
      ['a-2', 'a-3'],
    )
    assert.deepEqual(await store.listPage(container, 'a-', 'a-3', signal), [])
  })

  test(`${adapter}: names of all printable kinds keep themselves`, async (t) => {
    const { store, container, id } = await opened(t)
    const names = [' #%25&+?=', 'a b', 'é"\\\'', '…日本', '~!*()']
    for (const name of names) await store.putObject(id(name), Buffer.from(name), signal)

    const listed = await listAll(store, container, '', signal)
    const sink = collectingSink()
    await store.getObject(id(' #%25&+?='), sink, signal)

    assert.deepEqual(listed.map(({ name }) => name).sort(), [...names].sort())
    assert.equal(sink.bytes().toString(), ' #%25&+?=')
  })

  testStoreNames(adapter, opened)

  test(`${adapter}: a sink's rejection passes through unchanged`, async (t) => {
    const { store, id } = await opened(t)
    await store.putObject(id('a'), randomBytes(300_000), signal)
    const own = Object.assign(new Error('the target is full'), { code: 'ENOSPC', syscall: 'write' })

    for (const broken of [
      { start: () => Promise.reject(own), write: () => {} },
      { start: () => {}, write: () => Promise.reject(own) },
      {
        start: () => {},
        write: () => {
          throw own
        },
      },
    ]) {
      assert.equal(await store.getObject(id('a'), broken, signal).catch((error) => error), own)
      assert.equal(await store.getUndigested(id('a'), broken, signal).catch((e) => e), own)
    }
  })

  test(`${adapter}: a slow sink gets one piece at a time, in order`, async (t) => {
    const { store, id } = await opened(t)
    const body = randomBytes(1_000_000)
    await store.putObject(id('a'), body, signal)
    const pieces: Buffer[] = []
    let writing = 0
    const slow: ObjectSink = {
      start: async () => {},
      write: async (piece) => {
        writing += 1
        assert.equal(writing, 1)
        const before = Buffer.from(piece)
        await new Promise((resolve) => setImmediate(resolve))
        assert.ok(before.equals(piece), 'the piece changed while it was in use')
        pieces.push(before)
        writing -= 1
      },
    }

    for (const get of [store.getObject, store.getUndigested]) {
      await get(id('a'), slow, signal)
      assert.ok(Buffer.concat(pieces.splice(0)).equals(body))
    }
  })

  test(`${adapter}: an abort rejects every call with the signal's reason`, async (t) => {
    const { store, container, id } = await opened(t)
    const reason = new AgentError('AGENT_STOPPING', 'stopping')
    const aborted = AbortSignal.abort(reason)

    const calls: (() => Promise<unknown>)[] = [
      () => store.ensureContainer(container, aborted),
      () => store.putObject(id('a'), Buffer.of(1), aborted),
      () => store.putObject(id('a'), streamedBody([Buffer.of(1)]).body, aborted),
      () => store.getObject(id('a'), collectingSink(), aborted),
      () => store.getUndigested(id('a'), collectingSink(), aborted),
      () => store.bulkDeletesMax(aborted),
      () => store.deleteObjects(container, ['a'], aborted),
      () => store.listPage(container, '', '', aborted),
      () => store.deleteObject(id('a'), aborted),
      () => store.limits(aborted),
    ]
    for (const call of calls) {
      assert.equal(await call().catch((error) => error), reason)
    }
    assert.deepEqual(await store.listPage(container, '', '', signal), [])
  })

  test(`${adapter}: an abort in the middle of a read or a write leaves nothing behind`, async (t) => {
    const { store, container, id } = await opened(t)
    await store.putObject(id('a'), randomBytes(2_000_000), signal)
    const reason = new AgentError('OPERATION_CANCELLED', 'cancelled')
    const [reading, undigested] = [new AbortController(), new AbortController()]
    const writing = new AbortController()
    const { body, counts } = streamedBody([randomBytes(70_000), randomBytes(70_000)])
    const stopping = {
      sizeBytes: body.sizeBytes,
      open: async function* () {
        for await (const piece of body.open()) {
          yield piece
          writing.abort(reason)
        }
      },
    }

    const sink = { start: () => {}, write: () => reading.abort(reason) }
    assert.equal(
      await store.getObject(id('a'), sink, reading.signal).catch((error) => error),
      reason,
    )
    const other = { start: () => {}, write: () => undigested.abort(reason) }
    assert.equal(
      await store.getUndigested(id('a'), other, undigested.signal).catch((error) => error),
      reason,
    )
    assert.equal(
      await store.putObject(id('b'), stopping, writing.signal).catch((error) => error),
      reason,
    )

    assert.equal(counts.ended, counts.opened)
    const left = await store.listPage(container, '', '', signal)
    assert.deepEqual(
      left.map(({ name }) => name),
      ['a'],
    )
  })

  test(`${adapter}: the limits are stated`, async (t) => {
    const { store } = await opened(t)

    const limits = await store.limits(signal)

    assert.ok(limits.objectBytesMax >= 5 * 1024 ** 3)
    assert.ok(limits.containerNameBytesMax >= 200)
  })
}
