import process from 'node:process'

import { runCommandLine } from './cli/command-line.ts'

// Whoever reads our output may have seen enough of it, as `head` has: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

process.exitCode = await runCommandLine(process.argv.slice(2))
