import { type NamedOption, namedOptions } from './schema.ts'

/** The default as it would be written in a file. */
export function defaultText({ default: fallback, defaultText: words }: NamedOption): string {
  if (words !== undefined) return words
  return fallback === null ? 'not set' : String(fallback) || 'none'
}

/** What may be written: `one of …`, `whole number, 1 to 32`, `bytes`. */
export function kindText({ format, choices, minimum, maximum, unit, multi }: NamedOption): string {
  if (choices !== undefined) return `one of ${choices.join(', ')}`
  const kinds = {
    text: 'text',
    uri: 'URL',
    address: 'IP address or host name',
    boolean: 'true or false',
    integer: 'whole number',
    number: 'number',
    bytes: 'size (4194304, 4 MiB)',
    list: multi === true ? 'text, may come again' : 'texts between commas',
  }
  const range =
    minimum === undefined && maximum === undefined
      ? []
      : [`${minimum ?? ''} ${maximum === undefined ? 'or more' : `to ${maximum}`}`.trim()]
  return [kinds[format], ...(unit === undefined ? [] : [unit]), ...range].join(', ')
}

function commentLines(text: string): readonly string[] {
  const lines = text.match(/\S.{0,75}(?=\s|$)/g) ?? []
  return lines.map((line) => `# ${line}`)
}

function optionLines(option: NamedOption): readonly string[] {
  const { default: fallback, defaultText: words } = option
  const written = words === undefined && fallback !== null ? ` ${fallback}` : ''
  const kind = `(${kindText(option)}; default: ${defaultText(option)})`
  return ['', ...commentLines(option.doc), ...commentLines(kind), `#${option.option} =${written}`]
}

/** A file with every option, its meaning and its default, all of it commented out. */
export function sampleFile(): string {
  const sections = [...new Set(namedOptions.map(({ section }) => section))]
  const head = commentLines(
    'Every option of cinder-backup-agent. Made by "cinder-backup-agent config sample". A working ' +
      'cinder.conf can stay as it is; this file then holds section [cinder_backup_agent] only.',
  )
  const body = sections.flatMap((section) => [
    '',
    `[${section}]`,
    ...namedOptions.filter((option) => option.section === section).flatMap(optionLines),
  ])
  return `${[...head, ...body].join('\n')}\n`
}
