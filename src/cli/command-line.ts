import { readFileSync } from 'node:fs'
import process from 'node:process'

import { Command, CommanderError } from 'commander'

import { toAgentError } from '../domain/errors.ts'
import { configVerbs } from './config-verbs.ts'
import { exitCodeFor, exitCodes } from './exit-codes.ts'
import { schedulerVerbs } from './scheduler-verbs.ts'
import { configSources, type Finish, verb, withConfigOptions } from './verb.ts'

/**
 * Runs the verb that `words` name and resolves to the exit code; never rejects. A verb's own code is
 * loaded only when it runs, so that `--help` comes at once.
 */
export async function runCommandLine(words: readonly string[]): Promise<number> {
  let exitCode: number = exitCodes.ok.number
  const finish: Finish = (code) => {
    exitCode = code
  }
  try {
    await commands(finish).parseAsync(words, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) return complain(error)
    // Commander has said what it has to say; its help and version come this way too.
    return error.exitCode === 0 ? exitCodes.ok.number : exitCodes.usage.number
  }
  return exitCode
}

function commands(finish: Finish): Command {
  const program = new Command('cinder-backup-agent')
    .description('Volume backups for OpenStack, driven by messages.')
    .version(version(), '--version', 'show the version')
    .helpOption('--help', 'show help')
    .showHelpAfterError('(--help says more)')
    .addCommand(serveVerb(finish))
    .addCommand(schedulerVerbs(finish))
    .addCommand(configVerbs(finish))
  for (const command of withAllBelow(program)) {
    command.exitOverride().helpOption('--help', 'show help').helpCommand(false)
  }
  return program
}

function withAllBelow(command: Command): readonly Command[] {
  return [command, ...command.commands.flatMap(withAllBelow)]
}

function serveVerb(finish: Finish): Command {
  const summary = 'run the agent until it is told to stop'
  const example = 'serve --config-file /etc/cinder-backup-agent/agent.conf'
  return withConfigOptions(verb('serve', summary, example))
    .option('--take-over', 'start even where another consumer takes the requests of this host')
    .action(async (options: { readonly takeOver?: true }, command) => {
      const { serve } = await import('./serve.ts')
      finish(await serve(configSources(command), options.takeOver === true))
    })
}

function version(): string {
  const file = new URL('../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string }).version
}

/** Says what went wrong, a line for each bad setting, and gives the exit code for it. */
function complain(error: unknown): number {
  const failure = toAgentError(error)
  const { code, message, context, kind } = failure
  const { problems } = context
  const lines = Array.isArray(problems) ? problems.map(String) : [message]
  if (kind === 'defect') lines.push(String(failure.stack))
  process.stderr.write(lines.map((line) => `cinder-backup-agent: ${code}: ${line}\n`).join(''))
  return exitCodeFor(failure)
}
