import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { unitAttach } from '#src/adapters/attach/unit-attach.ts'
import { exportedAs, local, testBlockStorage } from '../../contracts/block-storage.ts'
import { attachHost, attachUnit, nobodyAttaches } from '../../support/attach-unit.ts'
import { loopDevice } from '../../support/loop-device.ts'
import { volumeService } from '../../support/volume-service.ts'

testBlockStorage('cinderVolumes, local', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cba-cinder-volumes-'))
  t.after(() => rmSync(folder, { recursive: true }))
  let files = 0
  return {
    ...(await volumeService(t, nobodyAttaches())),
    async exported(sizeBytes) {
      const file = path.join(folder, `volume-${files++}`)
      writeFileSync(file, '')
      truncateSync(file, sizeBytes)
      return local(file)
    },
  }
})

testBlockStorage('cinderVolumes, by the unit', async (t) => {
  const unit = await attachUnit(t)
  return {
    ...(await volumeService(t, unitAttach({ ...attachHost, socket: unit.socket }))),
    async exported(sizeBytes) {
      const device = await loopDevice(sizeBytes)
      t.after(() => device[Symbol.asyncDispose]())
      return exportedAs('gpfs', device.path)
    },
  }
})
