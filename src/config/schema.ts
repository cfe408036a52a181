// Every setting there is: its meaning, its default and where else it may come from. Types,
// validation, the sample file and docs/configuration.md all come from here.

import convict from 'convict'

import { agentOptions } from './agent-options.ts'
import {
  databaseOptions,
  defaultOptions,
  keystoneAuthtokenOptions,
  serviceUserOptions,
} from './cinder-options.ts'
import type { Option } from './formats.ts'
import type { OptionPlace } from './oslo-ini.ts'
import { notificationsOptions, rabbitOptions } from './oslo-options.ts'

const options = {
  cinder_backup_agent: agentOptions,
  DEFAULT: defaultOptions,
  oslo_messaging_rabbit: rabbitOptions,
  oslo_messaging_notifications: notificationsOptions,
  database: databaseOptions,
  service_user: serviceUserOptions,
  keystone_authtoken: keystoneAuthtokenOptions,
}

type Options = typeof options

/** The value of every option, by section and name, as in the files. */
export type Settings = {
  readonly [S in keyof Options]: {
    readonly [O in keyof Options[S]]: Options[S][O] extends Option<infer T> ? T : never
  }
}

/** One option with its names. */
export type NamedOption = Option<unknown> & {
  readonly section: string
  readonly option: string
  /** `section.option`. */
  readonly name: string
  /** The environment variable that wins over the files. */
  readonly env: string
}

/** The variable of an option: `CBA_DEFAULT_HOST`. */
export function environmentName(section: string, option: string): string {
  return `CBA_${section}_${option}`.toUpperCase()
}

/** All options, in the order of the sample file. */
export const namedOptions: readonly NamedOption[] = Object.entries(options).flatMap(
  ([section, ofSection]) =>
    Object.entries<Option<unknown>>(ofSection).map(([option, definition]) => ({
      ...definition,
      section,
      option,
      name: `${section}.${option}`,
      env: environmentName(section, option),
    })),
)

/** Where the files may set the option: its name, then its older ones. */
export function placesOf({
  section,
  option,
  deprecatedNames = [],
}: NamedOption): readonly OptionPlace[] {
  const older = deprecatedNames.map((name) => {
    const [first = '', second] = name.split('.')
    return second === undefined ? { section, option: first } : { section: first, option: second }
  })
  return [{ section, option }, ...older]
}

/** The schema as convict's, with `defaults` for what depends on the machine; environment `env`. */
export function newSettings(
  env: Readonly<Record<string, string>>,
  defaults: Readonly<Record<string, string | number>>,
): convict.Config<Settings> {
  const schema = Object.fromEntries(
    Object.keys(options).map((section) => {
      const ofSection = namedOptions
        .filter((option) => option.section === section)
        .map((option) => [
          option.option,
          { ...option, default: defaults[option.name] ?? option.default },
        ])
      return [section, Object.fromEntries(ofSection)]
    }),
  )
  return convict(schema as convict.Schema<Settings>, { env, args: [] })
}
