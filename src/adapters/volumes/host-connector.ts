import os from 'node:os'

import type { JsonObject } from '../../domain/json.ts'

/**
 * What cinder-volume is told of the host that attaches a volume, `ip` being its `my_ip`. No initiator of ours is named, for
 * nobody here attaches any but local volumes. Source: os_brick/initiator/connector.py, `get_connector_properties`.
 */
export function hostConnector(ip: string): JsonObject {
  return {
    platform: os.machine(),
    os_type: os.platform(),
    ip,
    host: os.hostname(),
    multipath: false,
    initiator: null,
    do_local_attach: false,
    nvme_native_multipath: false,
  }
}
