import type { Json, JsonObject } from '#src/domain/json.ts'

/** What a step did to a row: a new one without its nulls, or each value before and after. */
export type RowChange = {
  readonly table: string
  readonly id: string
  readonly inserted?: JsonObject
  readonly changed?: Readonly<Record<string, readonly [Json, Json]>>
  readonly removed?: true
}

/** Rows by table and id. */
export type Rows = ReadonlyMap<string, { readonly table: string; readonly row: JsonObject }>

/** What one step did, as text that two sessions share: by table, row and column. */
type Facts = ReadonlyMap<string, Fact>
type Fact = { readonly table: string; readonly column: string; readonly text: string }

type Difference = {
  /** Two digits. */
  readonly step: string
  readonly table: string
  /** `*` is the row: only one of the two has it. */
  readonly column: string
}

export type FoundDifference = Difference & { readonly recorded: string; readonly ours: string }

export function changesBetween(before: Rows, after: Rows): readonly RowChange[] {
  const changes: RowChange[] = []
  for (const [key, { table, row }] of after) {
    const id = String(row['id'])
    const old = before.get(key)?.row
    if (old === undefined) {
      const columns = Object.entries(row).filter(([, value]) => value !== null)
      changes.push({ table, id, inserted: Object.fromEntries(columns) })
      continue
    }
    const changed = Object.entries(row).flatMap(([column, value]) =>
      old[column] === value ? [] : [[column, [old[column] ?? null, value]] as const],
    )
    if (changed.length > 0) changes.push({ table, id, changed: Object.fromEntries(changed) })
  }
  for (const [key, { table, row }] of before) {
    if (!after.has(key)) changes.push({ table, id: String(row['id']), removed: true })
  }
  return changes
}

// What a value is in one session only: the n-th one of its column is the same thing in each.
const namedByTurn = ['user_id', 'project_id', 'volume_type_id', 'service_uuid', 'host']
// Numbers that a database counts up, and the name of a request: nothing to compare.
const anyValue = ['id', 'uuid', 'usage_id', 'request_id', 'service_id']
const uuids = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g
const noUuid = '00000000-0000-0000-0000-000000000000'
const time = /\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?\b|\b\d{14}\b/g

/**
 * A session told without its ids and times: a row is named by the step that made it, so the same
 * steps tell the same. Steps are told in their order.
 */
export class RowStory {
  readonly #names = new Map<string, string>()
  readonly #turns = new Map<string, number>()

  /** The backup service's part: the other services' heartbeats are none of it. */
  factsOf(step: string, all: readonly RowChange[]): Facts {
    const changes = all.filter(({ table, id }) => table !== 'services' || id === 'cinder-backup')
    // Rows with a UUID are named first, for the others are named after them.
    for (const change of changes.filter(({ id }) => hasUuid(id))) this.#nameRow(step, change)
    for (const change of changes.filter(({ id }) => !hasUuid(id))) this.#nameCounted(change)
    const facts = new Map<string, Fact>()
    for (const { table, id, ...change } of changes) {
      const row = this.#names.get(`${table} ${id}`) ?? `${table} ${id}`
      const tell = (column: string, text: string) =>
        facts.set(`${row} ${column}`, { table, column, text })
      if (change.inserted !== undefined) tell('*', 'inserted')
      if (change.removed) tell('*', 'removed')
      for (const [column, value] of Object.entries(change.inserted ?? {})) {
        tell(column, this.#valueOf(table, column, value))
      }
      for (const [column, values] of Object.entries(change.changed ?? {})) {
        tell(column, this.#changeOf(table, column, values))
      }
    }
    return facts
  }

  #nameRow(step: string, { table, id, inserted }: RowChange): void {
    if (inserted === undefined) return
    this.#name(`${table} ${id}`, `${table} of step ${step}`)
    this.#name(id, this.#names.get(`${table} ${id}`) ?? id)
  }

  #nameCounted({ table, id, inserted }: RowChange): void {
    if (inserted === undefined) return
    const text = (column: string) => this.#valueOf(table, column, inserted[column] ?? null)
    if (table === 'reservations') {
      const resource = `${text('project_id')} ${inserted['resource']}`
      this.#name(`quota_usages ${inserted['usage_id']}`, `quota_usages of ${resource}`, true)
      this.#name(`${table} ${id}`, `${table} of ${resource}`, true)
    } else {
      const owner = ['volume_id', 'backup_id', 'resource_id'].find((column) => column in inserted)
      const name = `${table} of ${text(owner ?? 'id')} ${inserted['key'] ?? ''}`
      this.#name(`${table} ${id}`, name)
    }
  }

  #name(key: string, name: string, isShared = false): void {
    if (this.#names.has(key)) return
    const turn = isShared ? 1 : (this.#turns.get(`${key.split(' ')[0]} ${name}`) ?? 0) + 1
    this.#turns.set(`${key.split(' ')[0]} ${name}`, turn)
    this.#names.set(key, turn === 1 ? name : `${name}, ${turn}`)
  }

  #changeOf(table: string, column: string, [before, after]: readonly [Json, Json]): string {
    if (column === 'report_count') return Number(after) > Number(before) ? 'more' : 'not more'
    if (table === 'quota_usages' && column === 'in_use')
      return `+ ${Number(after) - Number(before)}`
    return `${this.#valueOf(table, column, before)} -> ${this.#valueOf(table, column, after)}`
  }

  #valueOf(table: string, column: string, value: Json): string {
    if (value === null) return 'null'
    if (anyValue.includes(column)) return 'any'
    if (namedByTurn.includes(column)) {
      // A backup's host and a volume's are spelled differently, but a user is a user.
      const kind = column === 'host' ? `${table}.host` : column
      const key = `${kind} ${value}`
      if (!this.#names.has(key)) {
        const turn = (this.#turns.get(kind) ?? 0) + 1
        this.#turns.set(kind, turn)
        this.#names.set(key, `${kind} ${turn}`)
      }
      return this.#names.get(key) ?? key
    }
    const plain = typeof value === 'boolean' ? Number(value) : value
    return String(plain)
      .replace(uuids, (id) => (id === noUuid ? id : `<${this.#names.get(id) ?? 'an id'}>`))
      .replace(time, 'a time')
  }
}

const hasUuid = (id: string) => !/^\d+$/.test(id)

export function differencesOf(
  step: string,
  recorded: Facts,
  ours: Facts,
): readonly FoundDifference[] {
  const found: FoundDifference[] = []
  const rowOf = (key: string, { column }: Fact) => key.slice(0, -column.length - 1)
  const rowsOf = (facts: Facts) => new Set([...facts].map(([key, fact]) => rowOf(key, fact)))
  const [recordedRows, ourRows] = [rowsOf(recorded), rowsOf(ours)]
  for (const row of recordedRows.symmetricDifference(ourRows)) {
    const [table = row] = row.split(' ')
    const [here, there] = recordedRows.has(row) ? [row, 'none'] : ['none', row]
    found.push({ step, table, column: '*', recorded: here, ours: there })
  }
  for (const key of new Set([...recorded.keys(), ...ours.keys()])) {
    const fact = recorded.get(key) ?? ours.get(key)
    if (fact === undefined) continue
    const row = rowOf(key, fact)
    if (!recordedRows.has(row) || !ourRows.has(row)) continue
    const [theirText = 'as before', ourText = 'as before'] = [
      recorded.get(key)?.text,
      ours.get(key)?.text,
    ]
    if (theirText === ourText) continue
    const { table, column } = fact
    found.push({ step, table, column, recorded: theirText, ours: ourText })
  }
  return found
}
