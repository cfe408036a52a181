// Sections of oslo.messaging, with its names, defaults and meanings. Source:
// oslo_messaging/_drivers/impl_rabbit.py, amqp.py and notify/notifier.py, 14.0 to 18.1.

import { rabbitChoices } from '../adapters/rpc/rabbit-options.ts'
import { choice, decimal, flag, integer, list, optionalText, text } from './formats.ts'

const seconds = { minimum: 0, unit: 'seconds' }

const topologyOptions = {
  amqp_durable_queues: flag(false, 'Queues and the control exchange outlive a broker restart.'),
  amqp_auto_delete: flag(false, 'Queues go with their last consumer.', {
    deprecatedNames: ['DEFAULT.amqp_auto_delete'],
  }),
  rabbit_ha_queues: flag(false, 'Ask for mirrored queues (x-ha-policy: all).', {
    deprecatedNames: ['DEFAULT.rabbit_ha_queues'],
  }),
  rabbit_quorum_queue: flag(false, 'Topic queues are quorum queues.'),
  rabbit_quorum_delivery_limit: integer(0, 'x-delivery-limit of quorum queues; 0 is none.', {
    minimum: 0,
  }),
  rabbit_quorum_max_memory_length: integer(0, 'x-max-in-memory-length; 0 is none.', {
    minimum: 0,
    deprecatedNames: ['rabbit_quroum_max_memory_length'],
  }),
  rabbit_quorum_max_memory_bytes: integer(0, 'x-max-in-memory-bytes; 0 is none.', {
    minimum: 0,
    unit: 'bytes',
    deprecatedNames: ['rabbit_quroum_max_memory_bytes'],
  }),
  rabbit_transient_quorum_queue: flag(false, 'Fanout and reply queues are quorum queues too.'),
  rabbit_transient_queues_ttl: integer(1800, 'Life of unused fanout and reply queues.', seconds),
  rabbit_stream_fanout: flag(false, 'One shared stream in place of fanout queues.'),
  use_queue_manager: flag(false, 'Fanout and reply queues keep their names over restarts.'),
  hostname: text('', 'Host name in the names that use_queue_manager makes.', {
    defaultText: "the machine's host name",
  }),
  processname: text('cinder-backup', 'Process name in those names.'),
  enable_cancel_on_failover: flag(false, 'Be told when a mirrored queue fails over.'),
  rabbit_qos_prefetch_count: integer(0, 'Messages taken in advance; 0 is no limit.', {
    minimum: 0,
    maximum: 65535,
  }),
}

const tlsOptions = {
  ssl: flag(false, 'TLS to the broker.', { deprecatedNames: ['rabbit_use_ssl'] }),
  ssl_ca_file: text('', 'File with the CA certificates to trust.', {
    deprecatedNames: ['kombu_ssl_ca_certs'],
    defaultText: 'those that Node knows',
  }),
  ssl_cert_file: text('', 'Client certificate.', {
    deprecatedNames: ['kombu_ssl_certfile'],
    defaultText: 'none',
  }),
  ssl_key_file: text('', 'Key of the client certificate.', {
    deprecatedNames: ['kombu_ssl_keyfile'],
    defaultText: 'none',
  }),
  ssl_enforce_hostname_verification: flag(
    true,
    "The certificate must carry the host's name. false for old deployments whose do not.",
  ),
}

const connectionOptions = {
  heartbeat_timeout_threshold: integer(60, 'A silent broker is dead after this; 0 is never.', {
    ...seconds,
  }),
  rabbit_retry_interval: integer(1, 'First wait before connecting again.', seconds),
  rabbit_retry_backoff: integer(2, 'What each further wait adds.', {
    ...seconds,
    deprecatedNames: ['DEFAULT.rabbit_retry_backoff'],
  }),
  rabbit_interval_max: integer(30, 'Longest wait before connecting again.', {
    ...seconds,
    minimum: 1,
  }),
  rabbit_login_method: choice(
    'AMQPLAIN',
    rabbitChoices.rabbit_login_method,
    'How to log in. EXTERNAL needs a client certificate; the others log in as PLAIN or AMQPLAIN.',
    { deprecatedNames: ['DEFAULT.rabbit_login_method'] },
  ),
  kombu_reconnect_delay: decimal(1, 'Wait after an error before connecting again.', {
    ...seconds,
    maximum: 4.5,
    deprecatedNames: ['DEFAULT.kombu_reconnect_delay'],
  }),
  kombu_reconnect_splay: decimal(0, 'Random wait on top of it, at most this.', seconds),
  kombu_missing_consumer_retry_timeout: integer(60, 'How long to offer a reply.', {
    ...seconds,
    deprecatedNames: ['kombu_reconnect_timeout'],
  }),
  kombu_failover_strategy: choice(
    'round-robin',
    rabbitChoices.kombu_failover_strategy,
    'The order in which hosts of the transport URL are tried.',
  ),
}

export const rabbitOptions = { ...topologyOptions, ...tlsOptions, ...connectionOptions }

export const notificationsOptions = {
  driver: list(
    [],
    'messagingv2 (enveloped), messaging (plain), noop. May come several times. None set means ' +
      'messagingv2 with records=message, which lives by its notifications.',
    { multi: true, deprecatedNames: ['DEFAULT.notification_driver'] },
  ),
  transport_url: optionalText('Another message bus for notifications.', {
    sensitive: 'password',
    deprecatedNames: ['DEFAULT.notification_transport_url'],
    defaultText: '[DEFAULT] transport_url',
  }),
  topics: list(['notifications'], 'One copy of each notification goes to each topic.', {
    deprecatedNames: ['rpc_notifier2.topics', 'DEFAULT.notification_topics'],
  }),
  retry: integer(
    -1,
    'Not followed: final events are never given up, and progress is left out while the broker is ' +
      'away.',
    {
      minimum: -1,
    },
  ),
}
