import type convict from 'convict'

import { type Machine, machineDefaults } from './machine.ts'
import { misspelling, misspeltSection, misspeltVariable } from './misspelling.ts'
import {
  allValues,
  type IniFile,
  type IniValue,
  lastValue,
  type OptionPlace,
  type Problem,
} from './oslo-ini.ts'
import { readIniFiles, type Sources } from './read-files.ts'
import { type NamedOption, namedOptions, newSettings, type Settings } from './schema.ts'
import { substitute } from './substitute.ts'

/** Where the value of an option came from: `default`, `file:line` or the variable's name. */
export type Origin = string

export type Reading = {
  readonly settings: Settings
  /** By `section.option`. */
  readonly origins: ReadonlyMap<string, Origin>
  readonly problems: readonly Problem[]
  readonly warnings: readonly Problem[]
}

/** What was written for an option; several texts only for a multi-valued one. */
type Written = {
  readonly texts: readonly string[]
  readonly origin: Origin
  /** The name it was written under. */
  readonly place: OptionPlace
}

// What follows a dollar sign may be half of a password.
const brokenSecret = 'holds a $ that refers to nothing; write $$ for a dollar sign'

const locationOf = ({ file, line }: IniValue): Origin => `${file}:${line}`
const optionText = ({ section, option }: OptionPlace) => `[${section}] ${option}`

function namedOption({ section, option }: OptionPlace): NamedOption | undefined {
  return namedOptions.find(({ name }) => name === `${section}.${option}`)
}

function placesOf({ section, option, deprecatedNames = [] }: NamedOption): readonly OptionPlace[] {
  const older = deprecatedNames.map((name) => {
    const [first = '', second] = name.split('.')
    return second === undefined ? { section, option: first } : { section: first, option: second }
  })
  return [{ section, option }, ...older]
}

function writtenInFiles(
  files: readonly IniFile[],
  places: readonly OptionPlace[],
  isMulti: boolean,
): Written | null {
  const last = lastValue(files, places)
  if (last === null) return null
  const values = isMulti ? allValues(files, places) : [last.value]
  return {
    texts: values.map(({ text }) => text),
    origin: locationOf(last.value),
    place: last.place,
  }
}

/**
 * Gives the text of options with their `$references` replaced. A name is looked for in the section
 * of the value, then in [DEFAULT], as oslo does; options of others count where the files set them.
 */
function expander(
  files: readonly IniFile[],
  sources: Sources,
  defaults: Readonly<Record<string, string | number>>,
) {
  const textOf = (place: OptionPlace): string | null => {
    const option = namedOption(place)
    const fromEnvironment = option && sources.env[option.env]
    if (fromEnvironment !== undefined) return fromEnvironment
    const written = writtenInFiles(files, option ? placesOf(option) : [place], false)
    if (written !== null) return written.texts[0] ?? ''
    if (option === undefined) return null
    return String(defaults[option.name] ?? option.default ?? '')
  }
  const expand = (text: string, section: string, within: readonly string[]): string =>
    substitute(text, (name) => {
      const [group = '', ...rest] = name.split('.')
      const places = [
        rest.length === 0 ? { section, option: name } : { section: group, option: rest.join('.') },
        { section: 'DEFAULT', option: name },
      ]
      const place =
        places.find((candidate) => namedOption(candidate) !== undefined) ??
        places.find((candidate) => textOf(candidate) !== null)
      if (place === undefined) {
        throw new Error(`refers to $${name}, which nothing sets; write $$ for a dollar sign`)
      }
      const key = `${place.section}.${place.option}`
      if (within.includes(key)) throw new Error(`refers to itself by $${name}`)
      return expand(textOf(place) ?? '', place.section, [...within, key])
    })
  return ({ section, name }: NamedOption, text: string) => expand(text, section, [name])
}

/** Whether an empty text means that the option is not set. */
function isUnsetByEmpty({ format, nullable, default: fallback }: NamedOption): boolean {
  return nullable || fallback === '' || ['integer', 'number', 'bytes'].includes(format)
}

