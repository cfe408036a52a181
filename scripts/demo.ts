// The main job, to be watched: an agent on a real RabbitMQ is driven by a stand-in scheduler through a
// full backup, an incremental one, a restore, a comparison and the deletes.
//
//   make demo               POSIX store
//   make demo STORE=swift   real Swift, with a token of a real Keystone

import { execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, createReadStream, openSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, open, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'

import { rabbitOf, serviceScript, services } from '../test/support/services.ts'

const mebibyte = 2 ** 20
const volumeBytes = 256 * mebibyte
const checkout = path.resolve(import.meta.dirname, '..')
const command = path.join(checkout, 'bin/cinder-backup-agent')
const servicesScript = path.join(checkout, 'scripts/services')
const store = process.argv[2] === 'swift' ? 'swift' : 'posix'
const wanted = store === 'swift' ? [] : ['rabbitmq']

const say = (text: string) => process.stdout.write(`${text}\n`)
const heading = (text: string) => say(`\n=== ${text}`)

/** Runs `script` of the project's services and shows what it says. */
function runServices(...args: readonly string[]): void {
  execFileSync(servicesScript, args, { stdio: ['ignore', 'ignore', 'inherit'] })
}

function servicesRun(): boolean {
  try {
    const output = execFileSync(servicesScript, ['status'], { stdio: ['ignore', 'pipe', 'ignore'] })
    return output.toString().includes(' up')
  } catch (error) {
    const { stdout } = error as { stdout?: Buffer }
    return stdout?.toString().includes(' up') ?? false
  }
}

/** A device with the volume's name in `folder`: a loop device where we may make one, else a file. */
async function makeVolume(folder: string, id: string, stack: AsyncDisposableStack) {
  const name = path.join(folder, `volume-${id}`)
  const backing = `${name}.img`
  const file = await open(backing, 'wx')
  await file.truncate(volumeBytes)
  await file.close()
  try {
    const device = execFileSync('losetup', ['--find', '--show', backing], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const loop = device.toString().trim()
    stack.defer(() => {
      execFileSync('losetup', ['--detach', loop])
    })
    await symlink(loop, name)
    say(`volume ${id}: ${loop}, ${volumeBytes / mebibyte} MiB`)
  } catch {
    await symlink(backing, name)
    await rm(name)
    const plain = await open(name, 'wx')
    await plain.truncate(volumeBytes)
    await plain.close()
    say(`volume ${id}: a file, ${volumeBytes / mebibyte} MiB (no loop device to be had)`)
  }
  return name
}

/** Text, noise and holes, as a disk has them. */
async function fillVolume(device: string): Promise<void> {
  const file = await open(device, 'r+')
  const text = Buffer.from(readFileSync('/etc/services').toString().repeat(200)).subarray(
    0,
    mebibyte,
  )
  for (let index = 0; index < 160; index += 1) {
    await file.write(
      index % 3 === 0 ? randomBytes(mebibyte) : text,
      0,
      text.length,
      index * mebibyte,
    )
  }
  await file.sync()
  await file.close()
}

/** A few blocks changed, one turned to zeros. */
async function changeVolume(device: string): Promise<void> {
  const file = await open(device, 'r+')
  for (const mib of [1, 40, 41, 200]) {
    await file.write(randomBytes(65_536), 0, 65_536, mib * mebibyte)
  }
  await file.write(Buffer.alloc(mebibyte), 0, mebibyte, 12 * mebibyte)
  await file.sync()
  await file.close()
}

async function checksum(device: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(device, { highWaterMark: 4 * mebibyte })) {
    hash.update(piece)
  }
  return hash.digest('hex')
}

function configuration(folder: string, transportUrl: string): string {
  const driver =
    store === 'swift'
      ? `backup_driver = cinder.backup.drivers.swift.SwiftBackupDriver
backup_swift_url = ${services().swift.url}/v1/AUTH_
backup_swift_object_size = 16777216`
      : `backup_driver = cinder.backup.drivers.posix.PosixBackupDriver
backup_posix_path = ${folder}/store
backup_file_size = 16777216`
  return `[DEFAULT]
host = demo
transport_url = ${transportUrl}
${driver}
[oslo_messaging_notifications]
driver = messagingv2
[cinder_backup_agent]
state_dir = ${folder}/state
volume_paths = ${folder}/volumes/volume-{volume_id}
`
}

async function startAgent(folder: string, configFile: string, stack: AsyncDisposableStack) {
  const logFile = path.join(folder, 'agent.log')
  const log = openSync(logFile, 'w')
  const agent = spawn(command, ['serve', '--config-file', configFile], {
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  stack.defer(async () => {
    if (agent.exitCode !== null) return
    agent.kill('SIGTERM')
    await once(agent, 'exit')
  })
  const deadline = performance.now() + 20_000
  while (!/\bserving\b/.test(readFileSync(logFile, 'utf8'))) {
    if (agent.exitCode !== null || performance.now() > deadline) {
      throw new Error(`the agent did not start:\n${readFileSync(logFile, 'utf8')}`)
    }
    await sleep(50)
  }
  say(readFileSync(logFile, 'utf8').trimEnd())
}

/** Runs the stand-in scheduler; rejects unless the operation ended well. */
async function send(configFile: string, ...args: readonly string[]): Promise<void> {
  say(`$ cinder-backup-agent send ${args.join(' ')}`)
  const login =
    store === 'swift'
      ? {
          OS_AUTH_URL: services().keystone.url,
          OS_USERNAME: 'demo',
          OS_PASSWORD: services().keystone.passwordOf('demo'),
          OS_PROJECT_NAME: 'demo',
        }
      : {}
  const child = spawn(command, ['send', ...args, '--config-file', configFile], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...login },
  })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`send ${args[0]} ended with ${code}`)
}

