import { AgentError } from '../../domain/errors.ts'
import { isUuid } from '../../domain/uuid.ts'

const nameForm = /^[a-z][a-z0-9-]{0,63}$/

/** Job id and name become parts of a path: throws ASSERTION_FAILED for what could lead elsewhere. */
export function assertKeepable(jobId: string, name: string): void {
  assertJobId(jobId)
  if (nameForm.test(name)) return
  throw new AgentError('ASSERTION_FAILED', `no name for a kept file: ${JSON.stringify(name)}`)
}

export function assertJobId(jobId: string): void {
  if (isUuid(jobId)) return
  throw new AgentError('ASSERTION_FAILED', `no id of a job: ${JSON.stringify(jobId)}`)
}

/** Two at once would each know another size of it. */
export function alreadyOpen(jobId: string, name: string): AgentError {
  return new AgentError('ASSERTION_FAILED', `${name} of job ${jobId} is open already`)
}
