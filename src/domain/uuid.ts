const form = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** Whether a value is an id as OpenStack writes them, in either case. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && form.test(value)
}
