import { recordingLog } from '#src/adapters/log/recording-log.ts'
import { testLog } from '../../contracts/log.ts'

testLog('recordingLog', () => {
  const log = recordingLog()
  return { log, lines: async () => log.lines }
})
