// `$option` and `${group.option}` inside values. Source: oslo_config/cfg.py, `_substitute` and its
// Template, whose names are `[_a-z][._a-z0-9]*` in any case.

const reference = /\$(?:(\$)|([_a-z][._a-z0-9]*)|\{([_a-z][._a-z0-9]*)\})/gi

/**
 * `text` with every reference replaced by what `resolve` gives for its name; `$$` and `\$` are a
 * dollar sign, and a `$` that starts no name stays as it is.
 */
export function substitute(text: string, resolve: (name: string) => string): string {
  return text
    .replaceAll('\\$', '$$$$') // A replacement text: two dollar signs.
    .replace(reference, (_match, dollar?: string, bare?: string, braced?: string) =>
      dollar === undefined ? resolve(bare ?? braced ?? '') : '$',
    )
}
