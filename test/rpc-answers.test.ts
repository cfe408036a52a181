import assert from 'node:assert/strict'
import { test } from 'node:test'

import { failureOf } from '#src/adapters/rpc/oslo-failure.ts'
import { AgentError } from '#src/domain/errors.ts'
import type { JsonObject } from '#src/domain/json.ts'
import { aContext } from './support/builders.ts'
import { call, handlerBench } from './support/handler-bench.ts'
import { stockCalls } from './support/stock-calls.ts'
import { wireSample } from './support/wire-samples.ts'

type Bench = ReturnType<typeof handlerBench>

async function answerOf({ handle }: Bench, method: string, args: JsonObject, version = '2.0') {
  const disposition = await handle(call(method, args, { version }))
  assert.ok(disposition.kind === 'answered', disposition.kind)
  return disposition.result
}

async function refusalOf({ handle }: Bench, method: string, args: JsonObject): Promise<AgentError> {
  try {
    await handle(call(method, args))
  } catch (error) {
    assert.ok(error instanceof AgentError)
    return error
  }
  throw new assert.AssertionError({ message: `${method} was not refused` })
}

const logLevel = (prefix: string, level: string | null): JsonObject => ({
  log_request: {
    'versioned_object.name': 'LogLevel',
    'versioned_object.namespace': 'cinder',
    'versioned_object.version': '1.0',
    'versioned_object.data': { prefix, level },
    'versioned_object.changes': ['level', 'prefix'],
  },
})

async function levelsOf(agent: Bench, prefix: string): Promise<Record<string, string>> {
  const result = await answerOf(agent, 'get_log_levels', logLevel(prefix, null), '2.1')
  const list = result as { 'versioned_object.data': { objects: readonly JsonObject[] } }
  return Object.fromEntries(
    list['versioned_object.data'].objects.map((one) => {
      const { prefix: name, level } = one['versioned_object.data'] as Record<string, string>
      return [name, level]
    }),
  )
}

test('check_support_to_force_delete says yes, or why no store can be opened for the caller', async () => {
  const yes = handlerBench()
  const missing = new AgentError('CREDENTIALS_MISSING', 'the request carries no token')
  const no = handlerBench({
    checkStore() {
      throw missing
    },
  })
  const request = call('check_support_to_force_delete', {})

  assert.deepEqual(await yes.handle(request), { kind: 'answered', result: true })
  await assert.rejects(no.handle(request), missing)
})

test('publish_service_capabilities is answered at once', async () => {
  let asked = 0
  const agent = handlerBench({
    publishCapabilities() {
      asked += 1
    },
  })

  assert.equal(await answerOf(agent, 'publish_service_capabilities', {}, '2.2'), null)
  assert.equal(asked, 1)
})

test('log levels are told and set by the beginning of their names', async () => {
  const agent = handlerBench()
  const jobs = agent.log.named('jobs')
  agent.log.named('rpc')

  await answerOf(agent, 'set_log_levels', logLevel('cinder_backup_agent.j', 'WARNING'), '2.1')
  jobs.info('not told')
  jobs.warn('told')

  assert.deepEqual(await levelsOf(agent, ''), {
    cinder_backup_agent: 'DEBUG',
    'cinder_backup_agent.jobs': 'WARNING',
    'cinder_backup_agent.rpc': 'DEBUG',
  })
  const told = agent.log.lines.map(({ message }) => message)
  assert.ok(told.includes('told') && !told.includes('not told'))
})

test('what an operator of Cinder sends is understood: cinder.backup means all of the agent', async () => {
  const agent = handlerBench()
  const [get, , set] = stockCalls('get-and-set-log-levels')

  await answerOf(agent, 'set_log_levels', set?.['args'] as JsonObject, '2.1')
  const asked = await answerOf(agent, 'get_log_levels', get?.['args'] as JsonObject, '2.1')

  assert.match(JSON.stringify(asked), /"prefix":"cinder_backup_agent","level":"INFO"/)
  assert.deepEqual(await levelsOf(agent, 'cinder.volume'), {})
})

test('a level that is none is refused as Cinder does, and nothing changes', async () => {
  const agent = handlerBench()
  const before = await levelsOf(agent, '')

  const failure = failureOf(await refusalOf(agent, 'set_log_levels', logLevel('', 'LOUD')))

  assert.equal(`${failure['module']}.${failure['class']}`, 'cinder.exception.InvalidInput')
  assert.deepEqual(failure['args'], ['Invalid input received: LOUD is not a valid log level.'])
  assert.deepEqual(failure['kwargs'], { reason: 'LOUD is not a valid log level.', code: 400 })
  assert.deepEqual(await levelsOf(agent, ''), before)
})

const admin = aContext({ isAdmin: true })

test('an export answers byte for byte as the real service did', async () => {
  const agent = handlerBench()
  const [request, answer] = stockCalls('12-export-record')

  const exported = await agent.handle(
    call('export_record', request?.['args'] as JsonObject, { context: admin }),
  )

  assert.deepEqual(exported, { kind: 'answered', result: answer?.['result'] })
  assert.deepEqual(agent.events(), [])
  assert.deepEqual(agent.journal.unfinished(), [])
})

test('an export says what the journal knows and the request leaves out', async () => {
  const agent = handlerBench()
  const { id, volume_id, ...made } = agent.known({ object_count: 5, display_name: 'nächtlich 🐘' })

  const result = await answerOf(agent, 'export_record', { backup: { id, volume_id } })

  const { backup_service, backup_url } = result as Record<string, string>
  const text = Buffer.from(backup_url ?? '', 'base64').toString()
  assert.equal(backup_service, made.service)
  assert.match(text, /"display_name": "n\\u00e4chtlich \\ud83d\\udc18"/)
  assert.deepEqual(JSON.parse(text), { driver_info: {}, id, volume_id, ...made })
})

test('a backup that is not available is not exported: the failure is that of the real service', async () => {
  const agent = handlerBench()
  const record = agent.known()
  const recorded = wireSample('rpc-reply-failure-InvalidBackup').failure_decoded

  const refusal = await refusalOf(agent, 'export_record', {
    backup: { ...record, status: 'error' },
  })

  const { error_code, tb, ...failure } = failureOf(refusal)
  const { tb: recordedTb, ...expected } = recorded as JsonObject
  assert.deepEqual(failure, expected)
  assert.equal((tb as string[]).at(-1), (recordedTb as string[]).at(-1))
  assert.equal(error_code, 'BACKUP_INVALID_STATE')
})

test("another driver's backup is not exported, in the words of the real service", async () => {
  const agent = handlerBench()
  const [request, answer] = stockCalls('export-record-fails')
  const { tb: _, ...expected } = JSON.parse(String(answer?.['failure'])) as JsonObject

  const asked = call('export_record', request?.['args'] as JsonObject, { context: admin })

  await assert.rejects(agent.handle(asked), (error: AgentError) => {
    const { error_code, tb: _tb, ...failure } = failureOf(error)
    assert.deepEqual(failure, expected)
    assert.equal(error_code, 'BACKUP_NOT_OURS')
    return true
  })
})

test("another project's backup is not exported, nor one that lies elsewhere than the journal says", async () => {
  const agent = handlerBench()
  const record = agent.known()
  const foreign = { ...record, project_id: 'another' }

  const refused = await refusalOf(agent, 'export_record', { backup: foreign })
  const moved = await refusalOf(agent, 'export_record', { backup: { ...record, container: 'x' } })

  assert.equal(refused.code, 'PROJECT_MISMATCH')
  assert.equal(moved.code, 'RECORD_MISMATCH')
})
