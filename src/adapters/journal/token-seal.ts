import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'

import { AgentError } from '../../domain/errors.ts'

/** Locks a user's token away while its job is in the journal (decision D1). */
export type TokenSeal = {
  readonly seal: (token: string) => Uint8Array
  /** The token, or null where it was sealed under another key: then there is no token any more. */
  readonly open: (sealed: Uint8Array) => string | null
}

const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16

/** AES-256-GCM under `key`; the sealed form is nonce, tag, ciphertext. */
export function tokenSeal(key: Uint8Array): TokenSeal {
  return {
    seal(token) {
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv('aes-256-gcm', key, nonce)
      const ciphertext = Buffer.concat([cipher.update(token, 'utf8'), cipher.final()])
      return Buffer.concat([nonce, cipher.getAuthTag(), ciphertext])
    },
    open(sealed) {
      try {
        const nonce = sealed.subarray(0, nonceBytes)
        const decipher = createDecipheriv('aes-256-gcm', key, nonce)
        decipher.setAuthTag(sealed.subarray(nonceBytes, nonceBytes + tagBytes))
        const plain = decipher.update(sealed.subarray(nonceBytes + tagBytes))
        return Buffer.concat([plain, decipher.final()]).toString('utf8')
      } catch {
        return null
      }
    },
  }
}

/**
 * The host key: the systemd credential `journal-key` where the unit gives one, else a file of the
 * state folder, made at the first start and readable by its owner alone.
 */
export function readHostKey(stateDir: string): Uint8Array {
  const credentials = process.env['CREDENTIALS_DIRECTORY']
  const given = credentials === undefined ? null : readKey(path.join(credentials, 'journal-key'))
  const own = path.join(stateDir, 'journal.key')
  return given ?? (isHalfMade(own) ? null : readKey(own)) ?? makeKey(own)
}

/** A crash at the first start leaves an empty file. Nothing was sealed with it yet. */
function isHalfMade(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.size === 0
}

function readKey(file: string): Uint8Array | null {
  let key: Uint8Array
  try {
    key = readFileSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new AgentError('JOURNAL_UNAVAILABLE', `cannot read the host key ${file}`, {}, error)
  }
  if (key.byteLength === keyBytes) return key
  throw new AgentError(
    'JOURNAL_UNAVAILABLE',
    `the host key ${file} has ${key.byteLength} bytes instead of ${keyBytes}: remove it, and the next start makes another (tokens of unfinished jobs are lost with it)`,
  )
}

function makeKey(file: string): Uint8Array {
  const key = randomBytes(keyBytes)
  try {
    const handle = openSync(file, 'w', 0o600)
    try {
      writeSync(handle, key)
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
  } catch (error) {
    throw new AgentError('JOURNAL_UNAVAILABLE', `cannot write the host key ${file}`, {}, error)
  }
  return key
}
