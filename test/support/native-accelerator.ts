import process from 'node:process'

import { loadAccelerator } from '#src/adapters/accelerator/native-accelerator.ts'

/**
 * What this host's accelerator is, also where all the rest is run without it (`CBA_ACCELERATOR=off`): for
 * tests that compare both ways themselves.
 */
export function nativeAccelerator(): ReturnType<typeof loadAccelerator> {
  const { CBA_ACCELERATOR: wanted } = process.env
  delete process.env['CBA_ACCELERATOR']
  try {
    return loadAccelerator()
  } finally {
    if (wanted !== undefined) process.env['CBA_ACCELERATOR'] = wanted
  }
}
