import { AgentError } from '../../domain/errors.ts'
import type { RequestContext } from '../../domain/request-context.ts'

/**
 * Throws PROJECT_MISMATCH where someone who is no administrator asks for another project's backup.
 * A request that names no project claims none: what it may do is for its token to say.
 */
export function checkProject(context: RequestContext, backupProjectId: string | null): void {
  if (!isForeign(context, backupProjectId) || context.isAdmin) return
  throw new AgentError(
    'PROJECT_MISMATCH',
    `project ${context.projectId} asks for a backup of project ${backupProjectId}`,
    { projectId: context.projectId, backupProjectId },
  )
}

/** Whether the request comes from another project than the backup's. */
export function isForeign({ projectId }: RequestContext, backupProjectId: string | null): boolean {
  return projectId !== null && backupProjectId !== null && projectId !== backupProjectId
}

/**
 * `token` where a header may carry it. Throws CREDENTIALS_REFUSED for one with line ends or other
 * characters that no token has: they could add headers of their own.
 */
export function checkedToken(token: string, whose: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token
  throw new AgentError('CREDENTIALS_REFUSED', `${whose} token holds unprintable characters`)
}
