import { namedOptions, type Settings } from './schema.ts'

type Password = { readonly start: number; readonly text: string }

/** Where passwords stand in `scheme://user:password@host,user:password@host2/path`. */
function passwordsIn(url: string): readonly Password[] {
  const [, scheme = '', hosts = ''] = /^([a-z][\w+.-]*:\/\/)([^/?#]*)/i.exec(url) ?? []
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

/** A URL with `***` for each password; any other text as it is. */
export function maskPasswords(value: string): string {
  return passwordsIn(value)
    .toReversed()
    .reduce(
      (masked, { start, text }) =>
        `${masked.slice(0, start)}***${masked.slice(start + text.length)}`,
      value,
    )
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Every value that must not be seen: those of secret options, and the passwords of their URLs. */
export function secretsOf(settings: Settings): readonly string[] {
  const secrets = namedOptions
    .filter(({ sensitive }) => sensitive === true)
    .map(({ section, option }) => settingOf(settings, section, option))
    .filter((value) => typeof value === 'string')
    .flatMap((value) =>
      value.includes('://')
        ? passwordsIn(value).flatMap(({ text }) => [text, decoded(text)])
        : [value],
    )
  return [...new Set(secrets)]
}

/** The value of an option by its names. */
export function settingOf(settings: Settings, section: string, option: string): unknown {
  return Reflect.get(Reflect.get(settings, section) as object, option)
}
