// A process of the agent's user that attaches a device, reads it, writes to it where it may, and gives it back.
// Usage: attach-client.ts SOCKET CONNECTION. Prints one line of JSON.

import { open } from 'node:fs/promises'
import process from 'node:process'

import { unitAttach } from '#src/adapters/attach/unit-attach.ts'
import type { HostConnection } from '#src/ports/host-attach.ts'
import { attachHost } from './attach-unit.ts'
import { sha256 } from './volume-data.ts'

const [socket = '', text = ''] = process.argv.slice(2)
const connection = JSON.parse(text) as HostConnection
const signal = AbortSignal.timeout(60_000)
const attach = unitAttach({ ...attachHost, socket })

const connector = await attach.connector(signal)
const path = await attach.connect(connection, signal)
const isWritten = connection.access === 'write'
const file = await open(path, isWritten ? 'r+' : 'r')
const content = await file.readFile()
if (isWritten) {
  await file.write(Buffer.from('restored'), 0, 8, 0)
  await file.sync()
}
await file.close()
const canWrite = await open(path, 'r+').then(
  (again) => again.close().then(() => true),
  () => false,
)
await attach.disconnect(connection.id, { ignoreErrors: !isWritten }, signal)
const said = { path, canWrite, sum: sha256(content), host: connector?.['host'] }
process.stdout.write(`${JSON.stringify(said)}\n`)
