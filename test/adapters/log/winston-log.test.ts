import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { text } from 'node:stream/consumers'
import { after, test } from 'node:test'

import { type LogOptions, winstonLog } from '#src/adapters/log/winston-log.ts'
import { AgentError } from '#src/domain/errors.ts'
import { type ToldLine, testLog } from '../../contracts/log.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'cba-log-'))
after(() => rmSync(folder, { recursive: true }))

function newFile(): string {
  return path.join(mkdtempSync(path.join(folder, 'log-')), 'agent.log')
}

const defaults = { format: 'oslo', level: 'debug', secrets: [] } as const

/** What `tell` wrote, line by line. */
async function written(
  options: Partial<LogOptions>,
  tell: (log: ReturnType<typeof winstonLog>) => void,
): Promise<readonly string[]> {
  const file = newFile()
  {
    await using log = winstonLog({ ...defaults, ...options, file })
    tell(log)
  }
  const content = readFileSync(file, 'utf8')
  assert.ok(content === '' || content.endsWith('\n'))
  return content.split('\n').slice(0, -1)
}

testLog('winstonLog', () => {
  const file = newFile()
  const log = winstonLog({ ...defaults, format: 'json', file })
  const lines = async (): Promise<readonly ToldLine[]> => {
    await log[Symbol.asyncDispose]()
    return readFileSync(file, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => {
        const { timestamp, level, name, process: pid, message, ...fields } = JSON.parse(line)
        assert.match(name, /^cinder_backup_agent(\.\w+)*$/)
        assert.equal(pid, process.pid)
        assert.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
        const ownLevel = level === 'WARNING' ? 'warn' : level.toLowerCase()
        return { level: ownLevel, message, fields }
      })
  }
  return { log, lines }
})

test('the level can be changed while the log is written, for its children too', async () => {
  const lines = await written({ level: 'info' }, (log) => {
    const child = log.child({ jobId: 'j' })
    child.debug('first')
    log.setLevel(() => true, 'debug')
    child.debug('second')
    log.setLevel(() => true, 'info')
    log.debug('third')
    child.info('fourth')
  })

  assert.deepEqual(
    lines.map((line) => /first|second|third|fourth/.exec(line)?.[0]),
    ['second', 'fourth'],
  )
})

const ids = { requestId: 'req-1', userId: 'u1', projectId: 'p1', backupId: 'b1' }

test('the oslo format is that of the other services, with ids in brackets', async () => {
  const lines = await written({ format: 'oslo' }, (log) => {
    log.child(ids).warn('slow upload', { rate: 1.5, why: 'two words', list: ['a'] })
    log.info('serving')
  })

  const head = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \d+ /
  assert.deepEqual(
    lines.map((line) => line.replace(head, '')),
    [
      'WARNING cinder_backup_agent [req-1 u1 p1] slow upload backup_id=b1 rate=1.5 why="two words" list=["a"]',
      'INFO cinder_backup_agent [-] serving',
    ],
  )
})

test('the journald format begins with a priority and leaves time and process to journald', async () => {
  const lines = await written({ format: 'journald' }, (log) => {
    log.debug('a')
    log.info('b')
    log.warn('c')
    log.error('d')
  })

  assert.deepEqual(lines, [
    '<7>DEBUG cinder_backup_agent [-] a',
    '<6>INFO cinder_backup_agent [-] b',
    '<4>WARNING cinder_backup_agent [-] c',
    '<3>ERROR cinder_backup_agent [-] d',
  ])
})

test('an error is several words in a text format', async () => {
  const [line] = await written({ format: 'journald' }, (log) => {
    log.error('failed', { error: new AgentError('STORE_FULL', 'no room', { status: 507 }) })
  })

  assert.equal(
    line,
    '<3>ERROR cinder_backup_agent [-] failed error=STORE_FULL error_message="no room" error_context={"status":507}',
  )
})

test('a line names the part of the agent that tells it', async () => {
  const [line = ''] = await written({ format: 'json' }, (log) => log.named('jobs').info('a'))

  assert.equal(JSON.parse(line).name, 'cinder_backup_agent.jobs')
})

