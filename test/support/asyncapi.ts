// docs/asyncapi.json as tests ask it.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'

import type { Json, JsonObject } from '#src/domain/json.ts'
import { runPeer } from './python.ts'
import { checkout } from './services.ts'

type Fixed = { readonly const?: string; readonly enum?: readonly string[] }
type Schema = { readonly properties?: Record<string, Fixed> }
type Document = {
  readonly channels: Record<string, { readonly messages: Record<string, unknown> }>
  readonly components: { readonly schemas: Record<string, Schema> }
}

const document: Document = JSON.parse(
  readFileSync(path.join(checkout, 'docs/asyncapi.json'), 'utf8'),
)
const { schemas } = document.components
/** The messages of the document. */
export const names = Object.values(document.channels).flatMap(({ messages }) =>
  Object.keys(messages),
)

/** The message of the document whose `key` is fixed to `value`, or to some values of which it is one. */
function nameBy(key: string, value: Json | undefined): string {
  const isIt = ({ const: only, enum: some }: Fixed = {}) =>
    only === value || some?.includes(String(value)) === true
  return names.find((name) => isIt(schemas[name]?.properties?.[key])) ?? `no ${key} ${value}`
}

/** Which message of the document this one must be. */
export function nameOf(message: JsonObject): string {
  if (message['event_type'] !== undefined) return nameBy('event_type', message['event_type'])
  if (message['method'] !== undefined) return nameBy('method', message['method'])
  return message['_msg_id'] === undefined ? 'AmqpReply' : 'OsloReply'
}

/** `name` may lead into a schema: `Waiting/properties/payload`. */
export type Case = { readonly name: string; readonly value: Json }

/** Each message under its name, and the failure that an oslo reply carries as text. */
export function casesOf(message: JsonObject): readonly Case[] {
  const { failure } = message
  const inner = typeof failure === 'string' ? [{ name: 'Failure', value: JSON.parse(failure) }] : []
  return [{ name: nameOf(message), value: message }, ...inner]
}

/** What the schemas say against each case. */
export async function complaints(cases: readonly Case[]): Promise<readonly string[][]> {
  const asked = cases.map(({ name, value }) => ({ schema: `#/components/schemas/${name}`, value }))
  const known = cases
    .filter(({ name }) => schemas[name.split('/')[0] ?? ''] === undefined)
    .map(({ name }) => name)
  assert.deepEqual(known, [], 'not in the document')
  return (await runPeer('json_schema.py', { input: { document, cases: asked } })) as string[][]
}

/** Each message is as the document says. */
export async function assertDocumented(messages: readonly JsonObject[]): Promise<void> {
  const cases = messages.flatMap(casesOf)
  const said = await complaints(cases)
  const wrong = said.flatMap((lines, i) => (lines.length > 0 ? [{ ...cases[i], lines }] : []))
  assert.deepEqual(wrong, [])
}