async function demo(stack: AsyncDisposableStack): Promise<boolean> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-demo-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const volumes = path.join(folder, 'volumes')
  await mkdir(volumes)
  await mkdir(path.join(folder, 'store'))
  const rabbit = await rabbitOf(serviceScript())
  const transportUrl = `rabbit://${rabbit.user}:${rabbit.password}@${rabbit.host}:${rabbit.port}/`
  const configFile = path.join(folder, 'agent.conf')
  writeFileSync(configFile, configuration(folder, transportUrl))

  heading('A volume with data, and an empty one to restore onto')
  const [source, target] = [randomUUID(), randomUUID()]
  const sourceDevice = await makeVolume(volumes, source, stack)
  const targetDevice = await makeVolume(volumes, target, stack)
  await fillVolume(sourceDevice)

  heading(`The agent starts (store: ${store})`)
  await startAgent(folder, configFile, stack)

  const [full, increment] = ['full', 'increment'].map((name) => path.join(folder, `${name}.json`))
  if (full === undefined || increment === undefined) throw new Error('two names make two files')
  heading('Full backup')
  await send(configFile, 'create_backup', '--volume-id', source, '--record', full)
  heading('The volume changes; incremental backup')
  await changeVolume(sourceDevice)
  const parent = ['--parent', full, '--record', increment]
  await send(configFile, 'create_backup', '--volume-id', source, ...parent)
  heading('Restore of the chain onto the other volume')
  await send(configFile, 'restore_backup', '--record', increment, '--volume-id', target)
  heading('Compare')
  const sums = [await checksum(sourceDevice), await checksum(targetDevice)]
  say(`source  ${sums[0]}\ntarget  ${sums[1]}`)
  heading('Delete, the newest first')
  await send(configFile, 'delete_backup', '--record', increment)
  await send(configFile, 'delete_backup', '--record', full)
  return sums[0] === sums[1]
}

const wereRunning = servicesRun()
heading('Real services start')
runServices('up', ...wanted)
let isEqual = false
{
  await using stack = new AsyncDisposableStack()
  if (!wereRunning) stack.defer(() => runServices('down'))
  isEqual = await demo(stack)
}
say(isEqual ? '\nThe restored volume equals the source.' : '\nTHE VOLUMES DIFFER')
process.exitCode = isEqual ? 0 : 1
