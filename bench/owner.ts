import type { TestContext } from 'node:test'

/** Whoever calls back at the end: what test/support asks for. */
export type Owner = Pick<TestContext, 'after'>

export function ownerOf(stack: AsyncDisposableStack): Owner {
  return {
    after(end) {
      stack.defer(async () => {
        await (end as () => unknown)()
      })
    },
  }
}
