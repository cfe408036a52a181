import { metadataName, sha256fileName } from '#src/domain/object-names.ts'
import type { ObjectStore } from '#src/ports/object-store.ts'
import { runsOf, type SeenRun } from '../support/runs.ts'
import { isFinal } from '../support/steady-peer.ts'
import { noise } from '../support/volume-data.ts'
import type { AskedBackup, Target } from './api.ts'
import { type Scene, settle } from './scene.ts'
import { container } from './simulated-agent.ts'
import { deletable } from './steps.ts'

const never = new AbortController().signal

/** Looks at a world that has come to rest, restores and deletes what is there, and notes what is wrong. */
export async function brokenInvariants(scene: Scene): Promise<void> {
  const runs = checkEvents(scene)
  checkAnswers(scene)
  checkTargets(scene, scene.api.targets)
  await checkObjects(scene)
  await checkRestores(scene)
  await checkDeletes(scene)
  if (runs !== null) checkCounts(scene, runs)
}

/** Each run begins once, ends once, counts upwards, and its copies are the same. */
function checkEvents({ api, broken }: Scene): readonly SeenRun[] | null {
  try {
    return runsOf(api.heard)
  } catch (error) {
    broken.push((error as Error).message)
    return null
  }
}

/** None is run twice: there are no more runs than requests, copies of a message not counted. */
function checkCounts({ api, broken }: Scene, runs: readonly SeenRun[]): void {
  for (const { id } of api.backups) {
    for (const operation of ['create', 'restore', 'delete'] as const) {
      const isMeant = (one: { operation: string; backupId: string }) =>
        one.operation === operation && one.backupId === id
      const [asked, run] = [api.sent.filter(isMeant).length, runs.filter(isMeant).length]
      if (run > asked) broken.push(`${run} runs of the ${operation} of ${id}, asked ${asked} times`)
    }
  }
  for (const { final } of runs) {
    const { code, message } = final.payload
    if (code === 'ASSERTION_FAILED') broken.push(`a run ended with a defect: ${message}`)
  }
}

/** Whoever asked hears of an end, not before it was asked. */
function checkAnswers({ api, broken }: Scene): void {
  for (const { operation, backupId, atMs } of api.sent) {
    const isAnswer = api.heard.some(
      (event) =>
        event.payload['backup_id'] === backupId &&
        isFinal(event.eventType, operation) &&
        event.atMs >= atMs,
    )
    if (!isAnswer) broken.push(`the ${operation} of ${backupId} asked at ${atMs} ms has no end`)
  }
}

/** A restore that ended well has made the volume what it was. */
function checkTargets({ api, world, broken }: Scene, targets: readonly Target[]): void {
  for (const { volumeId, backup } of targets) {
    const last = api.heard.findLast(({ eventType, payload }) => {
      const record = payload['record'] as { restore_volume_id?: string } | undefined
      return isFinal(eventType, 'restore') && record?.restore_volume_id === volumeId
    })
    const isGood = last?.eventType.endsWith('.end') ?? false
    if (isGood && !backup.bytes.equals(world.volumes.get(volumeId) ?? Buffer.alloc(0))) {
      broken.push(`the restore of ${backup.id} was called good, and other bytes are there`)
    }
  }
}

type Names = (prefix: string) => Promise<readonly string[]>

function namesIn(store: ObjectStore): Names {
  return async (prefix) => {
    const names: string[] = []
    while (true) {
      const page = await store.listPage(container, prefix, names.at(-1) ?? '', never)
      if (page.length === 0) return names
      names.push(...page.map(({ name }) => name))
    }
  }
}

/** Each object is under a prefix that a record names; of an available backup, its metadata names it too. */
async function checkObjects({ world, api, broken }: Scene): Promise<void> {
  using journal = world.openJournal()
  const names = namesIn(world.store)
  const records = api.backups.flatMap(({ id }) => journal.record(id) ?? [])
  const prefixes = records
    .filter(({ deleted }) => !deleted)
    .flatMap(({ service_metadata: prefix }) => prefix ?? [])
  for (const name of await names('')) {
    const isNamed = prefixes.some((prefix) => name.startsWith(prefix))
    if (!isNamed) broken.push(`no record names ${name}`)
  }
  for (const { status, deleted, service_metadata: prefix } of records) {
    if (status !== 'available' || deleted || prefix === null) continue
    const named = await namedObjects(world.store, prefix)
    const strays = (await names(prefix)).filter((name) => !named.has(name))
    if (strays.length > 0) broken.push(`no metadata names ${strays}`)
  }
}

async function namedObjects(store: ObjectStore, prefix: string): Promise<ReadonlySet<string>> {
  let text = ''
  const sink = {
    start() {
      text = ''
    },
    write(piece: Uint8Array) {
      text += Buffer.from(piece).toString('latin1')
    },
  }
  const own = [metadataName(prefix), sha256fileName(prefix)]
  try {
    await store.getObject({ container, name: metadataName(prefix) }, sink, never)
  } catch {
    return new Set(own) // That it cannot be restored is seen elsewhere.
  }
  const { objects } = JSON.parse(text) as { objects: readonly object[] }
  return new Set([...own, ...objects.flatMap((one) => Object.keys(one))])
}

/** What was called available, and nobody wanted gone, restores to its bytes. */
async function checkRestores(scene: Scene): Promise<void> {
  const { api, broken } = scene
  const isMade = ({ id }: AskedBackup) =>
    api.heard.some(
      ({ eventType, payload }) => eventType === 'backup.create.end' && payload['backup_id'] === id,
    )
  const good = api.backups.filter((one) => !one.isDeleteAsked && isMade(one))
  const from = api.targets.length
  for (const backup of good) {
    const status = api.recordOf(backup).status
    if (status !== 'available') broken.push(`backup ${backup.id} was made and is ${status}`)
    api.restore(backup, noise(`last dirt ${backup.id}`, backup.bytes.byteLength))
  }
  await settle(scene, 'in the last restores')
  for (const { volumeId, backup } of api.targets.slice(from)) {
    const last = api.heard.findLast(
      ({ payload }) =>
        (payload['record'] as { restore_volume_id?: string } | undefined)?.restore_volume_id ===
        volumeId,
    )
    if (last?.eventType === 'backup.restore.end') continue
    const { code, message } = last?.payload ?? {}
    broken.push(`backup ${backup.id} is available and cannot be restored: ${code} ${message}`)
  }
  checkTargets(scene, api.targets.slice(from))
}

/** Where every backup is deleted, nothing is left. */
async function checkDeletes(scene: Scene): Promise<void> {
  const { api, world, broken } = scene
  const failed = () => api.backups.filter((one) => one.isDeleteAsked && !api.recordOf(one).deleted)
  for (const backup of failed()) api.remove(backup)
  await settle(scene, 'in the repeated deletes')
  for (let some = deletable(scene); some.length > 0; some = deletable(scene)) {
    for (const backup of some) api.remove(backup)
    await settle(scene, 'in the last deletes')
  }
  for (const { id } of failed()) broken.push(`backup ${id} cannot be deleted`)
  const left = await namesIn(world.store)('')
  if (left.length > 0) broken.push(`after all deletes there is ${left}`)
}
