import type convict from 'convict'

import { expander, type ReferredSecrets } from './expand.ts'
import { isUnset } from './formats.ts'
import { type Machine, machineDefaults } from './machine.ts'
import { misspelling, misspeltSection, misspeltVariable } from './misspelling.ts'
import {
  type IniFile,
  locationOf,
  type OptionPlace,
  type Problem,
  writtenInFiles,
} from './oslo-ini.ts'
import { readIniFiles, type Sources } from './read-files.ts'
import { type NamedOption, namedOptions, newSettings, placesOf, type Settings } from './schema.ts'
import { maskPasswords } from './secret-values.ts'

/** Where the value of an option came from: `default`, `file:line` or the variable's name. */
export type Origin = string

export type Reading = {
  readonly settings: Settings
  /** By `section.option`. */
  readonly origins: ReadonlyMap<string, Origin>
  readonly problems: readonly Problem[]
  readonly warnings: readonly Problem[]
  readonly referredSecrets: ReferredSecrets
}

// What follows a dollar sign may be half of a password.
const brokenSecret = 'holds a $ that refers to nothing; write $$ for a dollar sign'

const optionText = ({ section, option }: OptionPlace) => `[${section}] ${option}`

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
  const references = expander(files, sources.env, defaults)

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
      const values = texts
        .map((text) => references.expand(option, text))
        .map((text) => inCase(option, text))
      if (values.every((value) => isUnset(option, value))) continue
      const [first = ''] = values
      if (variable !== undefined) fromEnvironment[option.env] = first
      else if (option.multi === true) fromFiles.set(option.name, values.filter(Boolean))
      else if (values.length > 0) fromFiles.set(option.name, first)
    } catch (error) {
      const what = option.sensitive !== undefined ? brokenSecret : (error as Error).message
      problems.push({ where: origin, option: optionText(option), what })
    }
  }

  const config = newSettings(fromEnvironment, defaults)
  for (const [name, value] of fromFiles) config.set(name, value)
  problems.push(...validate(config, origins, references.secrets.names))
  if (config.get('cinder_backup_agent.jobs_max') === 0) {
    config.set('cinder_backup_agent.jobs_max', config.get('DEFAULT.backup_max_operations'))
  }
  return {
    settings: config.getProperties(),
    origins,
    problems,
    warnings,
    referredSecrets: references.secrets,
  }
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
  secretNames: ReadonlySet<string>,
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
      const what = withoutSecret(line.slice(name.length + 2), secretNames.has(name))
      return {
        where: origins.get(name) ?? 'default',
        option: optionText({ section, option }),
        what,
      }
    })
  }
}

/** convict's complaint, which quotes the value, without what nobody may see. */
function withoutSecret(complaint: string, isSecret: boolean): string {
  const [what = '', quoted] = complaint.split(/: value was (.*)/s, 2)
  if (quoted === undefined) return complaint
  if (isSecret) return what
  const value: unknown = JSON.parse(quoted)
  return `${what}: value was ${JSON.stringify(typeof value === 'string' ? maskPasswords(value) : value)}`
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
