import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import path from 'node:path'
import type { Json, JsonObject } from '#src/domain/json.ts'
import {
  checkout,
  type RabbitAddress,
  rabbitOf,
  type ServiceScript,
  serviceScript,
  services,
} from './services.ts'

/** Whoever calls back at the end of a test: its context, or `{ after }` of node:test for a file. */
type Owner = { after(end: () => unknown): void }

/** A queue as `rabbitmqctl list_queues` shows it; the counts are of this moment. */
export type QueueInfo = {
  readonly name: string
  readonly type: 'classic' | 'quorum' | 'stream'
  readonly durable: boolean
  readonly auto_delete: boolean
  readonly exclusive: boolean
  readonly arguments: JsonObject
  readonly messages: number
  readonly messages_ready: number
  readonly messages_unacknowledged: number
  readonly consumers: number
}

/** The tool gives each argument as name, AMQP type and value. */
type ListedQueue = Omit<QueueInfo, 'arguments'> & {
  readonly arguments: readonly (readonly [string, string, Json])[]
}

const queueFields = [
  'name',
  'type',
  'durable',
  'auto_delete',
  'exclusive',
  'arguments',
  'messages',
  'messages_ready',
  'messages_unacknowledged',
  'consumers',
]

/** A virtual host of a real RabbitMQ, and what a test may do to it. */
export type RabbitVhost = {
  readonly name: string
  /** As in `[DEFAULT] transport_url`. */
  readonly transportUrl: string
  /** The same for an AMQP client. */
  readonly amqpUrl: string
  queues(): Promise<readonly QueueInfo[]>
  /** Cuts every connection to this virtual host, as a broker that goes away does. */
  closeConnections(): Promise<void>
  /** RabbitMQ's own tool; resolves to what it printed. */
  ctl(...args: readonly string[]): Promise<string>
}

/** A virtual host of the shared RabbitMQ for one test, gone with everything in it after. */
export async function rabbitVhost(owner: Owner): Promise<RabbitVhost> {
  const { rabbit } = services()
  const name = `test-${randomBytes(6).toString('hex')}`
  await manage(rabbit, 'PUT', `/vhosts/${name}`)
  owner.after(() => manage(rabbit, 'DELETE', `/vhosts/${name}`))
  const everything = { configure: '.*', write: '.*', read: '.*' }
  await manage(rabbit, 'PUT', `/permissions/${name}/${rabbit.user}`, everything)
  return vhostOf(rabbit, name, serviceScript())
}

/** A user of a virtual host alone, who may do everything there; gone after the test. Resolves to its name. */
export async function rabbitUser(
  owner: Owner,
  { name: vhost }: RabbitVhost,
  password: string,
): Promise<string> {
  const { rabbit } = services()
  const name = `user-${randomBytes(6).toString('hex')}`
  await manage(rabbit, 'PUT', `/users/${name}`, { password, tags: '' })
  owner.after(() => manage(rabbit, 'DELETE', `/users/${name}`))
  const everything = { configure: '.*', write: '.*', read: '.*' }
  await manage(rabbit, 'PUT', `/permissions/${vhost}/${name}`, everything)
  return name
}

export type PrivateRabbit = RabbitVhost & {
  /** Ends the broker in good order and starts it again, at the same address. */
  restart(): Promise<void>
  stop(): Promise<void>
  start(): Promise<void>
  /** Raises (or clears) the memory alarm: the broker then takes nothing from who publishes. */
  block(blocked: boolean): Promise<void>
}

/**
 * A RabbitMQ for one test, that may be stopped and blocked, with more plugins and lines of its
 * configuration where wanted. Takes about six seconds.
 */
export async function privateRabbit(
  owner: Owner,
  { plugins = '', conf = '' }: { readonly plugins?: string; readonly conf?: string } = {},
): Promise<PrivateRabbit> {
  // Under the shared data folder, where `scripts/services down` finds what a killed test left.
  const home = process.env['CBA_SERVICES_DIR'] ?? path.join(checkout, '.services')
  const parent = path.join(home, 'private')
  await mkdir(parent, { recursive: true })
  const folder = await mkdtemp(path.join(parent, 'rabbit-'))
  const script = serviceScript({
    CBA_SERVICES_DIR: folder,
    CBA_RABBIT_PLUGINS: plugins,
    CBA_RABBIT_CONF: conf,
  })
  owner.after(async () => {
    await script('wipe')
    await rm(folder, { recursive: true, force: true })
  })
  await script('up', 'rabbitmq')
  return {
    ...vhostOf(await rabbitOf(script), '/', script),
    async restart() {
      await script('restart', 'rabbitmq')
    },
    async stop() {
      await script('down', 'rabbitmq')
    },
    async start() {
      await script('up', 'rabbitmq')
    },
    async block(blocked) {
      await script('rabbitmqctl', 'set_vm_memory_high_watermark', blocked ? '0' : '0.4')
    },
  }
}

function vhostOf(rabbit: RabbitAddress, name: string, script: ServiceScript): RabbitVhost {
  const { user, password, host, port } = rabbit
  const at = `${user}:${password}@${host}:${port}/${encodeURIComponent(name)}`
  const ctl = (...args: readonly string[]) => script('rabbitmqctl', '--quiet', ...args)
  return {
    name,
    transportUrl: `rabbit://${at}`,
    amqpUrl: `amqp://${at}`,
    async queues() {
      const listed = await ctl(
        'list_queues',
        '--formatter',
        'json',
        '--vhost',
        name,
        ...queueFields,
      )
      return (JSON.parse(listed) as readonly ListedQueue[]).map((queue) => ({
        ...queue,
        arguments: Object.fromEntries(queue.arguments.map(([key, , value]) => [key, value])),
      }))
    },
    async closeConnections() {
      await ctl('close_all_connections', '--vhost', name, 'a test cuts them')
    },
    ctl,
  }
}

/** One call of RabbitMQ's management API. */
async function manage(
  { user, password, managementUrl }: RabbitAddress,
  method: string,
  where: string,
  body?: Json,
): Promise<void> {
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
  const answer = await fetch(`${managementUrl}/api${where}`, {
    method,
    headers: { authorization, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  })
  if (!answer.ok) {
    throw new Error(`${method} ${where} of RabbitMQ: ${answer.status} ${await answer.text()}`)
  }
}
