import { Command, Option } from 'commander'

/** Where a verb finds its configuration. */
export type ConfigSources = {
  readonly configFiles: readonly string[]
  readonly configDirs: readonly string[]
}

/** Takes the exit code of the verb that ran. */
export type Finish = (exitCode: number) => void

function append(value: string, values: readonly string[]): readonly string[] {
  return [...values, value]
}

/** A verb with one real example in its help. */
export function verb(name: string, summary: string, example: string): Command {
  return new Command(name)
    .description(summary)
    .addHelpText('after', `\nExample:\n  cinder-backup-agent ${example}`)
    .showHelpAfterError('(--help says more)')
}

/** Adds the options by which every verb finds its configuration. */
export function withConfigOptions(command: Command): Command {
  const none: readonly string[] = []
  return command
    .addOption(
      new Option('--config-file <file>', 'read this file; may come again, later files win')
        .argParser(append)
        .default(none, '/etc/cinder/cinder.conf and /etc/cinder-backup-agent/agent.conf'),
    )
    .addOption(
      new Option('--config-dir <folder>', 'then read every *.conf of this folder')
        .argParser(append)
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

/** What `withConfigOptions` collected. */
export function configSources(command: Command): ConfigSources {
  const { configFile, configDir } = optionsOf<{
    readonly configFile: readonly string[]
    readonly configDir: readonly string[]
  }>(command)
  return { configFiles: configFile, configDirs: configDir }
}
