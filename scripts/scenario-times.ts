// Prints what the tests of test/cinder wrote into the file that is given: each scenario with the time
// of Cinder's own backup service and that of our agent, on each database. Ends with 1 where one has no time.
//
//   scripts/node scripts/scenario-times.ts FILE DATABASE...

import { readFileSync } from 'node:fs'
import process from 'node:process'

import { type ScenarioTime, scenarios } from '../test/support/scenario-times.ts'

const [file = '', ...databases] = process.argv.slice(2)
const times = readFileSync(file, 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line) as ScenarioTime)

const headings: Readonly<Record<string, string>> = { mariadb: 'MariaDB', postgresql: 'PostgreSQL' }
const width = Math.max(...scenarios.map(({ name }) => name.length))
let missing = 0

/** The mean of all that were taken, for a scenario may be done several times. */
function mean(...[database, service, name]: readonly string[]): number | null {
  const found = times.filter(
    (time) => time.database === database && time.service === service && time.name === name,
  )
  if (found.length === 0) return null
  return found.reduce((sum, { seconds }) => sum + seconds, 0) / found.length
}

function cell(seconds: number | null, isWanted: boolean): string {
  if (seconds === null && isWanted) missing += 1
  return (seconds?.toFixed(2) ?? (isWanted ? 'missing' : '-')).padStart(8)
}

function print(database: string): void {
  const lines = scenarios.map(({ name, services }) => {
    const stock = mean(database, 'stock', name)
    const ours = mean(database, 'ours', name)
    const ratio = stock === null || ours === null ? '-' : (ours / stock).toFixed(2)
    const cells = [cell(stock, services.includes('stock')), cell(ours, services.includes('ours'))]
    return `${name.padEnd(width)} ${cells.join(' ')} ${ratio.padStart(10)}`
  })
  const head = `${'seconds'.padEnd(width)} ${'stock'.padStart(8)} ${'ours'.padStart(8)} ours/stock`
  const title = `Cinder on ${headings[database] ?? database}; volumes of 1 GiB; the mean where there are several`
  process.stdout.write(`\n${title}\n${head}\n${lines.join('\n')}\n`)
}

for (const database of databases) print(database)
if (missing > 0) {
  process.stdout.write(`\n${missing} times are missing: the scenario failed or was not run\n`)
  process.exitCode = 1
}
