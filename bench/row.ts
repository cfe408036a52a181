import type { Bench } from './bench.ts'

export type Sample = {
  readonly wallSeconds: number
  readonly cpuSeconds: number
  readonly peakMib: number
  /** Bytes that the store got; null where nothing is stored. */
  readonly storedBytes: number | null
  /** What else was seen, by name. */
  readonly facts?: Readonly<Record<string, number>>
}

type Target = { readonly must?: number; readonly aim?: number }

export type Targets = {
  /** Times faster than cinder, at least. */
  readonly wall?: Target
  /** CPU seconds against cinder's, at most. */
  readonly cpu?: Target
  /** MiB, at most. */
  readonly peak?: Target
  /** Stored bytes against cinder's, at most. */
  readonly stored?: Target
  /** Of each fact: at most, or at least. */
  readonly facts?: Readonly<Record<string, { readonly max: number } | { readonly min: number }>>
}

/** One who does a row's job: cinder, or our agent in one of its settings. */
export type Side = {
  readonly name: string
  /** Of ours; empty where none was set. */
  readonly targets: Targets
  readonly run: () => Promise<Sample>
}

/** One job, done by several sides in turns. */
export type Row = {
  readonly name: string
  readonly rounds: number
  /** Named beside the samples: what is not obvious of the way it is measured. */
  readonly note?: string
  readonly prepare: (bench: Bench, stack: AsyncDisposableStack) => Promise<readonly Side[]>
}

export const cinderName = 'cinder'

/** A setting of our agent that a row is run with. */
export type Variant = {
  readonly name: string
  readonly ownOptions: Readonly<Record<string, string>>
  readonly env: NodeJS.ProcessEnv
  readonly targets: Targets
}

/** With `verify_upload` off, for which the targets are meant, and on. */
export function variants(targets: Targets, unaccelerated?: Targets): readonly Variant[] {
  const [off, on] = [{ verify_upload: 'off' }, { verify_upload: 'on' }]
  const env = { CBA_ACCELERATOR: 'off' }
  const rest: Variant[] =
    unaccelerated === undefined
      ? []
      : [
          { name: 'no accelerator', ownOptions: off, env, targets: unaccelerated },
          { name: 'no accelerator, verified', ownOptions: on, env, targets: {} },
        ]
  return [
    { name: 'ours', ownOptions: off, env: {}, targets },
    { name: 'verified', ownOptions: on, env: {}, targets: {} },
    ...rest,
  ]
}
