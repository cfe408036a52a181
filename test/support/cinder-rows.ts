import type { JsonObject } from '#src/domain/json.ts'
import { serviceScript, services } from './services.ts'

const runScript = serviceScript()

/** Runs a statement on Cinder's database, as Cinder's own user. */
export function cinderSql(statement: string): Promise<string> {
  return runScript('sql', statement)
}

/** The rows of a table that a condition names, each an object by its columns. */
export async function cinderRows(table: string, where: string): Promise<readonly JsonObject[]> {
  const found = await cinderSql(`SELECT ${await jsonOf(table)} WHERE ${where}`)
  return found
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as JsonObject)
}

/** `<columns as JSON> FROM <table>`, to go into a SELECT. */
export async function jsonOf(table: string): Promise<string> {
  if (services().cinder.database === 'postgresql') return `to_jsonb(t) FROM ${table} t`
  const columns = await cinderSql(
    `SELECT column_name FROM information_schema.columns
      WHERE table_schema = 'cinder' AND table_name = '${table}'`,
  )
  const pairs = columns.trim().split('\n')
  return `JSON_OBJECT(${pairs.map((name) => `'${name}', \`${name}\``)}) FROM ${table} t`
}
