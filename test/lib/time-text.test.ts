import assert from 'node:assert/strict'
import { test } from 'node:test'

import { wallClockMs } from '#src/lib/clock.ts'
import { osloTimestamp, prefixStamp, recordTime } from '#src/lib/time-text.ts'

for (const [name, text, shape, toIso] of [
  [
    'a notification',
    osloTimestamp,
    /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$/,
    (t: string) => `${t.replace(' ', 'T')}Z`,
  ],
  ['a record', recordTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, (t: string) => t],
  [
    'a prefix',
    prefixStamp,
    /^\d{14}$/,
    (t: string) => t.replace(/^(....)(..)(..)(..)(..)(..)$/, '$1-$2-$3T$4:$5:$6Z'),
  ],
] as const) {
  test(`the time of ${name} is now, in UTC`, () => {
    const before = wallClockMs()

    const written = text()

    assert.match(written, shape)
    const ms = Date.parse(toIso(written))
    assert.ok(ms > before - 1000 && ms <= wallClockMs(), written)
  })
}
