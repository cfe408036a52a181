/**
 * Whether an endpoint that implements one version serves a request of another: the major numbers are
 * equal and the request's minor and revision are not newer. A version that is not two or three
 * numbers fits nothing. Source: oslo_messaging/_utils.py, `version_is_compatible`.
 */
export function isCompatible(implemented: string, requested: string): boolean {
  const ours = numbersOf(implemented)
  const theirs = numbersOf(requested)
  if (ours === null || theirs === null || ours.major !== theirs.major) return false
  if (theirs.minor !== ours.minor) return theirs.minor < ours.minor
  return theirs.revision <= ours.revision
}

type Version = { readonly major: number; readonly minor: number; readonly revision: number }

function numbersOf(text: string): Version | null {
  const match = /^(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?$/.exec(text)
  if (match === null) return null
  return { major: Number(match[1]), minor: Number(match[2]), revision: Number(match[3] ?? 0) }
}
