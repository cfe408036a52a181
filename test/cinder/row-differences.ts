/** Columns of a table that a step leaves otherwise. */
type RowDifferences = {
  /** Two digits. */
  readonly step: string
  readonly table: string
  /** `*` is the row: only one of the two has it. */
  readonly columns: readonly string[]
  readonly reason: string
}

const zoned =
  'newer releases than the recorded one fill an empty zone with that of the service, and so do we'
const named = 'every reason begins with the code under which docs/operations.md explains it'
const unproven =
  'an import is believed only where its metadata object is found, and an administrator of another project sees another account: the row says so'
const foreign =
  'by an administrator of another project Cinder finds no object, says deleted and leaves them all; we refuse, and the row, its parent and the quota stay'
const resumed =
  'a backup that was cut short by a kill goes on where it was and ends well, its volume as after any other; Cinder makes an error of it'
const beaten = 'the first heartbeat comes with the start, not ten seconds later'

/** Where our agent leaves other rows than Cinder's own service, and why; docs/compatibility.md has the same. */
export const rowDifferences: readonly RowDifferences[] = [
  ...['03', '04', '06', '07'].map((step) => ({
    ...{ step, table: 'backups', columns: ['availability_zone'], reason: zoned },
  })),
  { step: '14', table: 'backups', columns: ['availability_zone'], reason: zoned },
  { step: '14', table: 'backups', columns: ['fail_reason'], reason: named },
  {
    step: '15',
    table: 'backups',
    columns: [
      ...['volume_id', 'availability_zone', 'display_name', 'container', 'status'],
      ...['fail_reason', 'service_metadata', 'service', 'size', 'object_count'],
      ...['num_dependent_backups', 'snapshot_id', 'data_timestamp'],
    ],
    reason: unproven,
  },
  {
    step: '21',
    table: 'backups',
    columns: ['*', 'status', 'fail_reason', 'deleted', 'deleted_at'],
    reason: foreign,
  },
  { step: '21', table: 'quota_usages', columns: ['*'], reason: foreign },
  { step: '21', table: 'reservations', columns: ['*'], reason: foreign },
  {
    step: '21',
    table: 'messages',
    columns: ['*'],
    reason: 'the tenant is told that the deletion failed',
  },
  { step: '23', table: 'backups', columns: ['availability_zone'], reason: zoned },
  {
    ...{ step: '23', table: 'backups', columns: ['fail_reason'] },
    reason: `${named}; then come what was asked, the answer and the number of tries`,
  },
  {
    ...{ step: '23', table: 'backups', columns: ['container'] },
    reason:
      'container and prefix are noted together, right before the first object: Swift is asked for its limits before that, and did not answer',
  },
  { step: '26', table: 'backups', columns: ['availability_zone'], reason: zoned },
  {
    ...{ step: '27', table: 'backups', columns: ['status', 'fail_reason', 'object_count'] },
    reason: resumed,
  },
  { step: '27', table: 'volumes', columns: ['previous_status'], reason: resumed },
  ...['27', '28'].map((step) => ({
    ...{ step, table: 'services', columns: ['report_count'], reason: beaten },
  })),
]
