// What this machine is, as far as settings depend on it: asked here and nowhere else.

import { accessSync, constants, fstatSync, readFileSync } from 'node:fs'
import { availableParallelism, hostname, networkInterfaces, totalmem } from 'node:os'
import path from 'node:path'
import process from 'node:process'

import { loadAccelerator } from '../adapters/accelerator/native-accelerator.ts'

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
    address: outwardAddress(),
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

/**
 * The first IPv4 address of the interface of the default route, else 127.0.0.1.
 * Source: oslo_utils/netutils.py, `get_my_ipv4`; cinder/common/config.py, `my_ip`.
 */
function outwardAddress(): string {
  const ofInterface = networkInterfaces()[defaultInterface() ?? ''] ?? []
  return ofInterface.find(({ family }) => family === 'IPv4')?.address ?? '127.0.0.1'
}

/** Of several default routes the kernel takes that of the least metric; the columns are proc(5)'s. */
function defaultInterface(): string | null {
  const rows = readText('/proc/net/route').split('\n').slice(1)
  const routes = rows.map((row) => row.trim().split(/\s+/))
  const defaults = routes.filter(([, target, , , , , , mask]) => isAnywhere(target, mask))
  const [first] = defaults.toSorted(([, , , , , , a], [, , , , , , b]) => Number(a) - Number(b))
  return first?.[0] ?? null
}

function isAnywhere(target: string | undefined, mask: string | undefined): boolean {
  return target === '00000000' && mask === '00000000'
}

/** Empty where it cannot be read. */
function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
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
