import type { RabbitOptions } from '../adapters/rpc/rabbit-options.ts'
import { parseTransportUrl } from '../adapters/rpc/transport-url.ts'
import type { Finding } from './finding.ts'
import { modesOf } from './modes.ts'
import type { Settings } from './schema.ts'
import { isDoubtfulUrl } from './secret-values.ts'

type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S

type CamelCased<T> = { readonly [K in keyof T as CamelCase<K & string>]: T[K] }

/** The values under their names in camelCase. */
function camelCased<T extends object>(values: T): CamelCased<T> {
  const entries = Object.entries(values).map(([name, value]) => [
    name.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase()),
    value,
  ])
  return Object.fromEntries(entries) as CamelCased<T>
}

export function rabbitOptions(settings: Settings): RabbitOptions {
  return camelCased(settings.oslo_messaging_rabbit)
}

const onTheBus = ['messaging', 'messagingv2'] as const
const elsewhere = ['noop', 'log', 'routing', 'test']

export type NotificationDriver = (typeof onTheBus)[number]

/**
 * The drivers that send to the bus. None configured means messagingv2 where a scheduler lives by what it
 * hears (decision D25), and none where it reads Cinder's database.
 */
export function notificationDrivers(settings: Settings): readonly NotificationDriver[] {
  const { driver } = settings.oslo_messaging_notifications
  const isNeeded = modesOf(settings).records === 'message'
  return driver.length === 0 && isNeeded
    ? ['messagingv2']
    : onTheBus.filter((name) => driver.includes(name))
}

const example = 'transport_url = rabbit://user:password@host:5672/'

function urlComplaint(settings: Settings, url: string): string | null {
  try {
    parseTransportUrl(url, rabbitOptions(settings))
    return null
  } catch (error) {
    // What the reader of URLs complains of may then be a part of the password.
    if (isDoubtfulUrl(url)) {
      return 'has a / ? # @ or comma in a password; write %2F %3F %23 %40 %2C in their place'
    }
    return `${(error as Error).message.replace(/^transport_url /, '')}; write ${example}`
  }
}

function notificationFindings(settings: Settings): readonly Finding[] {
  const { driver, topics, transport_url: url } = settings.oslo_messaging_notifications
  const findings: Finding[] = []
  const complain = (option: string, what: string | null) => {
    if (what !== null) findings.push({ name: `oslo_messaging_notifications.${option}`, what })
  }
  for (const name of driver) {
    if (elsewhere.includes(name) || onTheBus.some((known) => known === name)) continue
    complain('driver', `${name} is not known; write messagingv2`)
  }
  const isNeeded = modesOf(settings).records === 'message'
  if (isNeeded && findings.length === 0 && notificationDrivers(settings).length === 0) {
    complain(
      'driver',
      `${driver.join(', ')} sends nothing to the bus, and a scheduler with records=message lives ` +
        'by notifications; write driver = messagingv2',
    )
  }
  if (topics.length === 0) complain('topics', 'needs at least one topic; write notifications')
  if (url !== null) complain('transport_url', urlComplaint(settings, url))
  return findings
}

function rabbitFindings({ oslo_messaging_rabbit: rabbit }: Settings): readonly Finding[] {
  const findings: Finding[] = []
  if (rabbit.rabbit_ha_queues && rabbit.rabbit_quorum_queue) {
    findings.push({
      name: 'oslo_messaging_rabbit.rabbit_ha_queues',
      what: 'cannot go with rabbit_quorum_queue: a queue is mirrored or a quorum queue; set one',
    })
  }
  const streamNeeds = rabbit.rabbit_qos_prefetch_count > 0 && rabbit.rabbit_transient_quorum_queue
  if (rabbit.rabbit_stream_fanout && !streamNeeds) {
    findings.push({
      name: 'oslo_messaging_rabbit.rabbit_stream_fanout',
      what: 'needs rabbit_qos_prefetch_count of 1 or more and rabbit_transient_quorum_queue = true',
    })
  }
  if (rabbit.ssl_cert_file !== '' && rabbit.ssl_key_file === '') {
    findings.push({
      name: 'oslo_messaging_rabbit.ssl_cert_file',
      what: 'is of no use without its key; set ssl_key_file',
    })
  }
  return findings
}

export function messageBusFindings(settings: Settings): readonly Finding[] {
  const url = settings.DEFAULT.transport_url
  const what = url === '' ? `is empty; write ${example}` : urlComplaint(settings, url)
  return [
    ...(what === null ? [] : [{ name: 'DEFAULT.transport_url', what }]),
    ...rabbitFindings(settings),
    ...notificationFindings(settings),
  ]
}
