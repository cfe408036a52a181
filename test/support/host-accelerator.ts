import { execFileSync } from 'node:child_process'
import process from 'node:process'

import type { Accelerator } from '#src/ports/accelerator.ts'
import type { DataRun } from '#src/ports/volumes.ts'

/** The part of an accelerator that volumes use, by the programs of the host: slow, and true. */
export function hostAccelerator(): Accelerator {
  const holes: Pick<Accelerator, 'dataRun' | 'punchHole'> = {
    dataRun(fd, offset) {
      const answer = execFileSync('python3', ['-c', findRun, file(fd), String(offset)])
      return JSON.parse(String(answer)).run as DataRun | null | undefined
    },
    punchHole(fd, offset, length) {
      const place = ['--offset', String(offset), '--length', String(length)]
      try {
        execFileSync('fallocate', ['--punch-hole', ...place, file(fd)], { stdio: 'ignore' })
        return true
      } catch {
        return false
      }
    },
  }
  return holes as Accelerator // Volumes ask for nothing else.
}

const file = (fd: number) => `/proc/${process.pid}/fd/${fd}`

const findRun = `
import errno, json, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
try:
    start = os.lseek(fd, int(sys.argv[2]), os.SEEK_DATA)
    print(json.dumps({'run': {'start': start, 'end': os.lseek(fd, start, os.SEEK_HOLE)}}))
except OSError as error:
    print(json.dumps({'run': None} if error.errno == errno.ENXIO else {}))
`
