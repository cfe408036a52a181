import {
  createStart,
  creating,
  deleteStart,
  deleting,
  good,
  letGoInError,
  restored,
  restoreStart,
  restoring,
  type StateCase,
} from './state-cases.ts'

const key = 'c5dd9a1f-0a2b-4a0b-9df4-1f4d4d7ac001'
const otherKey = 'c5dd9a1f-0a2b-4a0b-9df4-1f4d4d7ac002'

/** Nothing is written, and neither key changes hands. */
function refusedRestore(ofBackup: string | null, ofVolume: string | null): StateCase {
  return {
    ...{ operation: 'restore', backup: { ...restoring, encryption_key_id: ofBackup } },
    volume: { ...restored, encryption_key_id: ofVolume },
    ends: {
      backup: { ...good, encryption_key_id: ofBackup },
      volume: { status: 'error_restoring', encryption_key_id: ofVolume },
      messages: ['015/026'],
      ...{ events: [restoreStart, 'backup.restore.error'], isRefused: true },
    },
  }
}

/**
 * The rows of 10.5 and those of others that a key decides. Keys cannot be kept yet (decision D18): what
 * Cinder does with them is refused before anything is written or removed.
 */
export const keyCases: Readonly<Record<string, StateCase>> = {
  'M-07, E-05 an encrypted volume is refused before anything is stored': {
    ...{ operation: 'create', backup: creating, volume: { encryption_key_id: key } },
    ends: {
      backup: { status: 'error', encryption_key_id: null },
      volume: { ...letGoInError, encryption_key_id: key },
      messages: ['013/020'],
      ...{ events: [createStart, 'backup.create.error'], isRefused: true },
    },
  },
  'M-07 of a snapshot': {
    ...{ operation: 'create', backup: creating, snapshot: {} },
    volume: { status: 'in-use', encryption_key_id: key },
    ends: {
      backup: { status: 'error', encryption_key_id: null },
      volume: { status: 'in-use', previous_status: 'available' },
      snapshot: { status: 'available' },
      messages: ['013/020'],
      ...{ events: [createStart, 'backup.create.error'], isRefused: true },
    },
  },
  'M-07 a backup that an earlier service has given a key is refused too': {
    ...{ operation: 'create', backup: { ...creating, encryption_key_id: key } },
    volume: { encryption_key_id: otherKey },
    ends: {
      backup: { status: 'error', encryption_key_id: key },
      volume: letGoInError,
      messages: ['013/020'],
      ...{ events: [createStart, 'backup.create.error'], isRefused: true },
    },
  },
  'E-01 a restore onto a volume with the key of the backup is refused': refusedRestore(key, key),
  'E-02 a restore onto a volume with another key leaves that key': refusedRestore(key, otherKey),
  'E-03 a restore of a backup without a key onto a volume that has one adopts none': refusedRestore(
    null,
    key,
  ),
  'E-04 a restore of a backup with a key onto a volume without gives it none': refusedRestore(
    key,
    null,
  ),
  'M-46 a delete of a backup with a key removes neither': {
    ...{ operation: 'delete', backup: { ...deleting, encryption_key_id: key } },
    ends: {
      backup: { status: 'error_deleting', deleted: false, encryption_key_id: key },
      messages: ['014/025'],
      ...{ events: [deleteStart, 'backup.delete.error'], isRefused: true },
    },
  },
}
