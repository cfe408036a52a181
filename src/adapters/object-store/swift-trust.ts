import { AgentError } from '../../domain/errors.ts'
import { trustedCertificates } from '../../lib/tls-trust.ts'
import { errorText } from './swift-failures.ts'

/** The certificates to trust (lib/tls-trust.ts). Throws CONFIGURATION_INVALID where the file cannot be read. */
export function trusted(caFile: string | null): string[] {
  try {
    return trustedCertificates(caFile)
  } catch (error) {
    throw new AgentError(
      'CONFIGURATION_INVALID',
      `cannot read the CA file ${caFile}: ${errorText(error)}; see backup_swift_ca_cert_file`,
      { caFile },
      error,
    )
  }
}
