import { AgentError } from '../../domain/errors.ts'
import { isUuid } from '../../domain/uuid.ts'

/**
 * Ids become parts of paths, so they are checked here once more, however they came: throws
 * ARGUMENT_INVALID unless `id` is a UUID.
 */
export function assertUuid(name: 'volume_id' | 'snapshot_id', id: string): void {
  if (!isUuid(id)) {
    throw new AgentError('ARGUMENT_INVALID', `${name} is not a UUID: ${JSON.stringify(id)}`)
  }
}
