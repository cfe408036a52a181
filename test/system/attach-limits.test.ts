// The program that attaches as its unit runs it, as far as that goes without systemd as the first process: root with
// the capabilities of the unit, its system calls, a read-only system; and a client that is the agent's user.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { promisify } from 'node:util'

import { attachUnit } from '../support/attach-unit.ts'
import { loopDevice } from '../support/loop-device.ts'
import { checkout } from '../support/services.ts'
import { noise, sha256 } from '../support/volume-data.ts'

const run = promisify(execFile)
const mebibyte = 2 ** 20

/** Nobody else's: no user of the machine has it. */
const agentUser = '64123'

const unitFile = path.join(checkout, 'systemd/cinder-backup-agent-attach.service')
const unitText = readFileSync(unitFile, 'utf8')
const capabilities = (/^CapabilityBoundingSet=(.+)$/m.exec(unitText)?.[1] ?? '').split(' ')

const script = `
  set -e
  unit=$1 runtime=$2 bounding=$3
  shift 3
  mount --bind "$runtime" "$runtime"
  mount -o remount,bind,ro /
  umask 0077
  exec setpriv --no-new-privs --bounding-set="$bounding" --inh-caps=-all --ambient-caps=-all \\
    /usr/bin/python3 ${path.join(checkout, 'test/support/python/system_call_filter.py')} "$unit" "$@"
`

/** The words in front of a command that shut it in as the unit does. */
function confinedIn(runtime: string): readonly string[] {
  chmodSync(runtime, 0o711) // RuntimeDirectoryMode.
  const kept = capabilities.map((name) => `+${name.replace('CAP_', '').toLowerCase()}`)
  const bounding = ['-all', ...kept].join(',')
  const words = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh']
  return [...words, unitFile, runtime, bounding]
}

type Said = {
  readonly path: string
  readonly canWrite: boolean
  readonly sum: string
  readonly host: string
}

/** What the client says, as the agent's user with nothing but that. */
async function asAgent(socket: string, connection: object): Promise<Said> {
  const client = path.join(checkout, 'test/support/attach-client.ts')
  const words = [`--reuid=${agentUser}`, `--regid=${agentUser}`, '--clear-groups', '--no-new-privs']
  const shut = ['--bounding-set=-all', '--inh-caps=-all', process.execPath, client]
  const { stdout } = await run('setpriv', [...words, ...shut, socket, JSON.stringify(connection)])
  return JSON.parse(stdout) as Said
}

for (const access of ['read', 'write'] as const) {
  test(`under the limits of its unit it attaches a device to ${access}, for the agent's user`, async (t) => {
    const unit = await attachUnit(t, { user: agentUser, wordsFor: confinedIn })
    const content = noise('attach', mebibyte)
    await using device = await loopDevice(mebibyte)
    await writeFile(device.path, content)
    const data = { device_path: device.path }
    const id = `volume-${randomUUID()}`

    const said = await asAgent(unit.socket, { id, type: 'gpfs', data, access })

    const node = path.join(unit.nodes, id)
    assert.deepEqual(said, {
      ...{ path: node, canWrite: access === 'write', sum: sha256(content), host: os.hostname() },
    })
    assert.deepEqual([existsSync(node), unit.connected()], [false, []])
    const after = await readFile(device.path)
    assert.equal(after.toString('utf8', 0, 8) === 'restored', access === 'write')
    assertShutIn(unit.pid)
  })
}

/** What the kernel says of the process. */
function assertShutIn(pid: number): void {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const of = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? ''
  const count = of('CapBnd').replaceAll(/[^0-9a-f]/g, '')
  const bits = [...BigInt(`0x${count}`).toString(2)].filter((bit) => bit === '1').length
  assert.equal(bits, capabilities.length)
  assert.deepEqual([of('CapEff'), of('CapPrm')], [of('CapBnd'), of('CapBnd')])
  assert.deepEqual([of('NoNewPrivs'), of('Seccomp')], ['1', '2'])
}

/** What the limits forbid; each must fail. */
const forbidden: readonly (readonly [string, string])[] = [
  ['write to the system', 'touch /etc/a-file'],
  ['become another user', 'setpriv --reuid=1000 --clear-groups true'],
  ['change its root', 'chroot / true'],
  ['read what is not its own', 'cat "$RUNTIME/of-another"'],
  ['set the clock', 'date --set=@1'],
  ['trace', `python3 -c "import ctypes,sys; sys.exit(ctypes.CDLL(None).ptrace(0, 0, 0, 0) != 0)"`],
  ['see packets', `python3 -c "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"`],
  ['make code of memory', 'python3 -c "import mmap; mmap.mmap(-1, 4096, prot=7)"'],
]

test('what the limits of the unit forbid fails in them, and what they allow does not', async (t) => {
  const runtime = mkdtempSync(path.join(os.tmpdir(), 'cba-attach-limits-'))
  t.after(() => rmSync(runtime, { recursive: true }))
  const secret = path.join(runtime, 'of-another')
  await writeFile(secret, '')
  await run('chown', ['64124', secret])
  chmodSync(secret, 0o600)
  const tried = (command: string) => {
    const [program = '', ...words] = confinedIn(runtime)
    const env = { ...process.env, PATH: '/usr/sbin:/usr/bin:/sbin:/bin', RUNTIME: runtime }
    return run(program, [...words, '/bin/sh', '-c', command], { env }).then(
      () => 'done',
      () => 'failed',
    )
  }
  assert.equal(await tried('touch "$RUNTIME/a-file"'), 'done')
  assert.equal(await tried('mknod "$RUNTIME/node" b 7 0 && chown 64123 "$RUNTIME/node"'), 'done')
  assert.equal(await tried('mount -t tmpfs none "$RUNTIME" && umount "$RUNTIME"'), 'done')
  for (const [what, command] of forbidden) assert.equal(await tried(command), 'failed', what)
})
