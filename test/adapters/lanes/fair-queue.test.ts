import assert from 'node:assert/strict'
import { test } from 'node:test'

import { type FairQueue, fairQueue, type QueuePlace } from '#src/adapters/lanes/fair-queue.ts'

type Item = { readonly job: string; readonly bytes: number }

const any = () => true

/** A job that always has more of the same to do. */
function endlessJob(queue: FairQueue<Item>, job: string, project: string, bytes: number) {
  const place = queue.join({ project, rank: 1 })
  place.add({ job, bytes })
  return { job, project, place, bytes, served: 0 }
}

type EndlessJob = ReturnType<typeof endlessJob>

/** Takes `times` items, each job adding its next one as soon as it is served. */
function serve(queue: FairQueue<Item>, jobs: readonly EndlessJob[], times: number): void {
  for (let time = 0; time < times; time += 1) {
    const item = queue.take(any)
    const job = jobs.find((one) => one.job === item?.job)
    assert.ok(item !== null && job !== undefined)
    job.place.serve(item.bytes)
    job.place.add(item)
    job.served += item.bytes
  }
}

/** 1 where all have the same, 1/n where one has all. */
function jainIndex(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0)
  const squares = shares.reduce((total, share) => total + share * share, 0)
  return (sum * sum) / (shares.length * squares)
}

function placeOf(queue: FairQueue<string>, project = 'a', rank = 1): QueuePlace<string> {
  return queue.join({ project, rank })
}

test('projects get the same bytes, however many jobs they have and however large their tasks are', () => {
  const queue = fairQueue<Item>()
  const jobs = [
    endlessJob(queue, 'a1', 'a', 100),
    endlessJob(queue, 'a2', 'a', 30),
    endlessJob(queue, 'a3', 'a', 70),
    endlessJob(queue, 'b1', 'b', 10),
  ]

  serve(queue, jobs, 5000)

  const bytes = (project: string) =>
    jobs.filter((job) => job.project === project).reduce((sum, { served }) => sum + served, 0)
  assert.ok(Math.abs(bytes('a') - bytes('b')) <= 100)
  const ofA = jobs.slice(0, 3).map(({ served }) => served)
  assert.ok(Math.max(...ofA) - Math.min(...ofA) <= 100, `${ofA}`)
})

test('of eight jobs with tasks of different sizes none gets less: the index of Jain is above 0.95', () => {
  for (const projectOf of [() => 'one', (job: number) => `p${job}`]) {
    const queue = fairQueue<Item>()
    const jobs = [1, 2, 4, 8, 16, 32, 64, 128].map((bytes, index) =>
      endlessJob(queue, `job${index}`, projectOf(index), bytes),
    )

    serve(queue, jobs, 10_000)

    const index = jainIndex(jobs.map(({ served }) => served))
    assert.ok(index >= 0.95, `${index}`)
  }
})

test('restores go first where nobody is behind, and only there', () => {
  const queue = fairQueue<string>()
  const backup = placeOf(queue, 'a', 1)
  const restore = placeOf(queue, 'a', 0)
  const restoreOfOthers = placeOf(queue, 'b', 0)
  for (const [place, name] of [
    [backup, 'backup'],
    [restore, 'restore'],
    [restoreOfOthers, 'other'],
  ] as const) {
    place.add(`${name} 1`)
    place.add(`${name} 2`)
  }

  assert.equal(queue.take(any), 'restore 1')
  restore.serve(10)
  assert.equal(queue.take(any), 'other 1')
  restoreOfOthers.serve(20)
  assert.equal(queue.take(any), 'backup 1')
  backup.serve(10)
  assert.equal(queue.take(any), 'restore 2')
  restore.serve(10)
  assert.equal(queue.take(any), 'other 2')
  assert.equal(queue.take(any), 'backup 2')
  assert.equal(queue.take(any), null)
})

for (const project of ['a', 'b']) {
  test(`a newcomer of project ${project} neither waits for what was before it, nor makes up for it`, () => {
    const queue = fairQueue<Item>()
    const old = endlessJob(queue, 'old', 'a', 10)
    serve(queue, [old], 100)

    const young = endlessJob(queue, 'young', project, 10)
    serve(queue, [old, young], 10)

    assert.deepEqual([old.served, young.served], [1050, 50])
  })
}

test('a project that was gone for a while begins like a new one', () => {
  const queue = fairQueue<Item>()
  const [a, b] = [endlessJob(queue, 'a', 'a', 10), endlessJob(queue, 'b', 'b', 10)]
  serve(queue, [a, b], 2)
  b.place.leave()
  serve(queue, [a], 50)

  const again = endlessJob(queue, 'again', 'b', 10)
  serve(queue, [a, again], 10)

  assert.equal(again.served, 50)
})

test('who may not run does not hold up others, and keeps its turn', () => {
  const queue = fairQueue<string>()
  const first = placeOf(queue)
  const second = placeOf(queue)
  first.add('first')
  second.add('second')

  assert.equal(
    queue.take((place) => place !== first),
    'second',
  )
  assert.equal(
    queue.take(() => false),
    null,
  )
  assert.equal(queue.take(any), 'first')
})

test('what is removed, or left behind by who leaves, is not taken', () => {
  const queue = fairQueue<string>()
  const place = placeOf(queue)
  const other = placeOf(queue)
  for (const item of ['one', 'two', 'three']) place.add(item)
  other.add('left')

  place.remove('two')
  place.remove('unknown')
  other.leave()

  assert.equal(queue.length, 2)
  assert.deepEqual([queue.take(any), queue.take(any), queue.take(any)], ['one', 'three', null])
  assert.equal(queue.length, 0)
})
