import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { checkServerIdentity } from 'node:tls'

import { AgentError } from '../../domain/errors.ts'
import { trustedCertificates } from '../../lib/tls-trust.ts'
import type { DatabaseTls } from './database-url.ts'

/** What both drivers give to Node's TLS. */
export type TlsOptions = {
  readonly ca?: string[]
  readonly cert?: string
  readonly key?: string
  readonly rejectUnauthorized: boolean
  /** Throws nothing: gives the error, where the certificate is another host's. */
  readonly checkServerIdentity: typeof checkServerIdentity
}

/** Throws CONFIGURATION_INVALID where a file cannot be read. */
export function tlsOptions(tls: DatabaseTls): TlsOptions {
  return {
    ...(tls.verifies === 'nothing' ? {} : { ca: fileOf(() => certificatesOf(tls)) }),
    ...(tls.cert === null ? {} : { cert: fileOf(() => readFileSync(tls.cert ?? '', 'utf8')) }),
    ...(tls.key === null ? {} : { key: fileOf(() => readFileSync(tls.key ?? '', 'utf8')) }),
    rejectUnauthorized: tls.verifies !== 'nothing',
    checkServerIdentity: (host, certificate) =>
      tls.verifies === 'certificate-and-host' ? checkServerIdentity(host, certificate) : undefined,
  }
}

/** OpenSSL would look in the folder by hashes of names; whoever fills it knows of links, and we take all that is there. */
function certificatesOf({ ca, caFolder }: DatabaseTls): string[] {
  if (caFolder === null) return trustedCertificates(ca)
  const inFolder = readdirSync(caFolder, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map(({ name }) => readFileSync(path.join(caFolder, name), 'utf8'))
    .filter(
      (text) => text.includes('BEGIN CERTIFICATE') || text.includes('BEGIN TRUSTED CERTIFICATE'),
    )
  return ca === null ? inFolder : [...trustedCertificates(ca), ...inFolder]
}

function fileOf<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    const { message } = error as Error
    throw new AgentError('CONFIGURATION_INVALID', `[database] connection: TLS file: ${message}`)
  }
}
