/** The stores there are, by Cinder's class path, which `backups.service` of a record holds. */
const classPaths = {
  swift: 'cinder.backup.drivers.swift.SwiftBackupDriver',
  posix: 'cinder.backup.drivers.posix.PosixBackupDriver',
} as const

export type DriverKind = keyof typeof classPaths

export type BackupDriver = { readonly kind: DriverKind; readonly classPath: string }

/** The store that `backup_driver` names, by its class path or its module path; null: not ours. */
export function backupDriver(name: string): BackupDriver | null {
  for (const kind of ['swift', 'posix'] as const) {
    const classPath = classPaths[kind]
    const modulePath = classPath.slice(0, classPath.lastIndexOf('.'))
    if (name === classPath || name === modulePath) return { kind, classPath }
  }
  return null
}

export const driverChoices = `${classPaths.swift} or ${classPaths.posix}`
