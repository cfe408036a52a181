import type { Spool, SpoolFile } from '../../ports/spool.ts'

const pageBytes = 65_536

/** Scratch space in memory. */
export function memorySpool(): Spool {
  return {
    async open() {
      return memoryFile()
    },
  }
}

function memoryFile(): SpoolFile {
  let pages: Uint8Array[] = []
  let sizeBytes = 0

  function clear(): void {
    pages = []
    sizeBytes = 0
  }

  return {
    get sizeBytes() {
      return sizeBytes
    },

    async append(bytes) {
      for (let from = 0; from < bytes.byteLength; ) {
        const at = sizeBytes % pageBytes
        if (at === 0) pages.push(new Uint8Array(pageBytes))
        const piece = bytes.subarray(from, from + pageBytes - at)
        pages.at(-1)?.set(piece, at)
        sizeBytes += piece.byteLength
        from += piece.byteLength
      }
    },

    async clear() {
      clear()
    },

    async read(offsetBytes, into) {
      const wanted = Math.max(0, Math.min(into.byteLength, sizeBytes - offsetBytes))
      for (let done = 0; done < wanted; ) {
        const at = (offsetBytes + done) % pageBytes
        const page = pages[Math.floor((offsetBytes + done) / pageBytes)] as Uint8Array
        const piece = page.subarray(at, Math.min(pageBytes, at + wanted - done))
        into.set(piece, done)
        done += piece.byteLength
      }
      return wanted
    },

    async [Symbol.asyncDispose]() {
      clear()
    },
  }
}
