// SHA-256 of two messages of one length, a multiple of 64 bytes, at once. With x86's SHA instructions the
// two are interleaved, for one alone leaves half of the unit idle; elsewhere one follows the other.
#pragma once
#include <openssl/sha.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__SHA__) && defined(__SSE4_1__)
#include <immintrin.h>

static const uint32_t sha256_constants[64] __attribute__((aligned(16))) = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/** One block of each: `abef` and `cdgh` are the states as the instructions hold them. */
static inline __attribute__((always_inline)) void
sha256_block_pair(__m128i abef[2], __m128i cdgh[2], const uint8_t *const blocks[2]) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bULL, 0x0405060700010203ULL);
  __m128i words[2][4], abef_before[2], cdgh_before[2];
  for (int m = 0; m < 2; m++) {
    abef_before[m] = abef[m], cdgh_before[m] = cdgh[m];
    for (int i = 0; i < 4; i++)
      words[m][i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(blocks[m] + 16 * i)), big_endian);
  }
#pragma GCC unroll 16
  for (int group = 0; group < 16; group++) {
    const __m128i constants = _mm_load_si128((const __m128i *)(sha256_constants + 4 * group));
#pragma GCC unroll 2
    for (int m = 0; m < 2; m++) {
      __m128i *w = words[m], round = _mm_add_epi32(w[group & 3], constants);
      cdgh[m] = _mm_sha256rnds2_epu32(cdgh[m], abef[m], round);
      abef[m] = _mm_sha256rnds2_epu32(abef[m], cdgh[m], _mm_shuffle_epi32(round, 0x0e));
      if (group >= 12) continue;
      __m128i next = _mm_sha256msg1_epu32(w[group & 3], w[(group + 1) & 3]);
      next = _mm_add_epi32(next, _mm_alignr_epi8(w[(group + 3) & 3], w[(group + 2) & 3], 4));
      w[group & 3] = _mm_sha256msg2_epu32(next, w[(group + 3) & 3]);
    }
  }
  for (int m = 0; m < 2; m++) {
    abef[m] = _mm_add_epi32(abef[m], abef_before[m]);
    cdgh[m] = _mm_add_epi32(cdgh[m], cdgh_before[m]);
  }
}

static void sha256_pair(const uint8_t *const data[2], size_t length, uint8_t digests[2][32]) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bULL, 0x0405060700010203ULL);
  const uint8_t *at[2] = {data[0], data[1]};
  __m128i abef[2], cdgh[2];
  uint8_t padding[64] = {0x80};
  uint64_t bits = __builtin_bswap64((uint64_t)length * 8);
  memcpy(padding + 56, &bits, 8);
  for (int m = 0; m < 2; m++) {
    abef[m] = _mm_set_epi32(0x6a09e667, 0xbb67ae85, 0x510e527f, 0x9b05688c);
    cdgh[m] = _mm_set_epi32(0x3c6ef372, 0xa54ff53a, 0x1f83d9ab, 0x5be0cd19);
  }
  for (size_t done = 0; done < length; done += 64, at[0] += 64, at[1] += 64)
    sha256_block_pair(abef, cdgh, at);
  sha256_block_pair(abef, cdgh, (const uint8_t *const[2]){padding, padding});
  for (int m = 0; m < 2; m++) {
    __m128i high = _mm_shuffle_epi32(_mm_unpackhi_epi64(cdgh[m], abef[m]), 0x1b);
    __m128i low = _mm_shuffle_epi32(_mm_unpacklo_epi64(cdgh[m], abef[m]), 0x1b);
    _mm_storeu_si128((__m128i *)digests[m], _mm_shuffle_epi8(high, big_endian));
    _mm_storeu_si128((__m128i *)(digests[m] + 16), _mm_shuffle_epi8(low, big_endian));
  }
}

#else

static void sha256_pair(const uint8_t *const data[2], size_t length, uint8_t digests[2][32]) {
  for (int m = 0; m < 2; m++) SHA256(data[m], length, digests[m]);
}

#endif
