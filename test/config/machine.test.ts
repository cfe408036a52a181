import assert from 'node:assert/strict'
import { test } from 'node:test'

import { thisMachine } from '#src/config/machine.ts'
import { inspectConfig } from '#src/config.ts'
import { runPeer } from '../support/python.ts'

test('the address of the machine is the one that oslo would take', async () => {
  assert.equal(thisMachine({}).address, await runPeer('my_ip.py'))
})

test('$my_ip of others is the address of the machine, unless the files set it', () => {
  const machine = { ...thisMachine({}), address: '192.0.2.7' }
  const urlOf = (env: Readonly<Record<string, string>>) => {
    const url = { CBA_DEFAULT_BACKUP_SWIFT_URL: 'http://$my_ip:8080/v1/AUTH_' }
    const sources = {
      paths: [{ kind: 'file', path: '/dev/null' } as const],
      env: { ...url, ...env },
    }
    const { settings, problems } = inspectConfig(sources, machine)
    assert.deepEqual(problems, [])
    return settings.DEFAULT.backup_swift_url
  }

  assert.equal(urlOf({}), 'http://192.0.2.7:8080/v1/AUTH_')
  assert.equal(urlOf({ CBA_DEFAULT_MY_IP: '10.1.2.3' }), 'http://10.1.2.3:8080/v1/AUTH_')
})
