import { AgentError } from '../../domain/errors.ts'
import type { VolumeWriter } from '../../ports/volumes.ts'
import type { DevicePath } from './device-path.ts'

/** One writer for each device, whatever path led to it: files know no O_EXCL. */
export async function openOnce(
  written: Set<string>,
  device: DevicePath,
  open: (onClose: () => void) => Promise<VolumeWriter>,
): Promise<VolumeWriter> {
  const key = device.kind === 'block' ? `block ${device.rdev}` : `file ${device.dev} ${device.ino}`
  if (written.has(key)) {
    throw new AgentError(
      'VOLUME_IN_USE',
      `${device.path} is being restored onto already: wait for that restore to end, or cancel it`,
      { path: device.path },
    )
  }
  written.add(key)
  try {
    return await open(() => written.delete(key))
  } catch (error) {
    written.delete(key)
    throw error
  }
}
