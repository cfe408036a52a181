import assert from 'node:assert/strict'
import { test } from 'node:test'

import { wallClockMs } from '#src/lib/clock.ts'
import {
  osloTimestamp,
  prefixStamp,
  recordTime,
  recordTimeIn,
  utcTime,
} from '#src/lib/time-text.ts'

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

test('a time in some seconds is that much later', () => {
  const [now, later] = [recordTime(), recordTimeIn(3600)].map((text) => Date.parse(text))

  assert.ok(Math.abs(Number(later) - Number(now) - 3_600_000) <= 1000)
})

test('any time is told in UTC and whole seconds, and what is none is null', () => {
  for (const [text, utc] of [
    ['2026-11-23T01:20:54.5+01:00', '2026-11-23T00:20:54Z'],
    ['2026-11-23 00:20:54.573429', '2026-11-23T00:20:54Z'],
    ['2026-11-23T00:20:54Z', '2026-11-23T00:20:54Z'],
    ['2026-11-23T00:20:54', '2026-11-23T00:20:54Z'],
    ['yesterday', null],
    ['', null],
  ] as const) {
    assert.equal(utcTime(text), utc, text)
  }
})
