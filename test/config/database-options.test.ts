import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'

import { inspectConfig, loadConfig, problemText } from '#src/config.ts'

const bus = '[DEFAULT]\ntransport_url = rabbit://u:p@127.0.0.1/\n'

const folder = mkdtempSync(path.join(tmpdir(), 'cba-config-'))
after(() => rmSync(folder, { recursive: true }))

function sources(text: string) {
  const file = path.join(mkdtempSync(path.join(folder, 'etc-')), 'agent.conf')
  writeFileSync(file, bus + text)
  return { paths: [{ kind: 'file', path: file } as const], env: {} }
}

test('the database is described as in the files, with limits in milliseconds', () => {
  const { config } = loadConfig(
    sources(
      `message_ttl = 60\nreservation_expire = 30\n[database]\nconnection = mysql://u:p@h/c\n` +
        'connection_recycle_time = 10\nmax_pool_size = 3\nreconnect_interval = 4\n',
    ),
  )

  assert.deepEqual(config.database, {
    url: 'mysql://u:p@h/c',
    parameters: '',
    wsrepSyncWait: null,
    connectionsMax: 3,
    recycleMs: 10_000,
    retryMsMax: 4000,
    messageSeconds: 60,
    reservationSeconds: 30,
  })
})

test('what oslo.db adds to each connection is added', () => {
  const text = `[database]\nconnection = mysql://u:p@h/c\nconnection_parameters = ssl_ca=/ca\nmysql_wsrep_sync_wait = `

  const { config } = loadConfig(sources(`${text}1\n`))

  assert.deepEqual([config.database?.parameters, config.database?.wsrepSyncWait], ['ssl_ca=/ca', 1])
  const complaints = inspectConfig(sources(`${text}x; DROP\n`))
    .problems.map(problemText)
    .join('\n')
  assert.match(complaints, /mysql_wsrep_sync_wait: is not a number/)
})

test('numbers that oslo.db takes for no limit are none, and nobody tries again without a wait', () => {
  const { config } = loadConfig(
    sources(
      `[database]\nconnection = mysql://u:p@h/c\nconnection_recycle_time = -1\nmax_pool_size = 0\nretry_interval = 0\n`,
    ),
  )

  const { connectionsMax, recycleMs, retryMsMax } = config.database ?? {}
  assert.deepEqual(
    [connectionsMax, recycleMs, retryMsMax],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 1000],
  )
  assert.equal(loadConfig(sources('')).config.database, null)
})

test('a database of another kind is complained of, without its password', () => {
  const text = '[database]\nconnection = oracle://u:canary-secret@h/c\n'

  const complaints = inspectConfig(sources(text)).problems.map(problemText).join('\n')

  assert.match(complaints, /connection: has the scheme oracle; write mysql\+pymysql:\/\/ or /)
  assert.doesNotMatch(complaints, /canary/)
})

test('a database that nobody will use may be of any kind', () => {
  const text = `[cinder_backup_agent]\nrecords = message\n[database]\nconnection = sqlite:///cinder.db\n`

  assert.deepEqual(inspectConfig(sources(text)).problems, [])
})
