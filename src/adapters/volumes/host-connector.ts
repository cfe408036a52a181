import os from 'node:os'

import type { JsonObject } from '../../domain/json.ts'

/**
 * What cinder-volume is told of the host that attaches a volume. No initiator of ours is named: only
 * volumes that are local are attached. Source: os_brick/initiator/connector.py, `get_connector_properties`.
 */
export function hostConnector(): JsonObject {
  return {
    platform: os.machine(),
    os_type: os.platform(),
    ip: firstAddress(),
    host: os.hostname(),
    multipath: false,
    initiator: null,
    do_local_attach: false,
    nvme_native_multipath: false,
  }
}

function firstAddress(): string {
  const addresses = Object.values(os.networkInterfaces()).flatMap((found) => found ?? [])
  const outer = addresses.find(({ family, internal }) => family === 'IPv4' && !internal)
  return outer?.address ?? '127.0.0.1'
}
