import { after } from 'node:test'

import { testRecords } from '../../contracts/records.ts'
import { privateDatabase } from '../../support/private-database.ts'
import { sqlBench } from '../../support/sql-bench.ts'

const database = await privateDatabase('postgresql', { after })
const bench = sqlBench(database)

for (const era of ['zed', 'master'] as const) {
  let ready: Promise<void> | null = null
  const open = async () => {
    ready ??= database.makeTables(era)
    await ready
    return bench.open()
  }
  testRecords(`postgresql, ${era}`, () => ({ ...bench, open }))
}
