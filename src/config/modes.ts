import type { Finding } from './finding.ts'
import type { Settings } from './schema.ts'

/** Where records live and how volumes become devices, `auto` resolved (decision table of the options). */
export function modesOf({ cinder_backup_agent: agent, database }: Settings) {
  const { records: asked, volumes } = agent
  const found = database.connection === null ? 'message' : 'database'
  const records = asked === 'auto' ? found : asked
  const attach = records === 'database' ? 'cinder' : 'path'
  return { records, volumes: volumes === 'auto' ? attach : volumes } as const
}

export function modeFindings(settings: Settings): readonly Finding[] {
  const { records, volumes } = modesOf(settings)
  const findings: Finding[] = []
  if (records === 'database' && settings.database.connection === null) {
    findings.push({
      name: 'database.connection',
      what: "is needed with records = database; write it as in Cinder's own file, or records = message",
    })
  }
  if (volumes === 'cinder' && records === 'message') {
    findings.push({
      name: 'cinder_backup_agent.volumes',
      what: 'cinder needs records = database; set [database] connection, or write volumes = path',
    })
  }
  return findings
}
