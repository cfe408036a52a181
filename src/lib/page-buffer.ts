/** The memory of a page, and what O_DIRECT asks a buffer, an offset and a length to be a multiple of. */
export const pageBytes = 4096

const wasmPageBytes = 65_536

// Only the part that we need: the DOM's types, which know the whole, are not for us.
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: {
    Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
  }
}

const paged = new WeakSet<ArrayBufferLike>()

/**
 * A buffer of zeros that starts on a page. It is fit for O_DIRECT, and the kernel copies into it in a
 * third of the time that it takes with what malloc gives, on some machines. Dear to make, and each
 * reserves some GiB of addresses (not of memory): make few and keep them.
 */
export function pageBuffer(bytes: number): Buffer {
  const pages = Math.ceil(bytes / wasmPageBytes)
  // The one memory that JavaScript can have of which this is promised.
  const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages })
  paged.add(buffer)
  return Buffer.from(buffer, 0, bytes)
}

/** Whether it starts on a page for certain: it is a buffer of `pageBuffer`, or a part of one. */
export function startsOnPage({ buffer, byteOffset }: Uint8Array): boolean {
  return byteOffset % pageBytes === 0 && paged.has(buffer)
}
