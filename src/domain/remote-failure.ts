import { AgentError, type ErrorCode } from './errors.ts'

/** What a service that we called said of its failure. */
export type RemoteFailure = {
  /** The class of its Python exception: `InvalidVolume`. */
  readonly remoteClass: string
  /** `cinder.exception`. */
  readonly remoteModule: string
  readonly remoteMessage: string
  /** What an agent of ours says beside it; null from all others. */
  readonly remoteCode: ErrorCode | null
}

/** CALL_FAILED, with all that the service said in its context. */
export function callFailed(what: string, failure: RemoteFailure): AgentError {
  const { remoteClass, remoteModule, remoteMessage } = failure
  return new AgentError(
    'CALL_FAILED',
    `${what} failed there: ${remoteModule}.${remoteClass}: ${remoteMessage}`,
    { ...failure },
  )
}

/** What the service said, for who must tell one failure from another; null for any other error. */
export function remoteFailureIn({ code, context }: AgentError): RemoteFailure | null {
  return code === 'CALL_FAILED' ? (context as RemoteFailure) : null
}
