import assert from 'node:assert/strict'
import { test } from 'node:test'

import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { loadConfig } from '#src/config.ts'
import { storeRates } from '#src/lane-stores.ts'
import { openStores } from '#src/open-stores.ts'

import { requestContext } from './contracts/identity.ts'
import { keystoneToken } from './support/keystone.ts'
import { services } from './support/services.ts'

test("every token that Swift is shown is a secret, our own beside the user's too", async () => {
  const { keystone, swift } = services()
  const { config } = loadConfig({
    paths: [{ kind: 'file', path: '/dev/null' }],
    env: {
      CBA_DEFAULT_BACKUP_SWIFT_URL: `${swift.url}/v1/AUTH_`,
      CBA_DEFAULT_BACKUP_SWIFT_SERVICE_AUTH: 'true',
      CBA_SERVICE_USER_SEND_SERVICE_USER_TOKEN: 'true',
      CBA_SERVICE_USER_AUTH_URL: keystone.url,
      CBA_SERVICE_USER_USERNAME: 'cinder',
      CBA_SERVICE_USER_PASSWORD: keystone.passwordOf('cinder'),
      CBA_SERVICE_USER_PROJECT_NAME: 'service',
    },
  })
  const secrets: string[] = []
  const hide = (secret: string) => void secrets.push(secret)
  await using stores = openStores(config, storeRates(config), recordingLog(), hide)
  const { token: authToken, projectId } = await keystoneToken('demo')

  const source = stores.accessFor(requestContext({ authToken, projectId }), projectId)
  const access = await source?.access(AbortSignal.timeout(60_000))

  assert.ok(access?.serviceToken !== undefined)
  assert.deepEqual(secrets, [authToken, access.serviceToken])
})
