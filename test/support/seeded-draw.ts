import { randomOf } from './volume-files.ts'

/** Chance that a seed decides: the same seed, the same numbers. */
export type Draw = {
  /** From 0 to below 1. */
  share(): number
  /** A whole number from 0 to below `limit`. */
  below(limit: number): number
  of<T>(choices: readonly T[]): T
  weighted<T extends { readonly weight: number }>(choices: readonly T[]): T
}

export function seededDraw(seed: string): Draw {
  const share = randomOf(seed)
  const below = (limit: number) => Math.floor(share() * limit)
  return {
    share,
    below,
    of<T>(choices: readonly T[]): T {
      const chosen = choices[below(choices.length)]
      if (chosen === undefined) throw new Error('there is nothing to choose from')
      return chosen
    },
    weighted<T extends { readonly weight: number }>(choices: readonly T[]): T {
      let left = share() * choices.reduce((sum, { weight }) => sum + weight, 0)
      for (const choice of choices) {
        left -= choice.weight
        if (left < 0) return choice
      }
      throw new Error('there is nothing to choose from')
    },
  }
}
