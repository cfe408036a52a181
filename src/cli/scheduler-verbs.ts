import { type Command, InvalidArgumentError, Option } from 'commander'

import { exportedBy, importRequest } from './import-request.ts'
import type { SendOptions } from './send.ts'
import {
  createRequest,
  deleteRequest,
  exportRequest,
  plainRequest,
  resetRequest,
  restoreRequest,
} from './send-requests.ts'
import { configSources, type Finish, optionsOf, verb, withConfigOptions } from './verb.ts'

type Words = Readonly<Record<string, string | undefined>>

function positive(text: string): number {
  const value = Number(text)
  if (Number.isFinite(value) && value > 0) return value
  throw new InvalidArgumentError('It must be a number above 0.')
}

/** A request to the agent, with the options that all of them share. */
function request(name: string, summary: string, example: string): Command {
  return withConfigOptions(verb(name, summary, `send ${example}`))
    .option('--host <host>', 'send to the agent of this host (default: any agent)')
    .option('--json', 'print one JSON object for each event', false)
    .option('--no-wait', 'end once the request is accepted')
    .option('--timeout <seconds>', 'give up waiting for the end after this', positive)
}

function sendOptions(command: Command): SendOptions {
  const { host, json, wait, timeout } = optionsOf<{
    readonly host?: string
    readonly json: boolean
    readonly wait: boolean
    readonly timeout?: number
  }>(command)
  return { ...configSources(command), host: host ?? null, json, wait, timeout: timeout ?? null }
}

const uuid = '7c5b3b0e-6a0c-4f0e-9d1b-1d9f4f0c2a11'

function createVerb(finish: Finish): Command {
  const summary = 'back a volume up'
  return request('create_backup', summary, `create_backup --volume-id ${uuid} --record full.json`)
    .requiredOption('--volume-id <id>', 'the volume')
    .requiredOption('--record <file>', 'write the record of the backup here')
    .option('--backup-id <id>', 'the id of the new backup (default: a random one)')
    .option('--snapshot-id <id>', 'back up this snapshot of the volume')
    .option('--parent <file>', 'make it incremental, upon the backup of this record')
    .option('--container <name>', 'where the objects go (default: as configured)')
    .option('--size <gib>', 'size of the volume in GiB (default: as it is)', positive)
    .action(async (options: Words & { readonly size?: number }, command: Command) => {
      const { send } = await import('./send.ts')
      const wanted = createRequest({
        volumeId: options['volumeId'] ?? '',
        recordFile: options['record'] ?? '',
        backupId: options['backupId'] ?? null,
        snapshotId: options['snapshotId'] ?? null,
        parentFile: options['parent'] ?? null,
        container: options['container'] ?? null,
        size: options.size ?? null,
      })
      finish(await send(wanted, sendOptions(command)))
    })
}

function restoreVerb(finish: Finish): Command {
  const example = `restore_backup --record full.json --volume-id ${uuid}`
  return request('restore_backup', 'restore a backup onto a volume', example)
    .requiredOption('--record <file>', 'the record of the backup')
    .requiredOption('--volume-id <id>', 'the volume to restore onto')
    .option('--volume-is-new', 'the volume holds nothing but zeros', false)
    .action(async (options: Words & { readonly volumeIsNew: boolean }, command: Command) => {
      const { send } = await import('./send.ts')
      const { record = '', volumeId = '', volumeIsNew } = options
      finish(await send(restoreRequest(record, volumeId, volumeIsNew), sendOptions(command)))
    })
}

function deleteVerb(finish: Finish): Command {
  const example = 'delete_backup --record full.json'
  return request('delete_backup', 'delete a backup, or cancel one in the making', example)
    .requiredOption('--record <file>', 'the record of the backup')
    .action(async ({ record = '' }: Words, command: Command) => {
      const { send } = await import('./send.ts')
      finish(await send(deleteRequest(record), sendOptions(command)))
    })
}

function resetVerb(finish: Finish): Command {
  const example = 'reset_status --record full.json --status error'
  return request(
    'reset_status',
    'set the status of a backup; what is in work is cancelled',
    example,
  )
    .requiredOption('--record <file>', 'the record of the backup')
    .addOption(
      new Option('--status <status>', 'the status')
        .choices(['available', 'error'])
        .makeOptionMandatory(),
    )
    .action(async ({ record = '', status = '' }: Words, command: Command) => {
      const { send } = await import('./send.ts')
      finish(await send(resetRequest(record, status), sendOptions(command)))
    })
}

function exportVerb(finish: Finish): Command {
  const example = 'export_record --record full.json'
  return request('export_record', 'print what import_record needs of a backup', example)
    .requiredOption('--record <file>', 'the record of the backup')
    .action(async ({ record = '' }: Words, command: Command) => {
      const { send } = await import('./send.ts')
      finish(await send(exportRequest(record), sendOptions(command)))
    })
}

function importVerb(finish: Finish): Command {
  const example = 'import_record --record full.json'
  return request('import_record', 'make a backup known again, by its record or its export', example)
    .requiredOption(
      '--record <file>',
      'the record of the backup; written where the import ends well',
    )
    .option('--backup-service <class>', 'that of an export; the record is then only written')
    .option('--backup-url <text>', 'that of the same export')
    .action(async ({ record = '', backupService, backupUrl }: Words, command: Command) => {
      const { send } = await import('./send.ts')
      const exported = exportedBy(backupService, backupUrl)
      finish(await send(importRequest(record, exported), sendOptions(command)))
    })
}

/** `send`: what a scheduler would ask for, or any other method with its arguments as JSON. */
export function schedulerVerbs(finish: Finish): Command {
  const example = "check_support_to_force_delete --args '{}'"
  return request('send', 'send a request as a scheduler does, and follow it to its end', example)
    .enablePositionalOptions()
    .argument('<method>', 'the method')
    .option('--args <json>', 'its arguments, a JSON object', '{}')
    .action(async (method: string, options: { readonly args: string }, command: Command) => {
      const { send } = await import('./send.ts')
      finish(await send(plainRequest(method, options.args), sendOptions(command)))
    })
    .addCommand(createVerb(finish))
    .addCommand(restoreVerb(finish))
    .addCommand(deleteVerb(finish))
    .addCommand(resetVerb(finish))
    .addCommand(exportVerb(finish))
    .addCommand(importVerb(finish))
}
