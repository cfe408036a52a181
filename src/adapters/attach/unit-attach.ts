import { AgentError, type ErrorCode } from '../../domain/errors.ts'
import { isJsonObject, type Json, type JsonObject } from '../../domain/json.ts'
import { delay, monotonicMs } from '../../lib/clock.ts'
import type { HostAttach } from '../../ports/host-attach.ts'
import { askUnit, NobodyListens } from './ask-unit.ts'

export type UnitAttachOptions = {
  /** Where the unit listens. */
  readonly socket: string
  /** What is told cinder-volume as the address of this host, its `my_ip`. */
  readonly address: string
  /** `use_multipath_for_image_xfer`. */
  readonly isMultipath: boolean
  /** `num_volume_device_scan_tries`. */
  readonly scanTries: number
  /** How long the unit may take; each of its programs has ten minutes of its own. Others: tests. */
  readonly timeoutMs?: number
}

const unit = 'cinder-backup-agent-attach.service'

/** A login that fails at each of several portals takes two minutes at each, with os-brick's settings. */
const longestMs = 900_000

/** More than anybody waits for. The unit takes no more, nor less than one. */
const scanTriesMax = 1000

/** What a connector is told in, and programs that look for hardware. */
const connectorMsMax = 60_000

/** systemd starts it again after two seconds, and it has os-brick to load. */
const restartMs = 20_000
const askAgainMs = 250

type Refusal = { readonly kind: string; readonly message: string }

/**
 * Attaches by the unit of its own that has os-brick and root: a line of JSON to its socket, a line
 * back. See attach/asked.py.
 */
export function unitAttach(options: UnitAttachOptions): HostAttach {
  const { socket, address, isMultipath: multipath, scanTries } = options
  const tries = Math.min(Math.max(1, scanTries), scanTriesMax)
  const timeoutMs = options.timeoutMs ?? longestMs

  async function ask(request: JsonObject, code: ErrorCode, waitMs: number, signal: AbortSignal) {
    const within = AbortSignal.any([signal, AbortSignal.timeout(waitMs)])
    const what = `${request['method']} ${request['id'] ?? ''}`.trimEnd()
    let answer: Json
    try {
      answer = await askOnceItIsBack(socket, request, within)
    } catch (error) {
      if (signal.aborted || error instanceof NobodyListens) throw error
      const why = within.aborted
        ? `no answer in ${Math.ceil(waitMs / 1000)} s`
        : error instanceof Error
          ? error.message
          : String(error)
      const text = `${unit} did not do ${what}: ${why}; its log says more (journalctl -u ${unit})`
      throw new AgentError(code, text, { socket }, error)
    }
    const refusal = refusalOf(answer)
    if (refusal === null) return isJsonObject(answer) ? (answer['result'] ?? null) : null
    throw refused(refusal, what, code)
  }

  return {
    async connector(signal) {
      try {
        const wait = Math.min(timeoutMs, connectorMsMax)
        const request = { method: 'properties', my_ip: address, multipath }
        const result = await ask(request, 'ATTACH_FAILED', wait, signal)
        if (isJsonObject(result)) return result
        throw new AgentError('ATTACH_FAILED', `${unit} says nothing of this host`, { socket })
      } catch (error) {
        if (error instanceof NobodyListens) return null
        throw error
      }
    },

    async connect({ id, type, data, access }, signal) {
      const request = { method: 'connect', id, type, data, multipath, tries, access }
      try {
        const result = await ask(request, 'ATTACH_FAILED', timeoutMs, signal)
        const path = isJsonObject(result) ? result['path'] : null
        if (typeof path === 'string') return path
        throw new AgentError('ATTACH_FAILED', `${unit} names no device of ${id}`, { socket })
      } catch (error) {
        throw error instanceof NobodyListens ? unsupported(id, type, error) : error
      }
    },

    async disconnect(id, { ignoreErrors }, signal) {
      const request = { method: 'disconnect', id, ignore_errors: ignoreErrors }
      try {
        await ask(request, 'DETACH_FAILED', timeoutMs, signal)
      } catch (error) {
        if (!(error instanceof NobodyListens)) throw error
        const text = `${id} cannot be disconnected while ${unit} is not running: start it, and within a minute the agent has disconnected what is left (systemctl start ${unit})`
        throw new AgentError('DETACH_FAILED', text, { socket }, error)
      }
    },
  }
}

/** A unit that was killed is started again. */
async function askOnceItIsBack(
  socket: string,
  request: JsonObject,
  signal: AbortSignal,
): Promise<Json> {
  const deadlineMs = monotonicMs() + restartMs
  while (true) {
    try {
      return await askUnit(socket, request, signal)
    } catch (error) {
      const comesBack = error instanceof NobodyListens && error.wasKilled
      if (!comesBack || monotonicMs() > deadlineMs) throw error
    }
    await delay(askAgainMs, signal)
  }
}

function unsupported(id: string, type: string, { message }: NobodyListens): AgentError {
  return new AgentError(
    'CONNECTION_UNSUPPORTED',
    `${id} is exported as ${type.slice(0, 40)}, which is attached by ${unit}, and that is not running (${message}): ` +
      `install python3-os-brick and start it (systemctl enable --now ${unit}), or run the agent on the node that has the volume`,
    { driverVolumeType: type },
  )
}

function refusalOf(answer: Json): Refusal | null {
  const error = isJsonObject(answer) ? (answer['error'] ?? null) : null
  if (error === null) return null
  const { kind, message } = isJsonObject(error) ? error : {}
  return { kind: String(kind), message: String(message) }
}

function refused({ kind, message }: Refusal, what: string, code: ErrorCode): AgentError {
  const said = `${unit} did not do ${what}: ${message}`
  switch (kind) {
    case 'unsupported':
      return new AgentError(
        'CONNECTION_UNSUPPORTED',
        `${said}: such a volume cannot be attached here`,
      )
    case 'in_use':
      return new AgentError('VOLUME_IN_USE', said)
    default:
      return new AgentError(code, said)
  }
}
