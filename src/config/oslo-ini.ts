// The dialect of INI that oslo.config reads, which is not the common one: lines that start with
// blanks go on with the value above, one pair of quotes around a value is taken off, a key may come
// again, and a comment starts at the first column only. Source: oslo_config/iniparser.py, 9.0.0;
// test/config/oslo-config.test.ts compares the two.

import { strip, stripEnd, stripStart } from './python-text.ts'

/** One value as it was written, and where. */
export type IniValue = {
  readonly text: string
  readonly file: string
  /** Counted from 1. */
  readonly line: number
}

/** `file:line`. */
export function locationOf({ file, line }: IniValue): string {
  return `${file}:${line}`
}

/** Where an option may be found: section and key. */
export type OptionPlace = { readonly section: string; readonly option: string }

/** Something wrong with a setting, at `file:line`, a file, or an environment variable. */
export type Problem = {
  readonly where: string
  /** `[section] option`; null where the trouble is not with one option. */
  readonly option: string | null
  readonly what: string
}

export type IniFile = {
  readonly file: string
  /** Section (lower case, but for `DEFAULT`) → key → values in the order of their lines. */
  readonly sections: ReadonlyMap<string, ReadonlyMap<string, readonly IniValue[]>>
  readonly problems: readonly Problem[]
}

/** `[Foo]` and `[foo]` are one section; `[default]` is not `[DEFAULT]`. */
function normalSection(section: string): string {
  return section === 'DEFAULT' ? section : section.toLowerCase()
}

/** Takes one pair of equal quotes off; a lone quote counts as a pair, as it does for oslo. */
function unquote(value: string): string {
  const first = value[0]
  const isQuoted = (first === '"' || first === "'") && value.endsWith(first)
  return isQuoted ? value.slice(1, -1) : value
}

type Assignment = { readonly key: string; readonly line: number; readonly texts: string[] }

/** Reads the text of one file. Never throws: what cannot be read is in `problems`. */
export function parseIni(text: string, file: string): IniFile {
  const sections = new Map<string, Map<string, IniValue[]>>()
  const problems: Problem[] = []
  let section: Map<string, IniValue[]> | null = null
  let open: Assignment | null = null

  const complain = (line: number, what: string) => {
    problems.push({ where: `${file}:${line}`, option: null, what })
  }
  const finish = () => {
    if (open === null) return
    const { key, line, texts } = open
    open = null
    if (section === null) return complain(line, `${key} stands before the first [section]`)
    const values = section.get(key) ?? []
    values.push({ text: texts.join('\n'), file, line })
    section.set(key, values)
  }

  const read = (content: string, line: number) => {
    if (content === '') return finish()
    if (content.startsWith(' ') || content.startsWith('\t')) {
      if (open === null) return complain(line, 'an indented line goes on with no value above it')
      open.texts.push(stripStart(content))
      return
    }
    finish()
    if (content.startsWith('#') || content.startsWith(';')) return
    if (content.startsWith('[')) {
      if (!content.endsWith(']')) return complain(line, 'a section must end with ]')
      const name = normalSection(content.slice(1, -1))
      if (name === '') return complain(line, 'a section needs a name between [ and ]')
      section = sections.get(name) ?? new Map()
      sections.set(name, section)
      return
    }
    const separator = content.search(/[=:]/)
    if (separator === -1) return complain(line, 'neither a [section] nor "option = value"')
    const key = strip(content.slice(0, separator))
    if (key === '') return complain(line, 'an option needs a name before the = sign')
    open = { key, line, texts: [unquote(strip(content.slice(separator + 1)))] }
  }

  for (const [index, raw] of text.split(/\r\n|\r|\n/).entries()) {
    read(stripEnd(raw), index + 1)
  }
  finish()
  return { file, sections, problems }
}

/** Every value of the option in one file, as written under the first of `places` that has any. */
function valuesIn({ sections }: IniFile, { section, option }: OptionPlace): readonly IniValue[] {
  return sections.get(normalSection(section))?.get(option) ?? []
}

/**
 * The value that counts, or null: of the last file that has one, the last; within a file the
 * current name goes before the deprecated ones, which follow it in `places`.
 */
export function lastValue(
  files: readonly IniFile[],
  places: readonly OptionPlace[],
): { readonly value: IniValue; readonly place: OptionPlace } | null {
  for (const file of files.toReversed()) {
    for (const place of places) {
      const value = valuesIn(file, place).at(-1)
      if (value !== undefined) return { value, place }
    }
  }
  return null
}

/** Every value of a multi-valued option, over all files and names, in oslo's order. */
export function allValues(
  files: readonly IniFile[],
  places: readonly OptionPlace[],
): readonly IniValue[] {
  return files.flatMap((file) => places.toReversed().flatMap((place) => valuesIn(file, place)))
}

/** What was written for an option; several texts only for a multi-valued one. */
type Written = {
  readonly texts: readonly string[]
  /** `file:line` of the one that counts. */
  readonly origin: string
  /** The name it was written under. */
  readonly place: OptionPlace
}

export function writtenInFiles(
  files: readonly IniFile[],
  places: readonly OptionPlace[],
  isMulti: boolean,
): Written | null {
  const last = lastValue(files, places)
  if (last === null) return null
  const values = isMulti ? allValues(files, places) : [last.value]
  return {
    texts: values.map(({ text }) => text),
    origin: locationOf(last.value),
    place: last.place,
  }
}