test('levels below the wanted one are not written', async () => {
  const lines = await written({ level: 'warn' }, (log) => {
    log.info('a')
    log.warn('b')
  })

  assert.equal(lines.length, 1)
})

for (const format of ['oslo', 'json', 'journald'] as const) {
  test(`one record is one line of printable characters in ${format}`, async () => {
    const every = Array.from({ length: 0x10ff + 1 }, (_, code) => String.fromCharCode(code)).join(
      '',
    )
    const bad = `\r\n\u001b[2J\u2028\u2029\u202e\u0085\u009b31m\ud800<3>ERROR fake`
    const records = 20

    const lines = await written({ format }, (log) => {
      for (let number = 0; number < records; number += 1) {
        const fields = {
          [bad]: bad,
          nested: { [bad]: [bad] },
          requestId: bad,
          error: new Error(bad),
        }
        log.child({ userId: bad }).info(number === 0 ? every.slice(0, 2000) : bad, fields)
      }
    })

    assert.equal(lines.length, records)
    for (const line of lines) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
      assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f\u2028-\u202e]|\p{Surrogate}/u)
    }
  })
}

test('a line has an end, however much is told, and keeps its ids', async () => {
  const many = Object.fromEntries(
    Array.from({ length: 50 }, (_, index) => [`field${index}`, 'x'.repeat(2000)]),
  )

  const [line = ''] = await written({ format: 'journald' }, (log) =>
    log.info('big', { ...ids, ...many }),
  )

  assert.ok(line.length < 16_500, `${line.length}`)
  assert.match(line, /\[req-1 u1 p1\] big backup_id=b1 cut="the line was too long"/)
})

/** A process of its own that runs `source` with `log` in it. */
function logging(source: string, options: Partial<LogOptions> = {}) {
  const module = new URL('../../../src/adapters/log/winston-log.ts', import.meta.url)
  const given = JSON.stringify({ ...defaults, format: 'journald', file: null, ...options })
  const whole = `
    const { winstonLog } = await import(${JSON.stringify(module.href)})
    const log = winstonLog(${given})
    ${source}`
  return spawn(process.execPath, ['--input-type=module', '--eval', whole])
}

async function stderrOf(source: string, options: Partial<LogOptions> = {}): Promise<string> {
  const child = logging(source, options)
  const [said] = await Promise.all([text(child.stderr), once(child, 'close')])
  return said
}

test('lines told right before the process exits are written', async () => {
  const said = await stderrOf(`
    for (let number = 0; number < 1000; number += 1) log.info('line ' + number)
    process.exit(1)`)

  assert.equal(said.split('\n').length, 1001)
  assert.match(said, /line 999\n$/)
})

test('without a word to dispose it, everything is written before the process ends', async () => {
  const said = await stderrOf(`log.info('only')`)

  assert.match(said, /only\n$/)
})

test('a log file that cannot be written is replaced by standard error, and that is said', async () => {
  const said = await stderrOf(`log.info('line')`, { file: '/proc/no/such.log' })

  assert.match(
    said,
    /^cannot write the log file \/proc\/no\/such.log; logging to standard error\n<6>.*line\n$/,
  )
})

test('standard error that is closed does not end the agent', async () => {
  const child = logging(`
    const { closeSync } = await import('node:fs')
    closeSync(2)
    for (let number = 0; number < 100; number += 1) log.info('nobody reads this')
    await log[Symbol.asyncDispose]()
    process.stdout.write('still here')`)

  const [said, [code]] = await Promise.all([text(child.stdout), once(child, 'close')])

  assert.equal(said, 'still here')
  assert.equal(code, 0)
})

test('a reader that stops reading does not stop the agent', async () => {
  const child = logging(`
    for (let number = 0; number < 1000; number += 1) log.info('x'.repeat(2000))
    process.stdout.write('still here')`)

  const [heard] = await once(child.stdout, 'data') // Nobody has read a byte of standard error.
  const [said] = await Promise.all([text(child.stderr), once(child, 'close')])

  assert.equal(String(heard), 'still here')
  assert.equal(said.split('\n').length, 1001)
})
