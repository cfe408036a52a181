import type { Draw } from '../support/seeded-draw.ts'

/** What a dead agent still calls never comes back. */
const never = new Promise<never>(() => undefined)

/** From a start of the agent to its end. Everything that it does to the world goes through here. */
export type Life = {
  readonly isDead: boolean
  readonly died: Promise<void>
  /** What the kernel does for a process that is gone. */
  onDeath(clear: () => void): void
  /** The end between two instructions: nothing that this life does from now on has any effect. */
  crash(): void
  /** Runs `work` unless this life ends before it, and gives its result unless it ends after it. */
  around<T>(work: () => Promise<T>): Promise<T>
  aroundSync<T>(work: () => T): T
}

/** `crashChance` is asked at each step that leaves the process. */
export function startLife(draw: Draw, crashChance: () => number): Life {
  const clears: (() => void)[] = []
  const end = Promise.withResolvers<void>()
  let isDead = false

  function crash(): void {
    if (isDead) return
    isDead = true
    for (const clear of clears) clear()
    end.resolve()
  }
  /** Whether this life goes on. */
  function survives(): boolean {
    if (!isDead && draw.share() < crashChance()) crash()
    return !isDead
  }
  return {
    get isDead() {
      return isDead
    },
    died: end.promise,
    onDeath(clear) {
      if (isDead) clear()
      else clears.push(clear)
    },
    crash,
    async around<T>(work: () => Promise<T>): Promise<T> {
      if (!survives()) return never
      try {
        const result = await work()
        return survives() ? result : never
      } catch (error) {
        if (isDead) return never
        throw error
      }
    },
    aroundSync<T>(work: () => T): T {
      if (!survives()) throw new Error('this agent is dead')
      const result = work()
      if (!survives()) throw new Error('this agent is dead')
      return result
    },
  }
}
