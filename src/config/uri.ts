// The URIs that oslo.config takes. Source: oslo_config/types.py, URI, with rfc3986 1.5: a scheme and an
// authority must be there, and the latter be made of what RFC 3986 allows. It means to look at the path
// too, but lets everything pass there, as in the query.

const unreserved = 'A-Za-z0-9._~\\-'
const delimiters = "!$&'()*+,;="
const escaped = '%[A-Fa-f0-9]{2}'

const start = /^[a-zA-Z][a-zA-Z0-9+.-]*:\/\/([^\\/?#]+)/
const userInfo = `(?:(?:[${unreserved}${delimiters}:]|${escaped})+@)?`
const regularName = `(?:[${unreserved}${delimiters}]|${escaped})*`
// Python's $ is also in front of a line break at the end.
const authority = new RegExp(`^${userInfo}(${regularName}|\\[[^\\]]*\\]):?(?:[0-9]{1,5})?\n?$`)
const ipv4 = /^(?:[0-9]{1,3}\.){3}[0-9]{1,3}$/
const futureLiteral = new RegExp(`^\\[v[0-9A-Fa-f]+\\.[${unreserved}${delimiters}:]+\\]$`)

function isHost(host: string): boolean {
  if (ipv4.test(host)) return host.split('.').every((byte) => Number(byte) <= 255)
  if (!host.startsWith('[')) return true
  const address = host.slice(1, -1).replace(new RegExp(`%25(?:[${unreserved}]|${escaped})+$`), '')
  return futureLiteral.test(host) || URL.canParse(`http://[${address}]/`)
}

export function isUri(text: string): boolean {
  const [, named] = start.exec(text) ?? []
  if (named === undefined) return false
  const [, host] = authority.exec(named) ?? []
  return host !== undefined && isHost(host)
}
