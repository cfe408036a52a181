#include "md5.h"

#include <string.h>

#include "padding.h"

enum { LANES_MAX = 2, STATE_WORDS = 4, BLOCK_WORDS = 16 };

// RFC 1321, 3.4: the step i adds the integer part of 2^32 * |sin(i + 1)| …
static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

// … and rotates by this, the same four in turn within each of the four rounds.
static const int rotations[4][4] = {
    {7, 12, 17, 22},
    {5, 9, 14, 20},
    {4, 11, 16, 23},
    {6, 10, 15, 21},
};

/** A word of the block and the round's function of it; `step` is a constant where this is inlined. */
__attribute__((always_inline)) static inline uint32_t mix(int step, const uint32_t *words,
                                                          uint32_t b, uint32_t c, uint32_t d) {
  switch (step / 16) {
    case 0: return (d ^ (b & (c ^ d))) + words[step];
    case 1: return (d & b) + (~d & c) + words[(5 * step + 1) % 16];
    case 2: return (b ^ c ^ d) + words[(3 * step + 5) % 16];
    default: return (c ^ (b | ~d)) + words[7 * step % 16];
  }
}

/** RFC 1321, 3.4 for each lane's blocks; `lanes` is a constant where this is inlined. */
__attribute__((always_inline)) static inline void digest_blocks(
    int lanes, uint32_t states[][STATE_WORDS], const uint8_t *const *messages, size_t blocks) {
  for (size_t block = 0; block < blocks; block++) {
    uint32_t words[LANES_MAX][BLOCK_WORDS];
    uint32_t s[LANES_MAX][STATE_WORDS];
    for (int lane = 0; lane < lanes; lane++) {
      memcpy(words[lane], messages[lane] + block * DIGEST_BLOCK_BYTES, DIGEST_BLOCK_BYTES);
      memcpy(s[lane], states[lane], sizeof s[lane]);
    }
#pragma GCC unroll 64
    for (int step = 0; step < 64; step++) {
      int rotation = rotations[step / 16][step % 4];
      // Instead of moving a to d, b to c …, their places in `s` move by one with each step.
      int a = -step & 3, b = (a + 1) & 3, c = (a + 2) & 3, d = (a + 3) & 3;
#pragma GCC unroll 2
      for (int lane = 0; lane < lanes; lane++) {
        uint32_t *v = s[lane];
        uint32_t sum = v[a] + sines[step] + mix(step, words[lane], v[b], v[c], v[d]);
        v[a] = v[b] + (sum << rotation | sum >> (32 - rotation));
      }
    }
    for (int lane = 0; lane < lanes; lane++) {
      for (int i = 0; i < STATE_WORDS; i++) states[lane][i] += s[lane][i];
    }
  }
}

static void digest_one(uint32_t state[STATE_WORDS], const uint8_t *message, size_t blocks) {
  uint32_t states[1][STATE_WORDS];
  memcpy(states[0], state, sizeof states[0]);
  digest_blocks(1, states, &message, blocks);
  memcpy(state, states[0], sizeof states[0]);
}

static void digest_rest(uint32_t state[STATE_WORDS], struct bytes message, size_t blocks_done,
                        uint8_t digest[MD5_BYTES]) {
  uint8_t tail[2 * DIGEST_BLOCK_BYTES];
  const uint8_t *rest = message.data + blocks_done * DIGEST_BLOCK_BYTES;
  digest_one(state, rest, message.length / DIGEST_BLOCK_BYTES - blocks_done);
  digest_one(state, tail, pad_message(message.data, message.length, false, tail));
  memcpy(digest, state, MD5_BYTES);
}

void md5_pair(struct bytes one, struct bytes other, uint8_t digest_of_one[MD5_BYTES],
              uint8_t digest_of_other[MD5_BYTES]) {
  uint32_t states[LANES_MAX][STATE_WORDS] = {
      {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476},
      {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476},
  };
  const uint8_t *const messages[] = {one.data, other.data};
  size_t shorter = one.length < other.length ? one.length : other.length;
  size_t blocks_of_both = shorter / DIGEST_BLOCK_BYTES;
  digest_blocks(2, states, messages, blocks_of_both);
  digest_rest(states[0], one, blocks_of_both, digest_of_one);
  digest_rest(states[1], other, blocks_of_both, digest_of_other);
}
