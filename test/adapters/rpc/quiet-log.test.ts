import assert from 'node:assert/strict'
import { test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { quietWarnings } from '#src/adapters/rpc/quiet-log.ts'

test('no more than so many warnings a minute are told', () => {
  const log = recordingLog()
  const warn = quietWarnings(log, 2)

  const told = [1, 2, 3, 4].map((number) => warn('lost', { number }))

  assert.deepEqual(told, [true, true, false, false])
  assert.deepEqual(
    log.lines.map(({ fields }) => fields['number']),
    [1, 2],
  )
})
