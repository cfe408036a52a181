// How MD5 and SHA-256 end a message, which is the same but for the order of eight bytes.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { DIGEST_BLOCK_BYTES = 64 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "x86-64 and AArch64 as Linux runs them");

/**
 * Writes what follows the whole blocks of a message to `tail`: its last bytes, a one bit, zeros and
 * the length in bits. Returns how many blocks that are, 1 or 2.
 */
static inline size_t pad_message(const uint8_t *message, size_t length, bool is_big_endian,
                                 uint8_t tail[2 * DIGEST_BLOCK_BYTES]) {
  size_t rest = length % DIGEST_BLOCK_BYTES;
  size_t blocks = rest < DIGEST_BLOCK_BYTES - sizeof(uint64_t) ? 1 : 2;
  size_t tail_length = blocks * DIGEST_BLOCK_BYTES;
  uint64_t bits = (uint64_t)length * 8;
  if (is_big_endian) bits = __builtin_bswap64(bits);
  memset(tail, 0, tail_length);
  memcpy(tail, message + (length - rest), rest);
  tail[rest] = 0x80;
  memcpy(tail + tail_length - sizeof bits, &bits, sizeof bits);
  return blocks;
}
