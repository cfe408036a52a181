/** How often: `few` in `make test`, `many` in `make soak`. */
export function times(few: number, many: number): number {
  return process.env['CBA_SOAK'] === '1' ? many : few
}
