import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

import { checkout } from '../support/services.ts'

test('a reader that has seen enough is no failure', () => {
  const file = 'config/agent.conf.example'
  const script = `bin/cinder-backup-agent config show --config-file ${file} | true`

  const { status, stderr } = spawnSync('bash', ['-o', 'pipefail', '-c', script], {
    cwd: checkout,
    encoding: 'utf8',
  })

  assert.equal(stderr, '')
  assert.equal(status, 0)
})
