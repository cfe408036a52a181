import { AgentError } from './errors.ts'
import { isJsonObject, type Json, type JsonObject } from './json.ts'
import { depthOf } from './json-text.ts'
import { pythonLine } from './python-json.ts'

// The volume's own metadata, kept with its backup as JSON text inside the metadata document.
// Source: cinder/backup/driver.py, BackupMetadataAPI.

const lengthMax = 1_048_576
const depthMax = 32
const baseKey = 'volume-base-metadata'

/**
 * The text to keep with a backup, from what a request carries: an object or its JSON text, of
 * version 1 or 2. The secret of the volume's attachment is not kept (decision D15). Null where there
 * is nothing to keep. Throws ARGUMENT_INVALID.
 */
export function volumeMetaText(given: Json): string | null {
  if (given === null || given === '') return null
  const document = parse(given, 'ARGUMENT_INVALID')
  const clean = withoutSecret(document)
  const text = typeof given === 'string' && clean === document ? given : pythonLine(clean)
  checkLength(text, 'ARGUMENT_INVALID')
  return text
}

/**
 * The document kept with a backup, without the secret that cinder-backup keeps in it: it goes into events.
 * Throws MANIFEST_INVALID where it is none of version 1 or 2.
 */
export function parseVolumeMeta(text: string): JsonObject {
  return withoutSecret(parse(text, 'MANIFEST_INVALID'))
}

/** The same document where there is none. */
function withoutSecret(document: JsonObject): JsonObject {
  const base = document[baseKey]
  if (!isJsonObject(base) || (base['provider_auth'] ?? null) === null) return document
  return { ...document, [baseKey]: { ...base, provider_auth: null } }
}

type Blame = 'ARGUMENT_INVALID' | 'MANIFEST_INVALID'

function parse(given: Json, blame: Blame): JsonObject {
  const document = typeof given === 'string' ? parseText(given, blame) : given
  if (!isJsonObject(document)) throw new AgentError(blame, 'volume_meta is no JSON object')
  const { version } = document
  if (version !== 1 && version !== 2) {
    throw new AgentError(
      blame,
      `volume_meta has version ${JSON.stringify(version ?? null).slice(0, 50)}; 1 and 2 are supported`,
    )
  }
  return document
}

function parseText(text: string, blame: Blame): Json {
  checkLength(text, blame)
  // It goes into events, and what writes JSON follows it down.
  if (depthOf(text) > depthMax) {
    throw new AgentError(blame, `volume_meta is nested deeper than ${depthMax} levels`)
  }
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AgentError(blame, 'volume_meta is not JSON', {}, cause)
  }
}

function checkLength(text: string, blame: Blame): void {
  if (text.length <= lengthMax) return
  throw new AgentError(
    blame,
    `volume_meta has ${text.length} characters, ${lengthMax} at most are kept`,
  )
}
