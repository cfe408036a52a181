// What this machine is, as far as settings depend on it: asked here and nowhere else.

import { accessSync, constants, fstatSync } from 'node:fs'
import { availableParallelism, hostname, totalmem } from 'node:os'
import path from 'node:path'
import process from 'node:process'

import { loadAccelerator } from '../adapters/accelerator/native-accelerator.ts'
import { ownAddress } from './own-address.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export type Machine = {
  readonly hostName: string
  /** Its IPv4 address on the way out. */
  readonly address: string
  readonly coreCount: number
  /** The cgroup's limit, or all there is where there is none. */
  readonly memoryBytes: number
  /** Whether standard error goes to journald. */
  readonly isJournalStream: boolean
  readonly hasProgram: (name: string) => boolean
  /** Whether the accelerator can write bz2. */
  readonly hasNativeBz2: boolean
  readonly canRead: (file: string) => boolean
}

export function thisMachine(env: Environment): Machine {
  const limitBytes = process.constrainedMemory() // More than there is where no limit is set.
  return {
    hostName: hostname(),
    address: ownAddress(),
    coreCount: availableParallelism(),
    memoryBytes: limitBytes > 0 ? Math.min(limitBytes, totalmem()) : totalmem(),
    isJournalStream: isJournalStream(env['JOURNAL_STREAM']),
    hasNativeBz2: loadAccelerator().accelerator?.bz2 != null,
    hasProgram: (name) =>
      (env['PATH'] ?? '/usr/bin:/bin')
        .split(path.delimiter)
        .some((folder) => isAccessible(path.join(folder, name), constants.X_OK)),
    canRead: (file) => isAccessible(file, constants.R_OK),
  }
}

/** The defaults that differ from machine to machine, by `section.option`. */
export function machineDefaults(machine: Machine): Readonly<Record<string, string | number>> {
  return {
    'DEFAULT.host': machine.hostName,
    'DEFAULT.my_ip': machine.address,
    'cinder_backup_agent.workers': machine.coreCount,
    'cinder_backup_agent.memory_max': Math.min(2 ** 29, Math.floor(machine.memoryBytes * 0.4)),
  }
}

function isAccessible(file: string, mode: number): boolean {
  try {
    accessSync(file, mode)
    return true
  } catch {
    return false
  }
}

/** JOURNAL_STREAM is inherited, so it counts only where it names our own standard error. */
function isJournalStream(journalStream: string | undefined): boolean {
  try {
    const { dev, ino } = fstatSync(2)
    return journalStream === `${dev}:${ino}`
  } catch {
    return false
  }
}
