import { Command, Option } from 'commander'

import type { ConfigPath } from '../config/read-files.ts'

/** Where a verb finds its configuration. */
export type ConfigSources = { readonly configPaths: readonly ConfigPath[] }

/** A path, and how many came before it on the command line. */
type PlacedPath = ConfigPath & { readonly position: number }

/** Takes the exit code of the verb that ran. */
export type Finish = (exitCode: number) => void

/** A verb with one real example in its help. */
export function verb(name: string, summary: string, example: string): Command {
  return new Command(name)
    .description(summary)
    .addHelpText('after', `\nExample:\n  cinder-backup-agent ${example}`)
    .showHelpAfterError('(--help says more)')
}

/** Adds the options by which every verb finds its configuration. */
export function withConfigOptions(command: Command): Command {
  const none: readonly PlacedPath[] = []
  let count = 0
  const append = (kind: ConfigPath['kind']) => (path: string, before: readonly PlacedPath[]) => {
    count += 1
    return [...before, { kind, path, position: count }]
  }
  return command
    .addOption(
      new Option('--config-file <file>', 'read this file; may come again, later ones win')
        .argParser(append('file'))
        .default(none, '/etc/cinder/cinder.conf and /etc/cinder-backup-agent/agent.conf'),
    )
    .addOption(
      new Option('--config-dir <folder>', 'read every *.conf of this folder, in its turn')
        .argParser(append('folder'))
        .default(none, 'none'),
    )
}

/**
 * The options of a verb; those given in front of it, to the verb above, count too. Its own go
 * first.
 */
export function optionsOf<T extends object>(command: Command): T {
  const above = command.parent === null ? {} : givenOptions(command.parent)
  return { ...command.opts(), ...above, ...givenOptions(command) } as T
}

function givenOptions(command: Command): object {
  const given = Object.entries(command.opts()).filter(
    ([name]) => command.getOptionValueSource(name) === 'cli',
  )
  return Object.fromEntries(given)
}

/** What `withConfigOptions` collected, in the order of the command line. */
export function configSources(command: Command): ConfigSources {
  const { configFile, configDir } = optionsOf<{
    readonly configFile: readonly PlacedPath[]
    readonly configDir: readonly PlacedPath[]
  }>(command)
  const placed = [...configFile, ...configDir].toSorted((a, b) => a.position - b.position)
  return { configPaths: placed.map(({ kind, path }) => ({ kind, path })) }
}
