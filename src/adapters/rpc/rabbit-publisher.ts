import type { Log } from '../../ports/log.ts'
import type { Publisher } from '../../ports/rpc.ts'
import type { DeclareMode } from './declare.ts'
import type { NotificationDriver } from './oslo-notification.ts'
import { osloPublisher } from './oslo-publisher.ts'
import { publishLines } from './publish-lines.ts'
import type { RabbitOptions } from './rabbit-options.ts'
import { parseTransportUrl } from './transport-url.ts'

export type RabbitPublisherOptions = {
  readonly transportUrl: string
  readonly rabbit: RabbitOptions
  readonly controlExchange: string
  readonly host: string
  readonly declare: DeclareMode
  readonly notifications: {
    /** Another broker for notifications; null: the same. */
    readonly transportUrl: string | null
    readonly topics: readonly string[]
    /** None: `notify` sends nothing. */
    readonly drivers: readonly NotificationDriver[]
  }
}

/**
 * Publishes over two connections of its own, one for answers and casts, one for notifications, apart
 * from the one that consumes: an alarm at the broker blocks whole connections. Throws
 * CONFIGURATION_INVALID; connects in the background, for ever.
 */
export function rabbitPublisher(options: RabbitPublisherOptions, log: Log): Publisher {
  const { rabbit, notifications, controlExchange, host } = options
  const rpcTransport = parseTransportUrl(options.transportUrl, rabbit)
  const notifyUrl = notifications.transportUrl ?? options.transportUrl
  const notifyTransport = parseTransportUrl(notifyUrl, rabbit)
  const isSilent = notifications.topics.length === 0 || notifications.drivers.length === 0

  const rpc = publishLines(rpcTransport, 'publish', ['replies', 'casts'], options, log)
  const notify = isSilent
    ? null
    : publishLines(notifyTransport, 'notify', ['notifications'], options, log)
  return osloPublisher(
    { ...rpc.links, notifications: notify?.links.notifications ?? rpc.links.casts },
    {
      controlExchange,
      publisherId: `backup.${host}`,
      topics: notifications.topics,
      drivers: notifications.drivers,
      replyRetrySeconds: rpcTransport.rabbit.kombuMissingConsumerRetryTimeout,
    },
    log,
    async () => {
      await Promise.all([rpc.end(), notify?.end()])
    },
  )
}
