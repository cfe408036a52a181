import { isIP } from 'node:net'

// The addresses that oslo.config takes. Source: oslo_config/types.py, HostAddress: an IP address as
// inet_pton reads it, or a host name whose last part is no number.

// Python's letters without regard to case include four beyond ASCII, and its $ is also in front of a line
// break at the end.
const part = /^(?!-)[A-Za-z0-9\u0130\u0131\u017f\u212a-]{1,63}(?<!-)\n?$/
const nameLengthMax = 253

export function isHostAddress(text: string): boolean {
  return (isIP(text) !== 0 && !text.includes('%')) || isHostName(text)
}

function isHostName(text: string): boolean {
  if ([...text].length > nameLengthMax) return false
  const parts = (text.endsWith('.') ? text.slice(0, -1) : text).split('.')
  return /[a-zA-Z-]/.test(parts.at(-1) ?? '') && parts.every((one) => part.test(one))
}
