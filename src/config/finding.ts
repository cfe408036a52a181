import type { Problem } from './oslo-ini.ts'
import type { Origin } from './read-settings.ts'

/** A complaint about the option `section.option`. */
export type Finding = { readonly name: string; readonly what: string }

/** The complaint with the place where the option was set. */
export function located({ name, what }: Finding, origins: ReadonlyMap<string, Origin>): Problem {
  const [section = '', option = ''] = name.split('.')
  return { where: origins.get(name) ?? 'default', option: `[${section}] ${option}`, what }
}
