import assert from 'node:assert/strict'
import { connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

import { services } from './services.ts'

// AMQP 0-9-1, section 4.2: a frame is type, channel, size, payload and an end octet.
const protocolHeaderBytes = 8
const frameHeadBytes = 7
const methodFrame = 1
const frameEnd = 0xce
const queueDeclare = { classId: 50, methodId: 10 }
const connectionClose = { classId: 10, methodId: 50 }
const channelClose = { classId: 20, methodId: 40 }
const basicAck = { classId: 60, methodId: 80 }
const durableOrExclusive = 0b110

/** What RabbitMQ 4.3 says, and closes the connection, where such queues are not permitted. */
export const transientQueuesText =
  'INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.\n' +
  'By default, this feature is not permitted anymore.'

export type AmqpProxy = {
  readonly port: number
  /** Whether queues that are neither durable nor exclusive pass. */
  transientQueues: 'permitted' | 'refused'
  /** How many connections break as soon as they close a channel, without an answer. */
  breaksAtChannelClose: number
  /** How many connections break at a confirm: the broker has the message, and its sender does not know. */
  breaksAtConfirm: number
}

/** A door to the shared broker that treats transient queues as a newer one does, and breaks where it is told to. */
export async function amqpProxy(t: TestContext): Promise<AmqpProxy> {
  const { host, port } = services().rabbit
  const server = createServer((client) => {
    const broker = connect(port, host)
    for (const socket of [client, broker]) socket.on('error', () => socket.destroy())
    client.on('close', () => broker.destroy())
    const answersOf = methodReader({ isGreeted: true })
    broker.on('data', (data: Buffer) => {
      const answers = answersOf(data)
      if (proxy.breaksAtConfirm > 0 && answers.some((one) => isOf(one, basicAck))) {
        proxy.breaksAtConfirm -= 1
        client.resetAndDestroy()
      } else if (!client.destroyed) client.write(data)
    })
    broker.on('end', () => client.end())
    const methodsOf = methodReader({ isGreeted: false })
    client.on('data', (data: Buffer) => {
      if (broker.destroyed) return // The goodbye after a refusal.
      const methods = methodsOf(data)
      if (proxy.transientQueues === 'refused' && methods.some(isTransient)) {
        refuse(client, broker)
      } else if (proxy.breaksAtChannelClose > 0 && methods.some((one) => isOf(one, channelClose))) {
        proxy.breaksAtChannelClose -= 1
        client.resetAndDestroy()
      } else broker.write(data)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const proxy: AmqpProxy = {
    port: address.port,
    transientQueues: 'permitted',
    breaksAtChannelClose: 0,
    breaksAtConfirm: 0,
  }
  return proxy
}

/** The URL of the broker by way of the proxy. */
export function throughProxy(transportUrl: string, { port }: AmqpProxy): string {
  return transportUrl.replace(/@127\.0\.0\.1:\d+/, `@127.0.0.1:${port}`)
}

function refuse(client: Socket, broker: Socket): void {
  broker.removeAllListeners('data')
  broker.removeAllListeners('end')
  broker.destroy()
  client.write(closeFrame(541, transientQueuesText))
}

/** Reads what a side sends, piece by piece; gives the methods that a piece completes. */
function methodReader(side: { isGreeted: boolean }): (data: Buffer) => readonly Buffer[] {
  let left = Buffer.alloc(0)
  let { isGreeted } = side
  return (data) => {
    left = Buffer.concat([left, data])
    if (!isGreeted && left.length >= protocolHeaderBytes) {
      left = left.subarray(protocolHeaderBytes)
      isGreeted = true
    }
    const methods: Buffer[] = []
    while (isGreeted && left.length >= frameHeadBytes) {
      const end = frameHeadBytes + left.readUInt32BE(3)
      if (left.length <= end) break
      if (left[0] === methodFrame) methods.push(left.subarray(frameHeadBytes, end))
      left = left.subarray(end + 1)
    }
    return methods
  }
}

function isOf(method: Buffer, { classId, methodId }: typeof queueDeclare): boolean {
  return method.readUInt16BE(0) === classId && method.readUInt16BE(2) === methodId
}

function isTransient(method: Buffer): boolean {
  if (!isOf(method, queueDeclare)) return false
  const nameBytes = method.readUInt8(6) // After a reserved short.
  return (method.readUInt8(7 + nameBytes) & durableOrExclusive) === 0
}

function closeFrame(code: number, text: string): Buffer {
  const words = Buffer.from(text)
  const payload = Buffer.alloc(4 + 2 + 1 + words.length + 4)
  payload.writeUInt16BE(connectionClose.classId, 0)
  payload.writeUInt16BE(connectionClose.methodId, 2)
  payload.writeUInt16BE(code, 4)
  payload.writeUInt8(words.length, 6)
  words.copy(payload, 7)
  payload.writeUInt16BE(queueDeclare.classId, 7 + words.length)
  payload.writeUInt16BE(queueDeclare.methodId, 9 + words.length)
  const head = Buffer.from([methodFrame, 0, 0, 0, 0, 0, 0])
  head.writeUInt32BE(payload.length, 3)
  return Buffer.concat([head, payload, Buffer.from([frameEnd])])
}
