import { AgentError } from '../../domain/errors.ts'
import type { ObjectId } from '../../ports/object-store.ts'

// Line ends would end up in headers and logs, a NUL in paths.
// biome-ignore lint/suspicious/noControlCharactersInRegex: They are what is looked for.
const controls = /[\u0000-\u001f\u007f]/

/** Throws STORE_REFUSED for an object name that no store may be asked for. */
export function checkObjectName({ container, name }: ObjectId): void {
  if (name === '') throw refused(container, name, 'the name is empty')
  if (!isPlainText(name)) throw refused(container, name, 'the name holds control characters')
  // A proxy on the way might resolve them, and so leave the container.
  if (name.split('/').some(isDots)) throw refused(container, name, 'the name holds a dot segment')
}

/** Throws STORE_REFUSED for a beginning that no name has: sent to a store it might become another's. */
export function checkListPrefix(container: string, prefix: string): void {
  if (isPlainText(prefix)) return
  throw refused(container, prefix, 'it holds control characters or half a character')
}

/**
 * The parts of a container's name: one, or several where the store's containers may nest. Throws
 * CONTAINER_INVALID for a name that cannot be one.
 */
export function containerParts(
  container: string,
  { bytesMax, mayNest }: { readonly bytesMax: number; readonly mayNest: boolean },
): readonly string[] {
  const fault = containerFault(container, bytesMax, mayNest)
  if (fault === null) return container.split('/')
  throw new AgentError(
    'CONTAINER_INVALID',
    `cannot use container ${JSON.stringify(container.slice(0, 256))}: ${fault}`,
    { container },
  )
}

function containerFault(container: string, bytesMax: number, mayNest: boolean): string | null {
  if (container === '') return 'the name is empty'
  if (!isPlainText(container)) return 'the name holds control characters'
  if (Buffer.byteLength(container) > bytesMax) return `the name has more than ${bytesMax} bytes`
  const parts = container.split('/')
  if (parts.length > 1 && !mayNest) return 'the name holds a slash'
  if (parts.includes('')) return 'a part of the name is empty'
  if (parts.some(isDots)) return 'a part of the name is made of dots'
  return null
}

function isPlainText(text: string): boolean {
  return !controls.test(text) && text.isWellFormed()
}

function isDots(part: string): boolean {
  return part === '.' || part === '..'
}

function refused(container: string, name: string, fault: string): AgentError {
  const shown = JSON.stringify(name.slice(0, 256))
  return new AgentError('STORE_REFUSED', `cannot use object ${shown}: ${fault}`, {
    container,
    name,
  })
}
