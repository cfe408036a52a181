import { AgentError } from '../../domain/errors.ts'

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/**
 * Ids become parts of paths, so they are checked here once more, however they came: throws
 * ARGUMENT_INVALID unless `id` is a UUID.
 */
export function assertUuid(name: 'volume_id' | 'snapshot_id', id: string): void {
  if (!uuid.test(id)) {
    throw new AgentError('ARGUMENT_INVALID', `${name} is not a UUID: ${JSON.stringify(id)}`)
  }
}
