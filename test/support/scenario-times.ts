import { appendFileSync } from 'node:fs'
import process from 'node:process'

import type { BackupServiceName } from './backup-service.ts'
import { services } from './services.ts'
import { Stopwatch } from './stopwatch.ts'

const ofBoth = [
  'full backup',
  'incremental backup',
  'incremental backup of an incremental one',
  'backup of a snapshot',
  'backup of a volume in use, by force',
  'restore to a volume that Cinder makes for it',
  'restore to a new volume',
  'restore to an existing volume',
  'restore to its own volume',
  'restore of a chain',
  'delete',
  'delete by force in the middle of a create',
  'reset of the status to error',
  'reset of the status to available',
  'export of a record',
  'import of a record',
  'volume from a backup',
  'restore to a volume made from a backup',
  'two projects, a full backup of each at once',
  'two projects, a restore of each at once',
  'two projects, all that is not theirs refused',
  "the other's full backup restored, zlib",
  "the other's full backup restored, bz2",
  "the other's full backup restored, zstd",
  "the other's full backup restored, none",
  "the other's increment on one's own backup restored, zlib",
  "the other's increment on one's own backup restored, bz2",
  "the other's increment on one's own backup restored, zstd",
  "the other's increment on one's own backup restored, none",
  "increment on the other's full backup, zlib",
  "increment on the other's full backup, bz2",
  "increment on the other's full backup, zstd",
  "increment on the other's full backup, none",
  'restore of a chain of three, made by both in turns',
  "delete of the other's increment",
  "delete of the other's full backup",
] as const

/** Cinder's own service makes an error of what it had in hand, or a fresh start: nothing to compare. */
const ofOurs = [
  'killed in the middle of a full backup',
  'killed in the middle of an incremental backup',
  'killed in the middle of a backup of a snapshot',
  'killed in the middle of a backup of a volume in use',
  'killed in the middle of a restore',
  'killed in the middle of a delete',
] as const

export type ScenarioName = (typeof ofBoth)[number] | (typeof ofOurs)[number]

/** Every scenario of `make test-cinder` whose time is taken, in the order of its table, and who has to do it. */
export const scenarios: readonly {
  readonly name: ScenarioName
  readonly services: readonly BackupServiceName[]
}[] = [
  ...ofBoth.map((name) => ({ name, services: ['stock', 'ours'] as const })),
  ...ofOurs.map((name) => ({ name, services: ['ours'] as const })),
]

/** What a scenario took once, as a line of the file that `CBA_SCENARIO_TIMES` names. */
export type ScenarioTime = {
  readonly database: string
  readonly service: BackupServiceName
  readonly name: ScenarioName
  readonly seconds: number
}

/** Takes the times of scenarios as one service does them. */
export class ScenarioTimes {
  readonly #service: BackupServiceName
  readonly #watch: Stopwatch

  constructor(service: BackupServiceName, title: string) {
    this.#service = service
    this.#watch = new Stopwatch(title)
  }

  async time<Result>(name: ScenarioName, work: () => Promise<Result>): Promise<Result> {
    const began = performance.now()
    const result = await this.#watch.time(name, work)
    const file = process.env['CBA_SCENARIO_TIMES'] ?? ''
    if (file !== '') {
      const seconds = (performance.now() - began) / 1000
      const { database } = services().cinder
      const time: ScenarioTime = { database, service: this.#service, name, seconds }
      appendFileSync(file, `${JSON.stringify(time)}\n`)
    }
    return result
  }

  print(): void {
    this.#watch.print()
  }
}