/**
 * Reads the files and the environment into the schema. Never throws: what is wrong is in
 * `problems`, and the settings then hold the defaults in its place.
 */
export function readSettings(sources: Sources, machine: Machine): Reading {
  const defaults = machineDefaults(machine)
  const files = readIniFiles(sources)
  const problems = files.flatMap((file) => file.problems)
  const warnings = nameWarnings(files, sources.env)
  const origins = new Map<string, Origin>()
  const fromFiles = new Map<string, unknown>()
  const fromEnvironment: Record<string, string> = {}
  const expand = expander(files, sources, defaults)

  for (const option of namedOptions) {
    const variable = sources.env[option.env]
    const written = writtenInFiles(files, placesOf(option), option.multi === true)
    const origin = variable === undefined ? (written?.origin ?? 'default') : option.env
    origins.set(option.name, origin)
    if (written !== null && written.place.option !== option.option) {
      const what = `is an old name of ${optionText(option)}`
      warnings.push({ where: written.origin, option: optionText(written.place), what })
    }
    const texts = variable === undefined ? (written?.texts ?? defaultTexts(option)) : [variable]
    try {
      const values = texts.map((text) => expand(option, text)).map((text) => inCase(option, text))
      if (values.every((value) => value === '') && isUnsetByEmpty(option)) continue
      const [first = ''] = values
      if (variable !== undefined) fromEnvironment[option.env] = first
      else if (option.multi === true) fromFiles.set(option.name, values.filter(Boolean))
      else if (values.length > 0) fromFiles.set(option.name, first)
    } catch (error) {
      const what = option.sensitive === true ? brokenSecret : (error as Error).message
      problems.push({ where: origin, option: optionText(option), what })
    }
  }

  const config = newSettings(fromEnvironment, defaults)
  for (const [name, value] of fromFiles) config.set(name, value)
  problems.push(...validate(config, origins))
  if (config.get('cinder_backup_agent.jobs_max') === 0) {
    config.set('cinder_backup_agent.jobs_max', config.get('DEFAULT.backup_max_operations'))
  }
  return { settings: config.getProperties(), origins, problems, warnings }
}

/** A default that refers to other options is expanded like a written value. */
function defaultTexts({ default: fallback }: NamedOption): readonly string[] {
  return typeof fallback === 'string' && fallback.includes('$') ? [fallback] : []
}

function inCase({ ignoreCase }: NamedOption, text: string): string {
  return ignoreCase === true ? text.toLowerCase() : text
}

/** Lists what convict finds wrong, and resets it, so that the other checks can go on. */
function validate(
  config: convict.Config<Settings>,
  origins: ReadonlyMap<string, Origin>,
): readonly Problem[] {
  try {
    config.validate({ allowed: 'strict' })
    return []
  } catch (error) {
    // One line for each option: "section.option: complaint: value was …".
    return (error as Error).message.split('\n').map((line) => {
      const [name = ''] = line.split(':', 1)
      const [section = '', option = ''] = name.split('.')
      config.set(name, config.default(name as never))
      const what = line.slice(name.length + 2)
      return {
        where: origins.get(name) ?? 'default',
        option: optionText({ section, option }),
        what,
      }
    })
  }
}

function nameWarnings(files: readonly IniFile[], env: Sources['env']): Problem[] {
  const warnings: Problem[] = []
  for (const { sections } of files) {
    for (const [section, values] of sections) {
      const [first] = [...values.values()].flat()
      const ofSection = misspeltSection(section)
      if (ofSection !== null && first !== undefined) {
        warnings.push({ where: locationOf(first), option: null, what: ofSection })
      }
      for (const [option, [value]] of values) {
        const what = misspelling({ section, option })
        if (what === null || value === undefined) continue
        warnings.push({ where: locationOf(value), option: optionText({ section, option }), what })
      }
    }
  }
  for (const variable of Object.keys(env)) {
    const what = misspeltVariable(variable)
    if (what !== null) warnings.push({ where: variable, option: null, what })
  }
  return warnings
}
