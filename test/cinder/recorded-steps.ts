import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import type { OurPlace } from '../support/backup-service.ts'
import { cinderSql } from '../support/cinder-rows.ts'
import {
  CinderRefusal,
  type CinderUser,
  type ExportedRecord,
  writeVolume,
} from '../support/real-cinder.ts'
import { serviceScript } from '../support/services.ts'
import { noise } from '../support/volume-data.ts'

const mebibyte = 2 ** 20
const runScript = serviceScript()

/** What the steps made, and what the later ones go on with. */
type Made = Record<'volume' | 'snapshot' | 'full' | 'increment' | 'ofSnapshot' | 'inUse', string> &
  Record<'restored' | 'swiftDown' | 'crashed', string> & { record: ExportedRecord }

export type StepContext = {
  readonly demo: CinderUser
  readonly admin: CinderUser
  readonly place: OurPlace
  readonly made: Made
}

type Step = (context: StepContext) => Promise<unknown>

const write = (volume: string, bytes: number, offset: number) =>
  writeVolume(volume, noise(randomUUID(), bytes), offset)

/** A refusal of the API is what such a step is about. */
async function refused(asked: Promise<unknown>, status: number): Promise<void> {
  const error = await asked.then(
    () => null,
    (reason: unknown) => reason,
  )
  if (!(error instanceof CinderRefusal) || error.status !== status) {
    throw new Error(`it was to be refused with ${status}`, { cause: error })
  }
}

async function untilStatus(user: CinderUser, id: string, isRight: (status: string) => boolean) {
  const deadline = performance.now() + 300_000
  while (true) {
    const status = (await user.find('backup', id))?.status ?? 'gone'
    if (isRight(status)) return
    if (performance.now() > deadline) throw new Error(`backup ${id} is still ${status}`)
    await sleep(200)
  }
}

/** As a database would that was lost: a record comes back only where its id is not in use. */
async function forget(id: string): Promise<void> {
  await cinderSql(`DELETE FROM backup_metadata WHERE backup_id = '${id}'`)
  await cinderSql(`DELETE FROM backups WHERE id = '${id}'`)
}

const seedService = 'cinder.backup.drivers.swift.SwiftBackupDriver'
const setService = (id: string, service: string) =>
  cinderSql(`UPDATE backups SET service = '${service}' WHERE id = '${id}'`)

const making: Record<string, Step> = {
  '01-idle-heartbeats': () => sleep(22_000),

  '02-create-volume': async ({ demo, made }) => {
    made.volume = await demo.createVolume({ name: 'capture' })
    await write(made.volume, 24 * mebibyte, 8 * mebibyte)
  },

  '03-backup-create-full': async ({ demo, made }) => {
    const metadata = { key1: 'value1' }
    const request = { name: 'full', description: 'a full one', metadata }
    made.full = await demo.createBackup(made.volume, request)
  },

  '04-backup-create-incremental': async ({ demo, made }) => {
    await write(made.volume, 100_000, 9 * mebibyte)
    made.increment = await demo.createBackup(made.volume, { name: 'incr', incremental: true })
  },

  '05-create-snapshot': async ({ demo, made }) => {
    made.snapshot = await demo.createSnapshot(made.volume, { name: 'capture' })
  },

  '06-backup-create-from-snapshot': async ({ demo, made }) => {
    const request = { name: 'snap', snapshot_id: made.snapshot }
    made.ofSnapshot = await demo.createBackup(made.volume, request)
  },

  '07-backup-create-in-use-forced': async ({ demo, made }) => {
    await demo.act('volume', made.volume, 'os-reserve', {})
    await demo.act('volume', made.volume, 'os-attach', {
      instance_uuid: '11111111-2222-3333-4444-555555555555',
      mountpoint: '/dev/vdb',
      mode: 'rw',
    })
    made.inUse = await demo.createBackup(made.volume, { name: 'in-use', force: true })
  },

  '08-detach': ({ demo, made }) => demo.detach(made.volume),

  '09-restore-to-existing': async ({ demo, made }) => {
    made.restored = await demo.createVolume({ name: 'restored' })
    await demo.restore(made.increment, made.restored)
  },

  '10-restore-to-new': ({ demo, made }) => demo.restore(made.full),

  '11-create-volume-from-backup': ({ demo, made }) => demo.createVolume({ backup_id: made.full }),
}

