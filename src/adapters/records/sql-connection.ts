import { Socket } from 'node:net'

import { delay } from '../../lib/clock.ts'
import type { DatabaseUrl } from './database-url.ts'
import type { SqlConnection, SqlResult } from './sql-server.ts'

/** What a driver makes of a socket. */
export type Driver = {
  /** Resolves when we are logged in. */
  readonly login: () => Promise<unknown>
  readonly query: (sql: string, parameters: readonly unknown[]) => Promise<SqlResult>
  /** Says goodbye and closes. */
  readonly end: () => void
}

const connectMs = 10_000
const keepAliveMs = 30_000

/**
 * A connection over a socket of ours, so that we can close it whatever its driver waits for. Each
 * statement has `statementMs`; one that takes longer closes the connection, for nobody knows then what
 * the next answer belongs to. Rejects with the driver's error, or with the signal's reason.
 */
export async function openConnection(
  url: DatabaseUrl,
  statementMs: number,
  driverOf: (socket: Socket) => Driver,
  signal: AbortSignal,
): Promise<SqlConnection> {
  signal.throwIfAborted()
  const socket = new Socket()
  socket.setNoDelay(true).setKeepAlive(true, keepAliveMs)
  socket.on('error', () => undefined) // The driver tells it to whom it concerns.
  const driver = driverOf(socket)
  const lost = whenLost(socket)
  const run = async <T>(ms: number, work: Promise<T>): Promise<T> => {
    const done = new AbortController()
    const late = delay(ms, done.signal).then(() => {
      socket.destroy()
      throw connectionError(
        'ETIMEDOUT',
        `the database at ${addressOf(url)} gave no answer in ${ms} ms`,
      )
    })
    try {
      return await Promise.race([work, lost, late])
    } finally {
      done.abort()
      late.catch(() => undefined)
    }
  }
  const onAbort = () => socket.destroy()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await run(connectMs, driver.login())
  } catch (error) {
    socket.destroy()
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
  return {
    run: (sql, parameters) => run(statementMs, driver.query(sql, parameters)),
    end: () => driver.end(),
    destroy: () => {
      socket.destroy()
    },
    get isClosed() {
      return socket.destroyed || !socket.writable
    },
  }
}

/** Rejects when the socket is closed, by whomever; nobody has to listen. */
function whenLost(socket: Socket): Promise<never> {
  const lost = new Promise<never>((_, reject) => {
    socket.once('close', () => reject(connectionError('ECONNRESET', 'the connection was closed')))
  })
  lost.catch(() => undefined)
  return lost
}

function connectionError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}

/** For texts: without user and password. */
function addressOf({ host, port, socketPath }: DatabaseUrl): string {
  return socketPath ?? `${host}:${port}`
}
