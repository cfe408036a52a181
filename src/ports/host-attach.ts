import type { JsonObject } from '../domain/json.ts'

/** What cinder-volume said of a volume or snapshot, to be connected to this host. */
export type HostConnection = {
  /** `volume-<uuid>` or `snapshot-<uuid>`. */
  readonly id: string
  /** Its `driver_volume_type`. */
  readonly type: string
  readonly data: JsonObject
  readonly access: 'read' | 'write'
}

/**
 * The part of attaching that needs root: what os-brick does on this host. `test/contracts/host-attach.ts`
 * is the executable form.
 */
export interface HostAttach {
  /** What is told cinder-volume of this host: its initiators and the like. Null where nobody attaches here. */
  connector(signal: AbortSignal): Promise<JsonObject | null>

  /**
   * Connects it, and resolves to the path of a block device which the agent may open until it disconnects. What this
   * process, or one of the agent that is gone, had connected by that id is disconnected first. Nothing stays connected where
   * it rejects: with CONNECTION_UNSUPPORTED where nobody here can attach that type, VOLUME_IN_USE where another process that
   * lives has it, or ATTACH_FAILED.
   */
  connect(connection: HostConnection, signal: AbortSignal): Promise<string>

  /**
   * Disconnects it by force; nothing where it is not connected. Rejects with DETACH_FAILED; with `ignoreErrors`
   * only where it cannot be at all.
   */
  disconnect(
    id: string,
    options: { readonly ignoreErrors: boolean },
    signal: AbortSignal,
  ): Promise<void>
}
