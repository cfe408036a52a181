import { memoryRecords, memoryTables } from '#src/adapters/records/memory-records.ts'
import { testRecords } from '../../contracts/records.ts'
import type { RecordsBench } from '../../support/records-bench.ts'

const tables = memoryTables()

testRecords('memory', (): RecordsBench => {
  const tableOf = (name: string) => tables[name as keyof typeof tables]
  return {
    open: async () => memoryRecords(tables),
    insert: async (name, row) => {
      const table = tableOf(name)
      table.push({ id: table.length + 1, ...row })
    },
    rows: async (name) => structuredClone(tableOf(name)),
  }
})
