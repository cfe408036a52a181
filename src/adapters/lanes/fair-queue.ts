/** Who is served: the jobs of one project share what the project gets. */
export type Share = {
  readonly project: string
  /** Of two that are equally far behind, the lower goes first. */
  readonly rank: number
}

/** One job's place in the queue. */
export interface QueuePlace<Item> {
  readonly share: Share
  /** Waits at the end of the job's own line. */
  add(item: Item): void
  remove(item: Item): void
  /** Says that the job was served so many bytes. */
  serve(bytes: number): void
  leave(): void
}

export interface FairQueue<Item> {
  join(share: Share): QueuePlace<Item>
  /**
   * Takes the next item that `mayRun`: of the project that was served least, of its job that was served
   * least. Null where none may.
   */
  take(mayRun: (place: QueuePlace<Item>, item: Item) => boolean): Item | null
  readonly length: number
}

type Place<Item> = QueuePlace<Item> & {
  readonly order: number
  readonly waiting: Item[]
  served: number
}

/**
 * A queue that serves by bytes, not by turns. Who comes later begins where the one that is furthest
 * behind stands: it neither waits for what others had before it, nor makes up for it.
 */
export function fairQueue<Item>(): FairQueue<Item> {
  const places = new Set<Place<Item>>()
  const projects = new Map<string, number>()
  let orders = 0

  const projectServed = (place: Place<Item>) => projects.get(place.share.project) ?? 0

  function isBefore(a: Place<Item>, b: Place<Item>): boolean {
    const isOneProject = a.share.project === b.share.project
    const behind = isOneProject ? a.served - b.served : projectServed(a) - projectServed(b)
    if (behind !== 0) return behind < 0
    if (a.share.rank !== b.share.rank) return a.share.rank < b.share.rank
    return a.order < b.order
  }

  function least(values: Iterable<number>): number {
    const smallest = Math.min(...values)
    return Number.isFinite(smallest) ? smallest : 0
  }

  function join(share: Share): QueuePlace<Item> {
    const { project } = share
    const others = [...places].filter((place) => place.share.project === project)
    if (others.length === 0) projects.set(project, least(projects.values()))
    const place: Place<Item> = {
      share,
      order: orders++,
      waiting: [],
      served: least(others.map(({ served }) => served)),
      add: (item) => place.waiting.push(item),
      remove(item) {
        const at = place.waiting.indexOf(item)
        if (at >= 0) place.waiting.splice(at, 1)
      },
      serve(bytes) {
        place.served += bytes
        projects.set(project, projectServed(place) + bytes)
      },
      leave() {
        places.delete(place)
        if (![...places].some((other) => other.share.project === project)) projects.delete(project)
      },
    }
    places.add(place)
    return place
  }

  return {
    join,
    take(mayRun) {
      let best: Place<Item> | null = null
      for (const place of places) {
        const [item] = place.waiting
        if (item === undefined || !mayRun(place, item)) continue
        if (best === null || isBefore(place, best)) best = place
      }
      return best?.waiting.shift() ?? null
    },
    get length() {
      return [...places].reduce((sum, { waiting }) => sum + waiting.length, 0)
    },
  }
}
