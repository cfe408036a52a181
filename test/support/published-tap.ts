import type { TestContext } from 'node:test'

import { connect } from 'amqplib'

import type { RabbitVhost } from './rabbit-vhost.ts'

/** A message as one of `users` has published it: where to, its properties and its body, as text. */
export type PublishedTap = { readonly published: readonly string[] }

/**
 * Everything that certain users publish on a virtual host, replies and heartbeats included: RabbitMQ's
 * firehose copies each message. Source: rabbitmq.com, firehose.
 */
export async function tapPublished(
  owner: Pick<TestContext, 'after'>,
  vhost: RabbitVhost,
  users: readonly string[],
): Promise<PublishedTap> {
  await vhost.ctl('trace_on', '--vhost', vhost.name)
  const connection = await connect(vhost.amqpUrl)
  connection.on('error', () => {}) // Its virtual host may go before it.
  owner.after(() => connection.close().catch(() => {}))
  const channel = await connection.createChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, 'amq.rabbitmq.trace', 'publish.#')
  const published: string[] = []
  await channel.consume(
    queue,
    (delivery) => {
      const headers = delivery?.properties.headers ?? {}
      if (delivery === null || !users.includes(String(headers['user']))) return
      published.push(`${JSON.stringify(headers)}\n${delivery.content.toString('latin1')}`)
    },
    { noAck: true },
  )
  return { published }
}
