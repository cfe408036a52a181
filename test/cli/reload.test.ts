import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { reloader } from '#src/cli/reload.ts'
import type { Sources } from '#src/config/read-files.ts'
import { loadConfig } from '#src/config.ts'
import { storeRates } from '#src/lane-stores.ts'

/** A configuration that was read at the start, and what reads it again. */
async function started(t: TestContext) {
  const folder = await mkdtemp(path.join(tmpdir(), 'cba-reload-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const file = path.join(folder, 'agent.conf')
  const write = (ours: string, defaults = '') =>
    writeFileSync(
      file,
      `[DEFAULT]\ntransport_url = rabbit://u:secret@h/\n${defaults}\n[cinder_backup_agent]\n${ours}\n`,
    )
  write('bandwidth_max = 1 MiB\nrequests_max = 5')
  const sources: Sources = { paths: [{ kind: 'file', path: file }], env: {} }
  const { config, settings } = loadConfig(sources)
  const rates = storeRates(config)
  const log = recordingLog()
  const debug: boolean[] = []
  const setDebug = (isDebug: boolean) => void debug.push(isDebug)
  return { write, rates, debug, log, reload: reloader(sources, settings, { rates, setDebug }, log) }
}

test('the rates change at once, and the log has old and new', async (t) => {
  const { write, rates, log, reload } = await started(t)
  assert.equal(rates.bandwidth.perSecond, 1_048_576)
  write('bandwidth_max = 2 MiB\nrequests_max = 0')

  reload()

  assert.deepEqual([rates.bandwidth.perSecond, rates.requests.perSecond], [2_097_152, 0])
  assert.deepEqual(
    log.lines.map(({ level, message, fields }) => [level, message, fields]),
    [
      ['info', 'bandwidth_max changed', { from: 1_048_576, to: 2_097_152 }],
      ['info', 'requests_max changed', { from: 5, to: 0 }],
      ['info', 'configuration read again', { changed: 2 }],
    ],
  )
})

test('debug turns the level of the log up and down again, each once', async (t) => {
  const { write, debug, log, reload } = await started(t)
  const same = 'bandwidth_max = 1 MiB\nrequests_max = 5'

  for (const line of ['debug = true', 'debug = yes', '', 'debug = false']) {
    write(same, line)
    reload()
  }

  assert.deepEqual(debug, [true, false])
  assert.deepEqual(
    log.lines.filter(({ message }) => message === 'debug changed').map(({ fields }) => fields),
    [
      { from: false, to: true },
      { from: true, to: false },
    ],
  )
})

test('what needs a restart is named once, without its value', async (t) => {
  const { write, log, reload } = await started(t)
  write('bandwidth_max = 1 MiB\nrequests_max = 5\nuploads_max = 7', 'backup_swift_key = hidden')

  reload()

  const [warning, ...others] = log.lines.filter(({ level }) => level === 'warn')
  assert.deepEqual(others, [])
  assert.deepEqual(warning?.fields, {
    options: ['cinder_backup_agent.uploads_max', 'DEFAULT.backup_swift_key'],
  })
  assert.ok(!JSON.stringify(log.lines).includes('hidden'))
})

for (const broken of ['bandwidth_max = fast', 'bandwidth_max = 5\n[broken', 'uploads_max = 0']) {
  test(`with ${JSON.stringify(broken)} everything stays, and the log says why`, async (t) => {
    const { write, rates, log, reload } = await started(t)
    write(broken)

    reload()

    assert.deepEqual([rates.bandwidth.perSecond, rates.requests.perSecond], [1_048_576, 5])
    assert.deepEqual(
      log.lines.map(({ level }) => level),
      ['error'],
    )
  })
}
