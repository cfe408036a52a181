import { randomBytes } from 'node:crypto'
import { type Dirent, readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'

/** Secrets that must never be seen again, each with the place that it was put into. */
export type Canaries = {
  /** A new secret of letters and digits, for `place`. */
  plain(place: string): string
  /** One with characters that URLs, JSON and INI files write otherwise. */
  awkward(place: string): string
  /** A secret that others made, like a token. */
  known(place: string, secret: string): string
  readonly count: number
  /** The places whose secrets are in `found`, plain, percent-encoded, in JSON, in base64 or in hexadecimal. */
  seenIn(found: string | Buffer): readonly string[]
  /** The same for every file below a folder, named. */
  seenBelow(folder: string): Promise<readonly string[]>
}

/** Canaries are known by this many letters and digits, which every encoding of text leaves as they are. */
const coreLength = 20

export function canaries(): Canaries {
  const forms = new Map<string, readonly string[]>()
  const add = (place: string, core: string) => {
    if (forms.has(place)) throw new Error(`two secrets for ${place}`)
    forms.set(place, formsOf(core))
    return core
  }
  const plain = (place: string) =>
    add(
      place,
      `cnry${randomBytes(coreLength)
        .toString('hex')
        .slice(0, coreLength - 4)}`,
    )
  const seenIn = (found: string | Buffer) => {
    const text = typeof found === 'string' ? found : found.toString('latin1')
    return [...forms].filter(([, all]) => all.some((form) => text.includes(form))).map(([of]) => of)
  }
  return {
    plain,
    awkward: (place) => `p/ä+@:${plain(place)}`,
    known(place, secret) {
      add(place, /[A-Za-z0-9]{12,}/.exec(secret.slice(8))?.[0] ?? secret)
      return secret
    },
    get count() {
      return forms.size
    },
    seenIn,
    async seenBelow(folder) {
      const entries = await listed(folder)
      const files = entries.filter((entry) => entry.isFile())
      return files.flatMap(({ parentPath, name }) => {
        const file = path.join(parentPath, name)
        const where = path.relative(folder, file)
        return seenIn(contentOf(file)).map((place) => `${where}: ${place}`)
      })
    },
  }
}

/** A folder that goes while it is read is read again, without it. */
async function listed(folder: string): Promise<Dirent[]> {
  while (true) {
    try {
      return await readdir(folder, { recursive: true, withFileTypes: true })
    } catch (error) {
      const { code, path: gone } = error as NodeJS.ErrnoException
      if (code !== 'ENOENT' || gone === folder) throw error
    }
  }
}

/** Nothing where the file has gone since it was listed. */
function contentOf(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.of()
    throw error
  }
}

/** The text itself, in hexadecimal, and in base64 whatever stands before it. */
function formsOf(core: string): readonly string[] {
  const inBase64 = [0, 1, 2].flatMap((before) => {
    const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(core)])
    // Characters that hold bits of the neighbours are left out.
    const first = Math.ceil((before * 8) / 6)
    const last = Math.floor((bytes.byteLength * 8) / 6)
    return [bytes.toString('base64'), bytes.toString('base64url')].map((t) => t.slice(first, last))
  })
  const hex = Buffer.from(core).toString('hex')
  return [...new Set([core, hex, hex.toUpperCase(), ...inBase64])]
}
