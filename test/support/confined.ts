import { execFile } from 'node:child_process'
import { chmod, chown, mkdir } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

import { type AgentHome, agentCommand } from './agent.ts'
import { checkout } from './services.ts'

const run = promisify(execFile)

/** Nobody else's: no user of the machine has it. */
const userId = 64_123

// As root: everything is read-only but what the unit makes (and a POSIX store needs, by a drop-in),
// processes of others cannot be seen, then the user of the unit with nothing but the group disk.
const script = `
  set -e
  unit=$1 user=$2 disk=$3 state=$4 store=$5
  shift 5
  mount --bind "$state" "$state"
  mount --bind "$store" "$store"
  mount -o remount,bind,ro /
  mount -t proc -o ro,nosuid,nodev,noexec,hidepid=invisible proc /proc
  umask 0027
  exec setpriv --reuid="$user" --regid="$user" --groups="$disk" --no-new-privs \\
    --bounding-set=-all --inh-caps=-all --ambient-caps=-all \\
    /usr/bin/python3 ${path.join(checkout, 'test/support/python/system_call_filter.py')} "$unit" "$@"
`

/** The words in front of a command that shut it in as the unit does, as far as that goes without systemd. */
export type Confinement = { readonly userId: number; readonly words: readonly string[] }

/** Gives the folders of `home` to that user; `program` is run there. */
export async function confined(
  { folder, stateDir, store }: AgentHome,
  program: readonly string[] = [agentCommand],
): Promise<Confinement> {
  await mkdir(stateDir, { recursive: true })
  await chmod(folder, 0o755)
  for (const own of [stateDir, store]) await chown(own, userId, userId)
  const unit = path.join(checkout, 'systemd/cinder-backup-agent.service')
  const disk = String(await diskGroup())
  const places = [unit, String(userId), disk, stateDir, store]
  const words = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh']
  return { userId, words: [...words, ...places, ...program] }
}

async function diskGroup(): Promise<number> {
  const { stdout } = await run('getent', ['group', 'disk'])
  return Number(stdout.split(':')[2])
}

/** As udev has block devices: the group disk may read and write them. */
export async function asUdevHasIt(device: string): Promise<void> {
  await chown(device, 0, await diskGroup())
  await chmod(device, 0o660)
}
