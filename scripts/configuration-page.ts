// docs/configuration.md, made from the schema and the table of exit codes.

import { errorsThatEndIn, exitCodes } from '#src/cli/exit-codes.ts'
import { defaultText, kindText } from '#src/config/sample.ts'
import { type NamedOption, namedOptions } from '#src/config/schema.ts'

const introduction = `# Configuration

Made from the schema by \`make docs\`; a test keeps it true.

The agent reads the syntax of oslo.config, so a working \`cinder.conf\` can stay as it is. Files are
read in the order in which \`--config-file\` names them, then every \`*.conf\` of each \`--config-dir\`;
later values win. Without either: \`/etc/cinder/cinder.conf\` and
\`/etc/cinder-backup-agent/agent.conf\`, where they exist. A variable
\`CBA_<SECTION>_<OPTION>\` in the environment (\`CBA_DEFAULT_HOST\`) wins over all files.

- \`cinder-backup-agent config check\` lists everything that is wrong, as \`file:line: option: what\`.
- \`cinder-backup-agent config show\` lists every option, its value and where it comes from.
- \`cinder-backup-agent config sample\` prints a file with every option.

Options with Cinder's name and section mean what they mean in Cinder. Options of others are ignored;
a name of ours that is not quite right is a warning. Values may refer to others: \`$state_path\` or
\`\${section.option}\`; \`$$\` is a dollar sign.

The agent reads its configuration once, at start. Secrets (marked below) are \`***\` in the output of
\`config show\` and in the log. What to put in a first file: [agent.conf.example](../config/agent.conf.example).
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
    ...(sensitive === true ? ['**Secret.**'] : []),
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
