import {
  createEnd,
  createStart,
  creating,
  good,
  letGoInError,
  restored,
  restoreStart,
  restoring,
  type StateCase,
} from './state-cases.ts'
import { swiftDriver } from './state-rows.ts'

/** More of 10.2 and 10.4: what is accepted, and who does not answer. */
export const deviceCases: Readonly<Record<string, StateCase>> = {
  'M-06 a create that is accepted says whose it is': {
    ...{ operation: 'create', backup: { ...creating, availability_zone: 'az9' } },
    ends: {
      backup: { ...good, service: swiftDriver, availability_zone: 'az9' },
      events: [createStart, createEnd],
    },
  },
  'M-08 nobody takes messages for the volume': {
    ...{ operation: 'create', backup: creating, fails: 'CALL_UNROUTABLE' },
    volume: { previous_status: 'in-use' },
    ends: {
      backup: { status: 'error', fail_reason: 'CALL_UNROUTABLE: as the case wants' },
      volume: { status: 'in-use', previous_status: 'error_backing-up' },
      messages: ['013/020'],
      events: [createStart, 'backup.create.error'],
    },
  },
  'M-08 of a snapshot': {
    ...{ operation: 'create', backup: creating, fails: 'CALL_UNROUTABLE' },
    ...{ volume: { status: 'in-use' }, snapshot: {} },
    ends: {
      backup: { status: 'error' },
      volume: { status: 'in-use', previous_status: 'available' },
      snapshot: { status: 'available' },
      messages: ['013/020'],
      events: [createStart, 'backup.create.error'],
    },
  },
  'M-09 of a snapshot whose device never comes': {
    ...{ operation: 'create', backup: creating, fails: 'DEVICE_TIMED_OUT' },
    ...{ volume: { status: 'in-use' }, snapshot: {} },
    ends: {
      backup: { status: 'error' },
      volume: { status: 'in-use', previous_status: 'available' },
      snapshot: { status: 'available' },
      messages: ['013/019'],
      events: [createStart, 'backup.create.error'],
    },
  },
  'M-09, K-02 a create for which no store can be opened fails, instead of staying creating': {
    ...{ operation: 'create', backup: creating, fails: 'ENDPOINT_NOT_FOUND' },
    ends: {
      backup: { status: 'error', fail_reason: 'ENDPOINT_NOT_FOUND: as the case wants' },
      volume: letGoInError,
      messages: ['013/020'],
      events: [createStart, 'backup.create.error'],
    },
  },
  'M-10 the attach of a snapshot fails': {
    ...{ operation: 'create', backup: creating, fails: 'ATTACH_FAILED' },
    ...{ volume: { status: 'in-use' }, snapshot: {} },
    ends: {
      backup: { status: 'error' },
      snapshot: { status: 'available' },
      messages: ['013/021'],
      events: [createStart, 'backup.create.error'],
    },
  },
  'M-17 of a snapshot': {
    ...{ operation: 'create', backup: creating, becomes: 'deleting' },
    ...{ volume: { status: 'in-use' }, snapshot: {} },
    ends: {
      backup: { status: 'deleting', size: 1 },
      volume: { status: 'in-use', previous_status: 'available' },
      snapshot: { status: 'available' },
      events: [createStart, createEnd],
    },
  },
  'M-22 a restore of a backup in another status onto a volume in the making': {
    operation: 'restore',
    ...{ backup: { status: 'error', service: swiftDriver }, volume: { status: 'creating' } },
    ends: {
      backup: { status: 'error' },
      volume: { status: 'error' },
      messages: ['015/017'],
      ...{ events: [restoreStart, 'backup.restore.error'], isRefused: true },
    },
  },
  'M-26 the attach of a volume that was made for it fails': {
    ...{ operation: 'restore', backup: restoring, volume: { status: 'creating' } },
    fails: 'ATTACH_FAILED',
    ends: {
      backup: good,
      volume: { status: 'error' },
      messages: ['015/021'],
      events: [restoreStart, 'backup.restore.error'],
    },
  },
  'M-29 of a volume that was made for it': {
    ...{ operation: 'restore', backup: restoring, volume: { ...restored, status: 'creating' } },
    becomes: 'error',
    ends: {
      backup: { status: 'error' },
      volume: { status: 'error' },
      events: [restoreStart, 'backup.restore.error'],
    },
  },
}
