export type Codec = 'none' | 'zlib' | 'bz2' | 'zstd'

/**
 * The names of Cinder's option and of a chunk's metadata, and what they mean. `gzip` is another name
 * for a zlib stream (RFC 1950), never a gzip file.
 * Source: cinder/backup/chunkeddriver.py, `_get_compressor`.
 */
const codecs = {
  none: 'none',
  off: 'none',
  no: 'none',
  zlib: 'zlib',
  gzip: 'zlib',
  bz2: 'bz2',
  bzip2: 'bz2',
  zstd: 'zstd',
} as const satisfies Record<string, Codec>

/** A compression's name as it stands in the metadata, in lower case. */
export type Compression = keyof typeof codecs

export const compressions = Object.keys(codecs) as readonly Compression[]

export function codecOf(compression: Compression): Codec {
  return codecs[compression]
}

/** The compression of this name, in whatever case; null where there is none. */
export function parseCompression(name: string): Compression | null {
  const lower = name.toLowerCase()
  return compressions.find((compression) => compression === lower) ?? null
}
