// What must not be read in a log: known by the name of its field, by its value, or by its form.

/** Values that were added last; a token lives for hours, and so do the newest thousand. */
const passingMax = 1000
/** A shorter value would hide half of every line; such passwords are masked by name only. */
const lengthMin = 4

const secretName =
  /(?:^|[_-])(?:password|passwd|passphrase|adminpass|pass|secret|tokens?|auth_key|api_key|secret_key|access_key|private_key|encryption_key|session_key|swift_key|credentials?|authorization|cookie)$|^key$|^provider_auth$/i

// Every repetition has an end, so that no text can keep the expressions busy for long.
// Credentials in URLs, several hosts of a transport URL included.
const urlCredentials = /((?::\/\/|,)[^\s:/@,'"]{0,256}):[^\s/,'"]{0,256}@/g
// What JSON's and Python's ways of writing a mapping show, and headers.
const keyedValue =
  /((?:["'\\]|\b)[\w-]{0,40}(?:password|passwd|secret|token|auth[_-]key)\\?["']?\s?[:=]\s?)(?:\\?["'][^"']*["']|[^\s,;&"'}\])]+)/gi
// Keystone's Fernet tokens begin with the version byte and zeros of a time stamp.
const fernetToken = /\bgAAAA[\w-]{20,}={0,2}/g

/** Knows secrets and hides them. */
export interface Secrets {
  /** Hides `value` from now on; the oldest of very many are forgotten. */
  add(value: string): void
  mask(text: string): string
  isSecretName(name: string): boolean
}

/** `lasting` are never forgotten. */
export function secretValues(lasting: readonly string[]): Secrets {
  const known = lasting.flatMap(formsOf)
  const passing = new Set<string>()
  return {
    add(value) {
      for (const form of formsOf(value)) {
        passing.delete(form) // To the end of the row.
        passing.add(form)
      }
      for (const oldest of passing) {
        if (passing.size <= passingMax) break
        passing.delete(oldest)
      }
    },
    mask(text) {
      let masked = text
      for (const secrets of [known, passing]) {
        for (const secret of secrets) {
          if (masked.includes(secret)) masked = masked.replaceAll(secret, '***')
        }
      }
      return masked
        .replace(urlCredentials, '$1:***@')
        .replace(keyedValue, '$1***')
        .replace(fernetToken, '***')
    },
    isSecretName: (name) => secretName.test(name),
  }
}

/** The value itself, and as it stands in a URL and in JSON. */
function formsOf(value: string): readonly string[] {
  if (value.length < lengthMin) return []
  return [
    ...new Set([
      value,
      encodeURIComponent(value.toWellFormed()),
      JSON.stringify(value).slice(1, -1),
    ]),
  ]
}
