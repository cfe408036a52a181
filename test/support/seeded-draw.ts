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

/** Cards in an order that chance decides; each comes once before any comes again. */
export type Deck<T> = {
  /** The next one that fits; null: none of all the cards does. */
  next(fits?: (card: T) => boolean): T | null
}

export function seededDeck<T>(cards: readonly T[], draw: Draw): Deck<T> {
  const left: T[] = []
  return {
    next(fits = () => true) {
      if (!left.some(fits)) {
        if (!cards.some(fits)) return null
        const fresh = [...cards]
        while (fresh.length > 0) left.push(...fresh.splice(draw.below(fresh.length), 1))
      }
      return left.splice(left.findIndex(fits), 1)[0] ?? null
    },
  }
}
