// A lane whose thread ends in the middle of a task, as often as the shared counter in its data says.

import process from 'node:process'
import { parentPort, workerData } from 'node:worker_threads'

import '#src/lane.ts'

const deaths = new Int32Array(workerData.deaths as SharedArrayBuffer)

parentPort?.on('message', ({ kind }: { kind: string }) => {
  if (kind === 'answer' && Atomics.sub(deaths, 0, 1) > 0) process.exit(1)
})
