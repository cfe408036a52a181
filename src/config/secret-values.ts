import type { ReferredSecrets } from './expand.ts'
import { type NamedOption, namedOptions, type Settings } from './schema.ts'

type Password = { readonly start: number; readonly text: string }

const address = '@(?:[\\w.-]+|\\[[^\\]@]*\\])(?::\\d*)?$'
const onlyHost = new RegExp(`^[^:@]*(?::[^@]*)?${address}`)
const oneOfHosts = new RegExp(`^[^:@]+:[^@]*${address}`)

const schemeOfUrl = /^[a-z][a-z0-9+.-]*:\/\//i

/** Where passwords stand in `scheme://user:password@host,user:password@host2/path`. */
function passwordsIn(url: string): readonly Password[] {
  const scheme = schemeOfUrl.exec(url)?.[0]
  if (scheme === undefined) return []
  const [hosts = ''] = url.slice(scheme.length).split(/[/?#]/, 1)
  const passwords: Password[] = []
  let start = scheme.length
  for (const part of hosts.split(',')) {
    const colon = part.indexOf(':')
    const at = part.lastIndexOf('@')
    if (colon !== -1 && colon < at) {
      passwords.push({ start: start + colon + 1, text: part.slice(colon + 1, at) })
    }
    start += part.length + 1
  }
  return passwords
}

/** All that the password of a doubtful URL could be: from the first colon to the last @. */
function widestPassword(url: string): readonly Password[] {
  const colon = url.indexOf(':', schemeOfUrl.exec(url)?.[0].length)
  const at = url.lastIndexOf('@')
  if (!isDoubtfulUrl(url) || colon === -1 || colon > at) return []
  return [{ start: colon + 1, text: url.slice(colon + 1, at) }]
}

/**
 * Whether a password of the URL may reach further than a reader of URLs thinks, as `u:a/b@host` does: it
 * has one of / ? # @ and the comma, which should have been written as %2F and so on.
 */
export function isDoubtfulUrl(url: string): boolean {
  const scheme = schemeOfUrl.exec(url)?.[0] ?? ''
  const [hosts = ''] = url.slice(scheme.length).split(/[/?#]/, 1)
  if (url.slice(scheme.length + hosts.length).includes('@')) return true
  const parts = hosts.split(',')
  const form = parts.length === 1 ? onlyHost : oneOfHosts
  return hosts.includes('@') && !parts.every((part) => form.test(part))
}

// What was meant to be a URL may lack a colon or a slash; it has a password all the same.
const logins = /([:/][^\s:@,'"]*):[^\s,'"]*@/g

/** A URL with `***` for each password and each secret of its query; any other text as it is. */
export function maskPasswords(value: string): string {
  const widest = widestPassword(value)
  const masked = (widest.length > 0 ? widest : passwordsIn(value))
    .toReversed()
    .reduce((text, { start, text: password }) => {
      return `${text.slice(0, start)}***${text.slice(start + password.length)}`
    }, value)
    .replaceAll(logins, '$1:***@')
  if (!schemeOfUrl.test(masked)) return masked
  return masked.replace(/([?&][^=&]*(?:pass|secret|token|key)[^=&]*=).+$/is, '$1***')
}

/** What may be shown of the value of an option. */
export function shownText(option: NamedOption, value: unknown, isSecret: boolean): string {
  const text = value === null || value === undefined ? '' : String(value)
  if (text === '') return text
  const isUrl = option.sensitive === 'password' && schemeOfUrl.test(text)
  if (isSecret || (option.sensitive !== undefined && !isUrl)) return '***'
  return Array.isArray(value)
    ? value.map((item) => maskPasswords(String(item))).join(',')
    : maskPasswords(text)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/**
 * Every text that must not be seen: the values of secret options and of those that refer to one, and
 * the passwords of their URLs.
 */
export function secretsOf(settings: Settings, referred: ReferredSecrets): readonly string[] {
  const secrets = namedOptions.flatMap((option) => {
    const value = settingOf(settings, option.section, option.option)
    const texts = (Array.isArray(value) ? value : [value]).filter(
      (text) => typeof text === 'string',
    )
    if (option.sensitive === 'password') {
      return texts.flatMap((text) =>
        schemeOfUrl.test(text)
          ? [...passwordsIn(text), ...widestPassword(text)].flatMap(bothForms)
          : [text],
      )
    }
    return option.sensitive === 'whole' || referred.names.has(option.name) ? texts : []
  })
  return [...new Set([...secrets, ...referred.texts].filter((secret) => secret !== ''))]
}

function bothForms({ text }: Password): readonly string[] {
  return [text, decoded(text)]
}

/** Anything shorter is in every other word. */
const hiddenCharsMin = 4

/** `text` with `***` for every secret in it. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets
    .filter((secret) => secret.length >= hiddenCharsMin)
    .toSorted((a, b) => b.length - a.length)
    .reduce((hidden, secret) => hidden.replaceAll(secret, '***'), text)
}

/** The value of an option by its names. */
export function settingOf(settings: Settings, section: string, option: string): unknown {
  return Reflect.get(Reflect.get(settings, section) as object, option)
}