const records: Record<string, Step> = {
  '12-export-record': async ({ admin, made }) => {
    made.record = await admin.exportRecord(made.ofSnapshot)
  },

  '13-export-record-fails': async ({ admin, made }) => {
    await setService(made.ofSnapshot, 'x.y.Other')
    await refused(admin.exportRecord(made.ofSnapshot), 400)
    await setService(made.ofSnapshot, seedService)
  },

  '14-import-record-of-another-service': async ({ admin, made }) => {
    await forget(made.ofSnapshot)
    const record = { ...made.record, backup_service: 'x.y.Other' }
    await admin.call('POST', '/backups/import_record', { 'backup-record': record })
    await untilStatus(admin, made.ofSnapshot, (status) => status === 'error')
  },

  '15-import-record': async ({ admin, made }) => {
    await forget(made.ofSnapshot)
    await admin.call('POST', '/backups/import_record', { 'backup-record': { ...made.record } })
    await untilStatus(admin, made.ofSnapshot, (status) => status !== 'creating')
  },

  '16-reset-status-error': ({ admin, made }) => admin.resetStatus(made.increment, 'error'),
  '17-reset-status-available': ({ admin, made }) => admin.resetStatus(made.increment, 'available'),

  '18-get-and-set-log-levels': async ({ admin }) => {
    const binary = 'cinder-backup'
    await admin.call('PUT', '/os-services/get-log', { binary, prefix: 'cinder.b' })
    const asked = { binary, prefix: 'cinder.backup', level: 'INFO' }
    await admin.call('PUT', '/os-services/set-log', asked)
  },

  '19-update-backup': ({ demo, made }) =>
    demo.call('PUT', `/backups/${made.increment}`, { backup: { name: 'renamed' } }),

  '20-delete-refused-dependent': ({ demo, made }) => refused(demo.delete('backup', made.full), 400),
  '21-force-delete': async ({ admin, made }) => {
    await admin.act('backup', made.increment, 'os-force_delete', {})
    await untilStatus(admin, made.increment, (status) => status !== 'deleting')
  },
  '22-delete': ({ demo, made }) => demo.delete('backup', made.full),
}

const failures: Record<string, Step> = {
  '23-backup-create-fails-swift-down': async ({ demo, made }) => {
    await runScript('down', 'swift-proxy')
    try {
      made.swiftDown = await demo.beginBackup(made.volume, { name: 'swift is down' })
      await untilStatus(demo, made.swiftDown, (status) => status === 'error')
    } finally {
      await runScript('up', 'swift-proxy')
    }
  },

  '24-restore-fails-objects-gone': async ({ demo, made }) => {
    await demo.removeObjectsOf(made.inUse)
    const restore = { volume_id: made.restored }
    await demo.call('POST', `/backups/${made.inUse}/restore`, { restore })
    await untilStatus(demo, made.inUse, (status) => status !== 'restoring')
  },

  '25-delete-failed-backup': ({ demo, made }) => demo.delete('backup', made.swiftDown),

  '26-kill-9-in-create': async ({ demo, made, place }) => {
    await write(made.volume, 400 * mebibyte, 100 * mebibyte)
    made.crashed = await demo.beginBackup(made.volume, { name: 'crash' })
    while ((await demo.objectsOf(made.crashed)).length === 0) {
      const { status } = await demo.get('backup', made.crashed)
      if (status !== 'creating') throw new Error(`the backup was ${status} before the kill`)
    }
    await place.end('SIGKILL')
  },

  '27-start-after-kill': async ({ demo, made, place }) => {
    await place.start()
    await untilStatus(demo, made.crashed, (status) => status !== 'creating')
    await sleep(3000)
  },

  '28-restart': async ({ place }) => {
    await place.end('SIGTERM')
    await sleep(1000)
    await place.start()
    await sleep(8000)
  },
}

/** Step by step what the recorded session did, by the names of its files. */
export const stepsDone: Readonly<Record<string, Step>> = { ...making, ...records, ...failures }

/** What makes the next step possible where ours ended another way; of no step. */
export const betweenSteps: Readonly<Record<string, Step>> = {
  '21-force-delete': ({ demo, made }) => demo.delete('backup', made.increment),
}

/** The counters of both quotas are there before the first step, as they were in that session. */
export async function warmUp({ demo, admin }: StepContext): Promise<void> {
  for (const user of [demo, admin]) {
    const volume = await user.createVolume()
    await user.createSnapshot(volume)
    await user.createBackup(volume)
    await user.removeAll()
  }
}
