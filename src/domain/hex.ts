const digits = new Uint8Array(Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0)))
const notHex = 0xff
const values = new Uint8Array(256).fill(notHex)
for (const [value, digit] of digits.entries()) {
  values[digit] = value
  if (value > 9) values[digit - 0x20] = value // Upper case.
}

/** Writes the bytes from `start` to `end` as lower-case hex at `at`; returns where that ends. */
export function writeHex(
  bytes: Uint8Array,
  start: number,
  end: number,
  into: Uint8Array,
  at: number,
): number {
  let to = at
  for (let index = start; index < end; index++) {
    const byte = bytes[index] as number
    into[to++] = digits[byte >> 4] as number
    into[to++] = digits[byte & 15] as number
  }
  return to
}

/** Fills `into` from the hex at `at`; false where a character is none of hex. */
export function readHex(text: Uint8Array, at: number, into: Uint8Array): boolean {
  let bad = 0
  for (let index = 0, from = at; index < into.byteLength; index++) {
    const high = values[text[from++] as number] as number
    const low = values[text[from++] as number] as number
    bad |= high | low
    into[index] = (high << 4) | low
  }
  return (bad & 0xf0) === 0
}
