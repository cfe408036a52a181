import { referredDefault, referredText } from './formats.ts'
import { type IniFile, type OptionPlace, writtenInFiles } from './oslo-ini.ts'
import { type NamedOption, namedOptions, placesOf } from './schema.ts'
import { substitute } from './substitute.ts'

/** The option that a reference to `place` means, if it is one of ours. */
function namedOption({ section, option }: OptionPlace): NamedOption | undefined {
  return (
    namedOptions.find(({ name }) => name === `${section}.${option}`) ??
    namedOptions.findLast((named) =>
      // An old name without a section of its own is looked for in [DEFAULT] by references; one that
      // has only moved is not found. Source: oslo_config/cfg.py, `_track_deprecated_opts`.
      named.deprecatedNames?.some((name) => {
        const old = name.includes('.') ? name : `DEFAULT.${name}`
        return option !== named.option && old === `${section}.${option}`
      }),
    )
  )
}

/** A reference to a name that nobody knows; where it was met on the way, [DEFAULT] is tried. */
class NothingSets extends Error {}

const secretName = /pass|secret|token|key|connection|_url/i

const ourSections = new Set(namedOptions.map(({ section }) => section))
const ourNames = new Set(namedOptions.map(({ option }) => option))

/** Whether the place has a name of ours in a wrong section of ours, where it counts for nothing. */
function isMisplaced({ section, option }: OptionPlace): boolean {
  return ourSections.has(section) && ourNames.has(option)
}

type ReferredPlace = { readonly place: OptionPlace; readonly option: NamedOption | undefined }

export type Expander = {
  /** The text of an option with every reference replaced. Throws where that cannot be done. */
  expand(option: NamedOption, text: string): string
  readonly secrets: ReferredSecrets
}

/** What has been found to be secret by being referred to. */
export type ReferredSecrets = {
  /** `section.option` of those whose text holds a secret that it refers to. */
  readonly names: ReadonlySet<string>
  /** Values of options of others whose names say that they are secret. */
  readonly texts: ReadonlySet<string>
}

/**
 * Gives the text of options with their `$references` replaced. A name is looked for in the section
 * of the value, then in [DEFAULT], as oslo does; options of others count where the files set them
 * and none of ours is meant.
 */
export function expander(
  files: readonly IniFile[],
  env: Readonly<Record<string, string | undefined>>,
  defaults: Readonly<Record<string, string | number>>,
): Expander {
  const names = new Set<string>()
  const secretTexts = new Set<string>()

  const textsOf = ({ place, option }: ReferredPlace) => {
    const variable = option && env[option.env]
    if (variable !== undefined) return [variable]
    const isMulti = option?.multi === true
    return writtenInFiles(files, option ? placesOf(option) : [place], isMulti)?.texts ?? null
  }

  /** What may be meant, the likeliest first: our options, then what others have in the files. */
  const meanings = (places: readonly OptionPlace[]): readonly ReferredPlace[] => {
    const all = places.map((place) => ({ place, option: namedOption(place) }))
    const ofOurs = all.filter(({ option }) => option !== undefined)
    const ofOthers = all.filter(
      (each) => each.option === undefined && !isMisplaced(each.place) && textsOf(each) !== null,
    )
    return [...ofOurs, ...ofOthers]
  }

  /** What stands for a reference; `within` are the options on the way, outermost first. */
  const textReferredTo = (referred: ReferredPlace, within: readonly string[]): string => {
    const { place, option } = referred
    const key = option?.name ?? `${place.section}.${place.option}`
    const isSecret = option === undefined ? secretName.test(place.option) : option.sensitive
    if (isSecret) for (const outer of within) names.add(outer)
    if (within.includes(key)) throw new Error(`refers to itself by $${place.option}`)
    const fallback = option && (defaults[option.name] ?? option.default)
    const isReference = typeof fallback === 'string' && fallback.includes('$')
    const texts = textsOf(referred) ?? (isReference ? [fallback] : null)
    if (texts === null) return option === undefined ? '' : referredDefault(option, fallback)
    const section = option?.section ?? place.section
    const expanded = texts.map((text) => expandText(text, section, [...within, key]))
    if (option === undefined) {
      const [text = ''] = expanded
      if (isSecret) secretTexts.add(text)
      return text
    }
    try {
      return referredText(option, expanded)
    } catch (error) {
      throw new Error(`refers to $${place.option}, which ${(error as Error).message}`)
    }
  }

  const referenced = (name: string, section: string, within: readonly string[]): string => {
    const [group = '', ...rest] = name.split('.')
    if (rest.length > 0 && group === 'DEFAULT') {
      throw new Error(
        `refers to $${name}, but [DEFAULT] has no name there; write $${rest.join('.')}`,
      )
    }
    const place =
      rest.length === 0 ? { section, option: name } : { section: group, option: rest.join('.') }
    let missing = new NothingSets(
      `refers to $${name}, which nothing sets; write $$ for a dollar sign`,
    )
    for (const meaning of meanings([place, { section: 'DEFAULT', option: name }])) {
      try {
        return textReferredTo(meaning, within)
      } catch (error) {
        if (!(error instanceof NothingSets)) throw error
        missing = error
      }
    }
    throw missing
  }

  const expandText = (text: string, section: string, within: readonly string[]): string =>
    substitute(text, (name) => referenced(name, section, within))

  return {
    expand: (option, text) => expandText(text, option.section, [option.name]),
    secrets: { names, texts: secretTexts },
  }
}
