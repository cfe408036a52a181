// The agent as its unit runs it, as far as that goes without systemd as the first process: its own
// user, no capability, a read-only system, the unit's system calls; and a service manager's socket.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmodSync, readFileSync } from 'node:fs'
import { readFile, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'

import { type AgentHome, agentHome, spawnAgent } from '../support/agent.ts'
import { aContext } from '../support/builders.ts'
import { asUdevHasIt, confined } from '../support/confined.ts'
import { chunkBytes } from '../support/driven-agent.ts'
import { loopDevice } from '../support/loop-device.ts'
import { startPeer } from '../support/python.ts'
import { rabbitVhost } from '../support/rabbit-vhost.ts'
import { recordFor, startScheduler } from '../support/scheduler.ts'
import { noise, sha256 } from '../support/volume-data.ts'

const run = promisify(execFile)
const signal = AbortSignal.timeout(120_000)

/** A service manager's socket that the agent's user may write to. */
async function openSocket(t: TestContext, { folder }: AgentHome) {
  const socket = path.join(folder, 'notify')
  const peer = startPeer('notify_socket.py', [socket])
  t.after(() => peer[Symbol.asyncDispose]())
  assert.equal(await peer.line(signal), 'listening')
  chmodSync(socket, 0o666)
  const until = async (wanted: RegExp): Promise<string> => {
    while (true) {
      const word = JSON.parse((await peer.line(signal)) ?? '""') as string
      if (wanted.test(word)) return word
    }
  }
  return { socket, until }
}

test('under the limits of its unit it backs up and restores block devices, and tells its manager', async (t) => {
  const vhost = await rabbitVhost(t)
  const home = await agentHome(t, vhost.transportUrl, {
    DEFAULT: { backup_file_size: chunkBytes },
  })
  const manager = await openSocket(t, home)
  const content = noise('unit', 5 * chunkBytes)
  const sizeBytes = content.byteLength
  await using source = await loopDevice(sizeBytes)
  await using target = await loopDevice(sizeBytes)
  const context = aContext()
  const record = recordFor(randomUUID(), context)
  const targetId = randomUUID()
  for (const [device, id] of [
    [source, record.volume_id],
    [target, targetId],
  ] as const) {
    await asUdevHasIt(device.path)
    await symlink(device.path, path.join(home.volumes, `volume-${id}`))
  }
  await writeFile(source.path, content)

  const cage = await confined(home)
  const env = { NOTIFY_SOCKET: manager.socket, WATCHDOG_USEC: '1500000' }
  const agent = spawnAgent(t, home, env, cage.words)
  await manager.until(/^READY=1$/)
  assertShutIn(agent.pid, cage.userId)
  await manager.until(/^STATUS=0 jobs in hand$|^WATCHDOG=1$/)
  const scheduler = await startScheduler(t, vhost.transportUrl, context)
  const made = await scheduler.run('create', record)
  assert.equal(made.eventType, 'backup.create.end', String(made.payload['message']))
  const full = { ...scheduler.recordOf(record.id), status: 'restoring' } as const
  const restored = await scheduler.run('restore', full, { volume_id: targetId })
  assert.equal(restored.eventType, 'backup.restore.end', String(restored.payload['message']))
  assert.equal(sha256(await readFile(target.path)), sha256(content))
  await manager.until(/^WATCHDOG=1$/)

  process.kill(agent.pid, 'SIGTERM')
  await manager.until(/^STOPPING=1$/)
  assert.equal(await agent.ended(), 0)
})

/** What the kernel says of the process. */
function assertShutIn(pid: number, userId: number): void {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const of = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]
  assert.equal(of('Uid'), Array(4).fill(userId).join('\t'))
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
    assert.equal(of(set), '0'.repeat(16), set)
  }
  assert.equal(of('NoNewPrivs'), '1')
  assert.equal(of('Seccomp'), '2')
}

/** What the limits forbid, as a program that tries it; each must fail. */
const forbidden: readonly (readonly [string, string])[] = [
  ['write to the system', 'touch /usr/a-file'],
  ['write beside its own folders', 'touch "$OUTSIDE/a-file"'],
  ['mount', 'mount -t tmpfs none /mnt'],
  ['become root', 'setpriv --reuid=0 true'],
  ['see the processes of others', 'test -d /proc/1'],
  [
    'trace itself',
    `python3 -c "import ctypes,sys; sys.exit(ctypes.CDLL(None).ptrace(0, 0, 0, 0) != 0)"`,
  ],
  [
    'speak netlink',
    `python3 -c "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)"`,
  ],
]

test('what the limits forbid fails in them, and what they allow does not', async (t) => {
  const vhost = await rabbitVhost(t)
  const home = await agentHome(t, vhost.transportUrl)
  const tried = async (command: string) => {
    const { words } = await confined(home, ['/bin/sh', '-c', command])
    const [program = '', ...args] = words
    const env = { ...process.env, OUTSIDE: home.folder, STATE: home.stateDir }
    return run(program, args, { env }).then(
      () => 'done',
      () => 'failed',
    )
  }
  assert.equal(await tried('touch "$STATE/a-file"'), 'done')
  assert.equal(await tried('python3 -c "import socket; socket.socket()"'), 'done')
  for (const [what, command] of forbidden) assert.equal(await tried(command), 'failed', what)
})
