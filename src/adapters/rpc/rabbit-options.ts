/**
 * `[oslo_messaging_rabbit]` under oslo's names in camelCase, with oslo's units and meanings; seconds
 * where nothing else is said. Source: oslo_messaging/_drivers/impl_rabbit.py and common.py.
 */
export type RabbitOptions = {
  readonly amqpDurableQueues: boolean
  readonly amqpAutoDelete: boolean
  readonly rabbitHaQueues: boolean
  readonly rabbitQuorumQueue: boolean
  readonly rabbitQuorumDeliveryLimit: number
  readonly rabbitQuorumMaxMemoryLength: number
  readonly rabbitQuorumMaxMemoryBytes: number
  readonly rabbitTransientQuorumQueue: boolean
  readonly rabbitStreamFanout: boolean
  readonly rabbitTransientQueuesTtl: number
  readonly useQueueManager: boolean
  readonly hostname: string
  readonly processname: string
  readonly enableCancelOnFailover: boolean
  readonly rabbitQosPrefetchCount: number
  readonly rabbitLoginMethod: string
  readonly heartbeatTimeoutThreshold: number
  readonly rabbitRetryInterval: number
  readonly rabbitRetryBackoff: number
  readonly rabbitIntervalMax: number
  readonly kombuReconnectDelay: number
  readonly kombuReconnectSplay: number
  readonly kombuFailoverStrategy: string
  readonly kombuMissingConsumerRetryTimeout: number
  readonly ssl: boolean
  readonly sslCaFile: string
  readonly sslCertFile: string
  readonly sslKeyFile: string
  readonly sslEnforceHostnameVerification: boolean
}

/** oslo.messaging's own defaults. */
export const rabbitDefaults: RabbitOptions = {
  amqpDurableQueues: false,
  amqpAutoDelete: false,
  rabbitHaQueues: false,
  rabbitQuorumQueue: false,
  rabbitQuorumDeliveryLimit: 0,
  rabbitQuorumMaxMemoryLength: 0,
  rabbitQuorumMaxMemoryBytes: 0,
  rabbitTransientQuorumQueue: false,
  rabbitStreamFanout: false,
  rabbitTransientQueuesTtl: 1800,
  useQueueManager: false,
  hostname: '',
  processname: 'cinder-backup',
  enableCancelOnFailover: false,
  rabbitQosPrefetchCount: 0,
  rabbitLoginMethod: 'AMQPLAIN',
  heartbeatTimeoutThreshold: 60,
  rabbitRetryInterval: 1,
  rabbitRetryBackoff: 2,
  rabbitIntervalMax: 30,
  kombuReconnectDelay: 1,
  kombuReconnectSplay: 0,
  kombuFailoverStrategy: 'round-robin',
  kombuMissingConsumerRetryTimeout: 60,
  ssl: false,
  sslCaFile: '',
  sslCertFile: '',
  sslKeyFile: '',
  sslEnforceHostnameVerification: true,
}

/** What options of few values may be, as oslo has it. */
export const rabbitChoices = {
  rabbit_login_method: ['PLAIN', 'AMQPLAIN', 'EXTERNAL', 'RABBIT-CR-DEMO'],
  kombu_failover_strategy: ['round-robin', 'shuffle'],
} as const

/** Options of oslo's that change nothing here: known, so that they are no mistake. */
export const ignoredRabbitOptions: readonly string[] = [
  'conn_pool_min_size',
  'conn_pool_ttl',
  'direct_mandatory_flag',
  'fake_rabbit',
  'heartbeat_in_pthread',
  'heartbeat_rate',
  'kombu_compression',
  'rabbit_quroum_max_memory_bytes',
  'rabbit_quroum_max_memory_length',
  'rpc_conn_pool_size',
  'ssl_version',
]
