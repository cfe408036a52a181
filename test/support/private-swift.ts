import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import path from 'node:path'

import { checkout, type Services, serviceScript, servicesAt } from './services.ts'

export type PrivateSwift = Services & {
  stopKeystone(): Promise<void>
  /** At the same address. */
  startKeystone(): Promise<void>
}

/** A Swift with a Keystone of its own, which may be stopped. Takes some ten seconds. */
export async function privateSwift(owner: {
  after(end: () => unknown): void
}): Promise<PrivateSwift> {
  // Under the shared data folder, where `scripts/services down` finds what a killed test left.
  const home = process.env['CBA_SERVICES_DIR'] ?? path.join(checkout, '.services')
  const parent = path.join(home, 'private')
  await mkdir(parent, { recursive: true })
  const folder = await mkdtemp(path.join(parent, 'swift-'))
  const script = serviceScript({ CBA_SERVICES_DIR: folder })
  owner.after(async () => {
    await script('wipe')
    await rm(folder, { recursive: true, force: true })
  })
  await script('up', 'swift-proxy')
  return {
    ...(await servicesAt(script)),
    async stopKeystone() {
      await script('down', 'keystone')
    },
    async startKeystone() {
      await script('up', 'swift-proxy')
    },
  }
}
