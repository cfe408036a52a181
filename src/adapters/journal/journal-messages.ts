import type { JobOutcome } from '../../domain/job.ts'
import type { Notification, ReplyAddress } from '../../ports/rpc.ts'
import type { Statement } from './journal-schema.ts'

/** What is to be sent, and to whom: each a line, none of them a transaction of its own. */
export function messageStatements(statement: (sql: string) => Statement) {
  const addEvent = statement('INSERT INTO events (notification) VALUES (?)')
  const events = statement('SELECT * FROM events ORDER BY position LIMIT ?')
  const removeEvent = statement('DELETE FROM events WHERE position = ?')
  const keepFinal = statement('INSERT INTO final_events (job_id, notification) VALUES (?, ?)')
  const finals = statement(
    'SELECT notification FROM final_events WHERE job_id = ? ORDER BY position',
  )
  const addCaller = statement('INSERT INTO callers (job_id, reply_to) VALUES (?, ?)')
  const toReplies = statement(
    'INSERT INTO replies (reply_to, outcome) SELECT reply_to, ? FROM callers WHERE job_id = ? ORDER BY position',
  )
  const callers = statement('SELECT reply_to FROM callers WHERE job_id = ? ORDER BY position')
  const removeCallers = statement('DELETE FROM callers WHERE job_id = ?')
  const addReply = statement('INSERT INTO replies (reply_to, outcome) VALUES (?, ?)')
  const replies = statement('SELECT * FROM replies ORDER BY position')
  const removeReply = statement('DELETE FROM replies WHERE position = ?')

  return {
    addEvent: (event: Notification) => addEvent.run(JSON.stringify(event)),
    events: (countMax: number) =>
      events.all(countMax).map((row) => ({
        position: Number(row['position']),
        notification: JSON.parse(String(row['notification'])) as Notification,
      })),
    removeEvent: (position: number) => void removeEvent.run(position),
    keepFinalEvent: (jobId: string, event: Notification) =>
      keepFinal.run(jobId, JSON.stringify(event)),
    finalEvents: (jobId: string) =>
      finals.all(jobId).map((row) => JSON.parse(String(row['notification'])) as Notification),
    addCaller: (jobId: string, replyTo: ReplyAddress) =>
      addCaller.run(jobId, JSON.stringify(replyTo)),
    callers: (jobId: string) =>
      callers.all(jobId).map((row) => JSON.parse(String(row['reply_to'])) as ReplyAddress),
    answerCallers(jobId: string, outcome: JobOutcome) {
      toReplies.run(JSON.stringify(outcome), jobId)
      removeCallers.run(jobId)
    },
    addReply: (replyTo: ReplyAddress, outcome: JobOutcome) =>
      addReply.run(JSON.stringify(replyTo), JSON.stringify(outcome)),
    replies: () =>
      replies.all().map((row) => ({
        position: Number(row['position']),
        replyTo: JSON.parse(String(row['reply_to'])) as ReplyAddress,
        outcome: JSON.parse(String(row['outcome'])) as JobOutcome,
      })),
    removeReply: (position: number) => void removeReply.run(position),
  }
}
