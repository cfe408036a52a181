import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

export type ServerCertificate = { readonly key: string; readonly cert: string }

export type Certificates = {
  /** File of the CA that signed all but `selfSigned` and `otherCa`. */
  readonly caFile: string
  /** For 127.0.0.1, valid now. */
  readonly good: ServerCertificate
  readonly selfSigned: ServerCertificate
  readonly otherCa: ServerCertificate
  readonly expired: ServerCertificate
  readonly notYetValid: ServerCertificate
  readonly wrongName: ServerCertificate
}

type Wanted = { readonly san: string; readonly from: string; readonly until: string }

const today = { from: '200101000000Z', until: '400101000000Z' }
const config = `
[ca]
default_ca = test
[test]
database = index
rand_serial = yes
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
`

/** Certificates of every kind that a server may show, made by openssl and removed by `after`. */
export function certificates(after: (remove: () => void) => void): Certificates {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'certificates-'))
  after(() => rmSync(folder, { recursive: true }))
  const openssl = (...args: readonly string[]) =>
    execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  writeFileSync(path.join(folder, 'config'), config)
  writeFileSync(path.join(folder, 'index'), '')

  const made = (name: string): ServerCertificate => ({
    key: readFileSync(path.join(folder, `${name}.key`), 'utf8'),
    cert: readFileSync(path.join(folder, `${name}.pem`), 'utf8'),
  })
  const selfSigned = (name: string, ...extra: readonly string[]) => {
    const files = ['-keyout', `${name}.key`, '-out', `${name}.pem`, '-days', '30']
    openssl('req', '-x509', ...newKey, ...files, '-subj', `/CN=${name}`, ...extra)
    return made(name)
  }
  const signed = (name: string, ca: string, { san, from, until }: Wanted) => {
    const request = ['-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`]
    openssl('req', ...newKey, ...request, '-addext', `subjectAltName=${san}`)
    const by = ['-cert', `${ca}.pem`, '-keyfile', `${ca}.key`, '-config', 'config', '-batch']
    const when = ['-startdate', from, '-enddate', until]
    openssl('ca', ...by, ...when, '-in', `${name}.csr`, '-out', `${name}.pem`, '-notext')
    return made(name)
  }

  selfSigned('ca')
  selfSigned('other-ca')
  const here = { san: 'IP:127.0.0.1', ...today }
  return {
    caFile: path.join(folder, 'ca.pem'),
    good: signed('good', 'ca', here),
    selfSigned: selfSigned('self-signed', '-addext', 'subjectAltName=IP:127.0.0.1'),
    otherCa: signed('of-other-ca', 'other-ca', here),
    expired: signed('expired', 'ca', { ...here, until: '210101000000Z' }),
    notYetValid: signed('not-yet', 'ca', { ...here, from: '390101000000Z' }),
    wrongName: signed('wrong-name', 'ca', { ...here, san: 'DNS:swift.example' }),
  }
}
