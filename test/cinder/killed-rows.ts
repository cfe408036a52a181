import assert from 'node:assert/strict'

import { cinderSql } from '../support/cinder-rows.ts'
import type { CinderUser } from '../support/real-cinder.ts'

/** Looks at every row of Cinder's database that a backup service touches, while nothing is in hand. */
export type RowChecks = {
  /** `kept`: the backups that there must be, each of 1 GiB. Fails with what is not as it must be. */
  check(kept: readonly string[]): Promise<void>
}

/** Of what a project has made from now on; its quota and the row of the service are as they are now. */
export async function rowChecks({ token }: CinderUser): Promise<RowChecks> {
  const begun = new Date(Date.now() - 1000).toISOString().slice(0, 19).replace('T', ' ')
  const { projectId } = token
  const faults = faultsSince(begun, projectId).join('; ')
  const before = usagesOf(await cinderSql(usages(projectId)))
  const service = await cinderSql(services)
  return {
    async check(kept) {
      assert.equal(await cinderSql(faults), '')
      const [count, gigabytes] = usagesOf(await cinderSql(usages(projectId)))
      assert.deepEqual(
        [count, gigabytes],
        before.map(({ inUse }) => ({ inUse: inUse + kept.length, reserved: 0 })),
      )
      const found = await cinderSql(`SELECT id FROM backups WHERE ${ofProject(begun, projectId)}`)
      assert.deepEqual(linesOf(found).toSorted(), kept.toSorted())
      assert.equal(await cinderSql(services), service)
    },
  }
}

const ofProject = (begun: string, projectId: string) =>
  `NOT deleted AND project_id = '${projectId}' AND created_at >= '${begun}'`

/** Statements that tell of what is wrong, a line each; all of them tell nothing where all is well. */
function faultsSince(begun: string, projectId: string): readonly string[] {
  const ours = ofProject(begun, projectId)
  return [
    `SELECT CONCAT_WS(' ', 'volume', id, status, display_name) FROM volumes WHERE ${ours}
      AND (status NOT IN ('available', 'in-use') OR display_name LIKE 'backup-vol-%')`,
    `SELECT CONCAT_WS(' ', 'snapshot', id, status, display_name) FROM snapshots WHERE ${ours}
      AND (status <> 'available' OR display_name LIKE 'backup-snap-%')`,
    `SELECT CONCAT_WS(' ', 'backup', id, status, fail_reason, temp_volume_id, temp_snapshot_id)
      FROM backups WHERE ${ours} AND (status <> 'available' OR fail_reason IS NOT NULL
      OR temp_volume_id IS NOT NULL OR temp_snapshot_id IS NOT NULL)`,
    `SELECT CONCAT_WS(' ', 'backup', id, 'counts', num_dependent_backups) FROM backups b
      WHERE ${ours} AND COALESCE(num_dependent_backups, 0) <>
      (SELECT count(*) FROM backups c WHERE c.parent_id = b.id AND NOT c.deleted)`,
    `SELECT CONCAT_WS(' ', 'reservation', resource, delta) FROM reservations
      WHERE ${ours} AND resource LIKE 'backup%'`,
    `SELECT CONCAT_WS(' ', 'message', action_id, detail_id, resource_uuid) FROM messages
      WHERE ${ours}`,
    `SELECT CONCAT_WS(' ', 'attachment', volume_id, attached_host) FROM volume_attachment
      WHERE NOT deleted AND created_at >= '${begun}' AND instance_uuid IS NULL`,
  ]
}

const services = `SELECT CONCAT_WS(' ', host, uuid, availability_zone, disabled, rpc_current_version,
  object_current_version) FROM services WHERE topic = 'cinder-backup' AND NOT deleted ORDER BY id`

const usages = (projectId: string) =>
  ['backups', 'backup_gigabytes']
    .map(
      (resource) => `SELECT CONCAT_WS(' ', COALESCE(SUM(in_use), 0), COALESCE(SUM(reserved), 0))
        FROM quota_usages WHERE NOT deleted AND project_id = '${projectId}'
        AND resource = '${resource}'`,
    )
    .join('; ')

function usagesOf(found: string) {
  return linesOf(found).map((line) => {
    const [inUse, reserved] = line.split(' ').map(Number)
    return { inUse: inUse ?? 0, reserved: reserved ?? 0 }
  })
}

const linesOf = (found: string) => found.split('\n').filter((line) => line !== '')
