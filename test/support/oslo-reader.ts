import type { NamedOption } from '#src/config/schema.ts'
import { startPeer } from './python.ts'

/** What the real oslo.config knows of one of our options. */
export type TheirOption = {
  /** Whether Cinder or a library of its declares it; else ours stands in. */
  readonly isReal: boolean
  /** `section.option` of every older name. */
  readonly deprecated: readonly string[]
  readonly minimum: number | null
  readonly maximum: number | null
  /** Of the command line too: a bad value is refused with the files, not when it is asked for. */
  readonly isCli: boolean
}

export type TheirValue = { readonly value?: unknown; readonly error?: string }

export type TheirReading =
  | { readonly refused: string; readonly values?: never }
  | { readonly values: readonly TheirValue[]; readonly refused?: never }

export type OsloReader = AsyncDisposable & {
  /** In the order of our options, as the values of a reading are. */
  readonly options: readonly TheirOption[]
  /** Reads what the arguments of a command name. */
  read(args: readonly string[]): Promise<TheirReading>
}

const startMs = 120_000
const readMs = 30_000

/** The real oslo.config with the options of the real Cinder; one process for any number of files. */
export async function startOsloReader(described: readonly NamedOption[]): Promise<OsloReader> {
  const peer = startPeer('read_with_oslo.py', [])
  const ask = async <T>(question: unknown, timeoutMs: number): Promise<T> => {
    peer.send(JSON.stringify(question))
    const line = await peer.line(AbortSignal.timeout(timeoutMs))
    if (line === null) throw new Error('read_with_oslo.py ended')
    return JSON.parse(line) as T
  }
  try {
    return {
      options: await ask<readonly TheirOption[]>(described, startMs),
      read: (args) => ask<TheirReading>(args, readMs),
      [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose](),
    }
  } catch (error) {
    await peer[Symbol.asyncDispose]()
    throw error
  }
}
