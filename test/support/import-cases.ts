import { creating, type StateCase } from './state-cases.ts'

const refusedEvents = ['backup.import.start', 'backup.import.error']

/** An import that the handler has refused already: the row waits for its reason. */
function refusedImport(message: string): StateCase {
  return {
    ...{ operation: 'import', backup: creating },
    request: { refused: { code: 'RECORD_INVALID', message } },
    ends: {
      backup: { status: 'error', fail_reason: `RECORD_INVALID: ${message}` },
      ...{ events: refusedEvents, isRefused: true },
    },
  }
}

/** The rows of 10.9, and those of 10.6 and 10.10 that stand on their own. */
export const importCases: Readonly<Record<string, StateCase>> = {
  'M-53 a record that lacks what is needed': refusedImport('the record has no container'),
  'M-54 a record of another backup': refusedImport('the record is of another backup'),
  'M-55 an import gives the row what the record says, but not whose it is': {
    ...{ operation: 'import', backup: { ...creating, temp_volume_id: 'foreign' } },
    ends: {
      backup: { status: 'available', fail_reason: null, temp_volume_id: null },
      events: ['backup.import.start', 'backup.import.end'],
    },
  },
  'M-55 an import whose row is deleted meanwhile does not bring it back': {
    ...{ operation: 'import', backup: creating, becomes: 'deleting' },
    ends: {
      backup: { status: 'deleting' },
      events: ['backup.import.start', 'backup.import.end'],
    },
  },
  'M-62 a reset to error': {
    ...{ operation: 'reset_status', backup: { status: 'available' } },
    request: { newStatus: 'error' },
    ends: { backup: { status: 'error' }, events: ['backup.reset_status.end'] },
  },
}
