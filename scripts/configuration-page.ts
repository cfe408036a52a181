// docs/configuration.md, made from the schema and the table of exit codes.

import { errorsThatEndIn, exitCodes } from '#src/cli/exit-codes.ts'
import { defaultText, kindText } from '#src/config/sample.ts'
import { type NamedOption, namedOptions } from '#src/config/schema.ts'

const introduction = `# Configuration

Made from the schema by \`make docs\`; a test keeps it true.

The agent reads the syntax of oslo.config, so a working \`cinder.conf\` can stay as it is. It reads the files
that \`--config-file\` names and every \`*.conf\` of each \`--config-dir\`; later values win. Without a file:
\`/etc/cinder/cinder.conf\` and \`/etc/cinder-backup-agent/agent.conf\` first, where they exist. A variable
\`CBA_<SECTION>_<OPTION>\` in the environment (\`CBA_DEFAULT_HOST\`) wins over all files.

- \`cinder-backup-agent config check\` lists everything that is wrong, as \`file:line: option: what\`, with
  what would be right: the nearest name of an option that is not known, the values that may be set.
- \`cinder-backup-agent config check --live\` then tries [what the agent needs](operations.md#start).
- \`cinder-backup-agent config show\` lists every option, its value and where it comes from: \`default\`,
  \`file:line\` or the variable's name.
- \`cinder-backup-agent config sample\` prints a file with every option.

Options with Cinder's name and section mean what they mean in Cinder. Options of others are ignored;
a name of ours that is not quite right is a warning.

Files are read as oslo.config reads them, which a test compares with the real one:

- A line that starts with a blank goes on with the value above. \`#\` and \`;\` begin a comment in the
  first column only. One pair of quotes around a value is taken off.
- Of a key that comes again the last counts, over all files; of one that *may come again* all count.
- \`$option\` is the value of another option of the same section or of \`[DEFAULT]\`, \`\${group.option}\` that
  of another section, \`$$\` or \`\\$\` a dollar sign. An unknown name is a mistake.
- \`--config-file\` and \`--config-dir\` count in the order of the command line, the files of a folder in that of
  their names; hidden ones are left out.
- An empty number is the default, an empty text is nothing, an empty URL is a mistake.

Three things are stricter here: numbers have bounds outside of which nothing would work, none is endless,
and a name of ours in a wrong section cannot be referred to.

The agent reads its configuration at start. SIGHUP reads it again and changes what says so below; the log
names what changed and what needs a restart. Secrets (marked below) are \`***\` in the output of
\`config check\`, \`config show\` and in the log, and so is what refers to one. A password with one of
\`/ ? # @ ,\` in a URL is written with \`%2F %3F %23 %40 %2C\`. What to put in a first file:
[agent.conf.example](../config/agent.conf.example).
`

/** Text that stays in its cell. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;')
}

function optionRow(option: NamedOption): string {
  const { doc, sensitive, deprecatedNames = [] } = option
  const isLiteral =
    option.defaultText === undefined && option.default !== null && String(option.default) !== ''
  const fallback = isLiteral ? `\`${defaultText(option)}\`` : defaultText(option)
  const older = deprecatedNames.map((name) => `\`${name}\``).join(', ')
  const meaning = [
    doc,
    ...(sensitive !== undefined ? ['**Secret.**'] : []),
    ...(older === '' ? [] : [`Older: ${older}.`]),
  ]
  const cells = [`\`${option.option}\``, fallback, kindText(option), meaning.join(' ')]
  return `| ${cells.map(cell).join(' | ')} |`
}

function sectionText(section: string): string {
  const rows = namedOptions.filter((option) => option.section === section).map(optionRow)
  return `## [${section}]\n\n| Option | Default | Value | Meaning |\n|---|---|---|---|\n${rows.join('\n')}\n`
}

function exitCodeText(): string {
  const rows = (Object.keys(exitCodes) as (keyof typeof exitCodes)[]).map((exit) => {
    const { number, meaning } = exitCodes[exit]
    const codes = errorsThatEndIn(exit).map((code) => `\`${code}\``)
    return `| ${number} | ${meaning} | ${codes.join(', ')} |`
  })
  return `## Exit codes\n\n| Code | Meaning | Errors |\n|---|---|---|\n${rows.join('\n')}\n`
}

export function configurationPage(): string {
  const sections = [...new Set(namedOptions.map(({ section }) => section))]
  return [introduction, ...sections.map(sectionText), exitCodeText()].join('\n')
}
