import { readFileSync } from 'node:fs'
import { getCACertificates } from 'node:tls'

/**
 * The certificates to trust: those of `caFile`, else Node's own and the system's, as Debian's Python
 * does: a site's CA that is installed on the host just works. Throws where the file cannot be read.
 */
export function trustedCertificates(caFile: string | null): string[] {
  if (caFile !== null) return [readFileSync(caFile, 'utf8')]
  return [...getCACertificates('default'), ...getCACertificates('system')]
}

const refusals =
  /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_CERT_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_EXCEEDED|EPROTO$|ERR_SSL_WRONG_VERSION_NUMBER|ERR_SSL_UNSUPPORTED_PROTOCOL|ERR_SSL_TLSV1_ALERT|ERR_SSL_SSLV3_ALERT_HANDSHAKE)/

/**
 * Whether TLS itself said no: a certificate that is not trusted, expired or of another name, or no
 * TLS at the other end. Such a failure does not go away by trying again.
 */
export function isTlsRefusal(code: string): boolean {
  return refusals.test(code)
}
