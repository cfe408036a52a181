import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'

import type { JsonObject } from '#src/domain/json.ts'

const folder = path.resolve(import.meta.dirname, '../samples/wire')

/** A message that real processes exchanged. */
export type WireSample = {
  readonly name: string
  readonly exchange: string
  readonly routing_key: string
  readonly mandatory: boolean
  readonly properties: JsonObject
  readonly body_raw: string
  readonly envelope_version: string | null
  readonly message_decoded: JsonObject
  readonly failure_decoded?: JsonObject
}

/** A recording of frames. */
export type FrameSample = {
  readonly frames: readonly {
    readonly conn: number
    readonly dir: string
    readonly method: string
    readonly args: JsonObject
  }[]
}

export function wireSample(name: string): WireSample {
  return { name, ...readSample(name) } as WireSample
}

export function frameSample(name: string): FrameSample {
  return readSample(name) as FrameSample
}

/** The names of all recordings of frames that begin so, sorted. */
export function frameSampleNames(prefix: string): readonly string[] {
  return globSync(`${prefix}*.json`, { cwd: folder })
    .map((file) => path.basename(file, '.json'))
    .toSorted()
}

/** All recorded messages whose name begins so. */
export function wireSamples(prefix: string): readonly WireSample[] {
  return globSync(`${prefix}*.json`, { cwd: folder })
    .toSorted()
    .map((file) => wireSample(path.basename(file, '.json')))
}

function readSample(name: string): object {
  return JSON.parse(readFileSync(path.join(folder, `${name}.json`), 'utf8'))
}
