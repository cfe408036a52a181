/**
 * What helps where TLS with the broker failed, by the code of Node's or OpenSSL's error; null where
 * nothing is known. Source: Node's documentation, "X509 certificate error codes"; RFC 8446, section 6.2.
 */
const adviceByCode: readonly (readonly [RegExp, string])[] = [
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    'write the name that is in its certificate into transport_url, or set ' +
      'ssl_enforce_hostname_verification = false',
  ],
  [
    /SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/,
    'set ssl_ca_file to the CA that signed the certificate of the broker',
  ],
  [/^CERT_HAS_EXPIRED$/, 'renew the certificate of the broker'],
  [/^CERT_NOT_YET_VALID$/, 'look at the clocks of both hosts'],
  [
    /ALERT_CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE/,
    'the broker wants a certificate of ours: set ssl_cert_file and ssl_key_file',
  ],
  [/ALERT_UNKNOWN_CA/, 'the broker does not know the CA that signed ssl_cert_file'],
  [/ALERT_CERTIFICATE_EXPIRED/, 'renew ssl_cert_file'],
  [/WRONG_VERSION_NUMBER/, 'the broker speaks no TLS on this port: look at ssl and the port'],
]

export function tlsAdvice(error: unknown): string | null {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return adviceByCode.find(([pattern]) => pattern.test(code))?.[1] ?? null
}
