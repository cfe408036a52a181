import type { Spool, SpoolFile } from '../../ports/spool.ts'
import { alreadyOpen, assertJobId, assertKeepable } from './kept-name.ts'

const pageBytes = 65_536

/** Scratch space in memory; what is kept lives as long as the spool. */
export function memorySpool(): Spool {
  const jobs = new Map<string, Map<string, Content>>()
  const inUse = new Set<Content>()

  return {
    async open() {
      const content = memoryContent()
      return memoryFile(content, content.clear)
    },

    async keep(jobId, name) {
      assertKeepable(jobId, name)
      const files = jobs.get(jobId) ?? new Map<string, Content>()
      jobs.set(jobId, files)
      const content = files.get(name) ?? memoryContent()
      files.set(name, content)
      if (inUse.has(content)) throw alreadyOpen(jobId, name)
      inUse.add(content)
      return memoryFile(content, () => inUse.delete(content))
    },

    async forget(jobId) {
      assertJobId(jobId)
      jobs.delete(jobId)
    },

    async forgetAllBut(jobIds) {
      for (const jobId of jobs.keys()) if (!jobIds.has(jobId)) jobs.delete(jobId)
    },
  }
}

type Content = ReturnType<typeof memoryContent>

/** Bytes in pages, so that it grows without copying. */
function memoryContent() {
  let pages: Uint8Array[] = []
  let sizeBytes = 0

  /** Calls `visit` for each page that the range touches, with the part of it and where that begins. */
  function visitPages(
    offsetBytes: number,
    lengthBytes: number,
    visit: (part: Uint8Array, start: number) => void,
  ): void {
    for (let done = 0; done < lengthBytes; ) {
      const at = (offsetBytes + done) % pageBytes
      const page = pages[Math.floor((offsetBytes + done) / pageBytes)] as Uint8Array
      const part = page.subarray(at, Math.min(pageBytes, at + lengthBytes - done))
      visit(part, done)
      done += part.byteLength
    }
  }

  return {
    size: () => sizeBytes,

    clear(): void {
      pages = []
      sizeBytes = 0
    },

    write(offsetBytes: number, bytes: Uint8Array): void {
      const end = offsetBytes + bytes.byteLength
      while (pages.length * pageBytes < end) pages.push(new Uint8Array(pageBytes))
      visitPages(offsetBytes, bytes.byteLength, (part, start) => {
        part.set(bytes.subarray(start, start + part.byteLength))
      })
      sizeBytes = Math.max(sizeBytes, end)
    },

    read(offsetBytes: number, into: Uint8Array): number {
      const wanted = Math.max(0, Math.min(into.byteLength, sizeBytes - offsetBytes))
      visitPages(offsetBytes, wanted, (part, start) => into.set(part, start))
      return wanted
    },
  }
}

function memoryFile(content: Content, close: () => void): SpoolFile {
  let isOpen = true
  return {
    get sizeBytes() {
      return content.size()
    },
    append: async (bytes) => content.write(content.size(), bytes),
    write: async (offsetBytes, bytes) => content.write(offsetBytes, bytes),
    clear: async () => content.clear(),
    async sync() {},
    read: async (offsetBytes, into) => content.read(offsetBytes, into),
    async [Symbol.asyncDispose]() {
      if (isOpen) close()
      isOpen = false
    },
  }
}
