import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'

import { buildFolder } from './settings.ts'

const sources = path.join(import.meta.dirname, 'native')

/** Arguments of the C compiler for each program. */
const programs = {
  sink: ['-O2', '-pthread', '-lcrypto'],
  limits: ['-O3', '-march=native', '-lcrypto', '-ldeflate', '-lisal', '-lbz2', '-lzstd'],
} as const

/** The path of a program of bench/native, compiled where it is not up to date. */
export function nativeTool(name: keyof typeof programs): string {
  const program = path.join(buildFolder, name)
  const source = path.join(sources, `${name}.c`)
  const built = statSync(program, { throwIfNoEntry: false })?.mtimeMs ?? 0
  const changed = readdirSync(sources).map((file) => statSync(path.join(sources, file)).mtimeMs)
  if (built > Math.max(...changed)) return program
  mkdirSync(buildFolder, { recursive: true })
  const flags = programs[name].filter((flag) => !flag.startsWith('-l'))
  const libraries = programs[name].filter((flag) => flag.startsWith('-l'))
  execFileSync('cc', [...flags, '-o', program, source, ...libraries], { stdio: 'inherit' })
  return program
}

export type SinkStats = {
  readonly puts: number
  readonly putBytes: number
  readonly gets: number
  readonly getBytes: number
  readonly objects: number
  readonly storedBytes: number
}

/** An object store on loopback that costs next to nothing: see native/sink.c. */
export type Sink = {
  readonly origin: string
  readonly port: number
  stats(): Promise<SinkStats>
  /** Drops every object whose path, `/v1/AUTH_…`, starts so. */
  drop(prefix: string): Promise<void>
}

/** Runs until the stack ends. */
export async function startSink(stack: AsyncDisposableStack, delayMs = 0): Promise<Sink> {
  const child = spawn(nativeTool('sink'), ['--delay', String(delayMs)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  stack.defer(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const port = Number(line.split(' ')[1])
  const origin = `http://127.0.0.1:${port}`
  return {
    origin,
    port,
    stats: async () => (await (await fetch(`${origin}/stats`)).json()) as SinkStats,
    async drop(prefix) {
      await fetch(`${origin}/objects?prefix=${encodeURIComponent(prefix)}`, { method: 'DELETE' })
    },
  }
}
