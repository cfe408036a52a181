import type { ReferredSecrets } from './expand.ts'
import type { Origin } from './read-settings.ts'
import { namedOptions, type Settings } from './schema.ts'
import { settingOf, shownText } from './secret-values.ts'

export type ShownOption = {
  readonly section: string
  readonly option: string
  /** As it would be written in a file; empty where it is not set; `***` for secrets, also where it refers to one. */
  readonly value: string
  readonly origin: Origin
}

/** Every option, with its value and where it came from. Shows no secret. */
export function shownOptions(
  settings: Settings,
  origins: ReadonlyMap<string, Origin>,
  referred: ReferredSecrets,
): readonly ShownOption[] {
  return namedOptions.map((named) => {
    const { section, option, name } = named
    const text = shownText(named, settingOf(settings, section, option), referred.names.has(name))
    return { section, option, value: oneLine(text), origin: origins.get(name) ?? 'default' }
  })
}

/** Control characters as JSON writes them: a value is one line. */
function oneLine(text: string): string {
  return text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not get out.
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (character) => JSON.stringify(character).slice(1, -1),
  )
}
