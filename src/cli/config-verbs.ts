import process from 'node:process'

import type { Command } from 'commander'

import type { Problem } from '../config/oslo-ini.ts'
import { exitCodeOf, exitCodes } from './exit-codes.ts'
import { type ConfigSources, configSources, type Finish, verb, withConfigOptions } from './verb.ts'

type Output = { readonly json: boolean }
type CheckOutput = Output & { readonly live: boolean }

/** `config check`, `config show` and `config sample`. */
export function configVerbs(finish: Finish): Command {
  const about = (name: string, summary: string) =>
    withConfigOptions(verb(name, summary, `config ${name} --config-file agent.conf`)).option(
      '--json',
      'print JSON',
      false,
    )
  return verb('config', 'look at the configuration', 'config check')
    .addCommand(
      about('check', 'list everything that is wrong, by file and line')
        .option('--live', 'try the broker, Keystone, the store and the devices too', false)
        .action(async ({ json, live }: CheckOutput, command: Command) => {
          finish(await checkConfig(configSources(command), json, live))
        }),
    )
    .addCommand(
      about('show', 'list every option, its value and where it comes from').action(
        async ({ json }: Output, command: Command) => {
          finish(await showConfig(configSources(command), json))
        },
      ),
    )
    .addCommand(
      verb('sample', 'print every option with its meaning', 'config sample > agent.conf').action(
        async () => {
          const { sampleFile } = await import('../config/sample.ts')
          process.stdout.write(sampleFile())
          finish(exitCodes.ok.number)
        },
      ),
    )
}

async function inspect({ configPaths }: ConfigSources) {
  const { inspectConfig, problemText } = await import('../config.ts')
  const reading = inspectConfig({ paths: configPaths, env: process.env })
  const warningText = ({ where, ...rest }: Problem) =>
    problemText({ where: `${where}: warning`, ...rest })
  const { problems, warnings } = reading
  const lines = [...problems.map(problemText), ...warnings.map(warningText)]
  return { ...reading, lines }
}

function exitCodeFor(problems: readonly Problem[], warnings: readonly Problem[]): number {
  if (problems.length > 0) return exitCodes.configuration.number
  return warnings.length > 0 ? exitCodes.warnings.number : exitCodes.ok.number
}

function counted(things: readonly unknown[], name: string): string {
  return `${things.length} ${name}${things.length === 1 ? '' : 's'}`
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

async function checkConfig(
  sources: ConfigSources,
  json: boolean,
  isLive: boolean,
): Promise<number> {
  const { problems, warnings, lines } = await inspect(sources)
  // What cannot be used cannot be tried.
  const live = isLive && problems.length === 0 ? await tryLive(sources) : []
  const liveLines = live.map(
    ({ check, outcome, code, what }) =>
      `${check}: ${outcome}, ${code === null ? '' : `${code}: `}${what}`,
  )
  const summary = `${counted(problems, 'problem')}, ${counted(warnings, 'warning')}`
  process.stdout.write(
    json
      ? jsonText({ problems, warnings, ...(isLive ? { live } : {}) })
      : [...lines, ...liveLines, summary].map((line) => `${line}\n`).join(''),
  )
  const failed = live.find(({ code }) => code !== null)?.code ?? null
  return failed === null ? exitCodeFor(problems, warnings) : exitCodeOf(failed)
}

async function tryLive({ configPaths }: ConfigSources) {
  const { loadConfig } = await import('../config.ts')
  const { liveChecks } = await import('./live-checks.ts')
  return liveChecks(loadConfig({ paths: configPaths, env: process.env }).config)
}

/** Shows what can be read also where something is wrong, which then goes to standard error. */
async function showConfig(sources: ConfigSources, json: boolean): Promise<number> {
  const { shownOptions } = await import('../config/show.ts')
  const { settings, origins, referredSecrets, problems, lines } = await inspect(sources)
  const shown = shownOptions(settings, origins, referredSecrets)
  if (json) {
    process.stdout.write(jsonText(shown))
  } else {
    for (const section of new Set(shown.map((option) => option.section))) {
      const options = shown.filter((option) => option.section === section)
      const text = options.map(({ option, value, origin }) => `${option} = ${value}  (${origin})\n`)
      process.stdout.write(`[${section}]\n${text.join('')}\n`)
    }
  }
  process.stderr.write(lines.map((line) => `${line}\n`).join(''))
  return exitCodeFor(problems, [])
}
