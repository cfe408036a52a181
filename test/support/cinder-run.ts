import { serviceScript } from './services.ts'

/**
 * The real Cinder of this checkout, for a test outside of test/cinder: started where it does not run, and
 * stopped after it only then. Takes half a minute. Its place of a backup service is free after `begin`.
 */
export function runCinder() {
  const script = serviceScript()
  const toStop: string[] = []
  return {
    async begin(): Promise<void> {
      for (const name of ['cinder', 'mariadb', 'postgresql']) {
        await script('status', name).catch(() => toStop.push(name))
      }
      await script('up', 'cinder')
      await script('down', 'cinder-backup')
    },
    async end(): Promise<void> {
      if (toStop.includes('cinder')) await script('down', ...toStop)
    },
  }
}
