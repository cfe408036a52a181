#include "sha256.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#include "padding.h"

// The rest of the addon runs on any processor: these functions alone use more, after a look at it.
#define WITH_SHA __attribute__((target("sha,sse4.1,ssse3")))
#define INLINE_WITH_SHA __attribute__((target("sha,sse4.1,ssse3"), always_inline)) static inline

enum { LANES_MAX = 2 };

// FIPS 180-4, 4.2.2
static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/** The eight words of a state, A to H, in the order that the instructions want. */
struct lane {
  __m128i abef;
  __m128i cdgh;
};

bool sha256_is_available(void) {
  unsigned int eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return false;
  if ((ecx & bit_SSSE3) == 0 || (ecx & bit_SSE4_1) == 0) return false;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_SHA) != 0;
}

INLINE_WITH_SHA __m128i swap_words(__m128i words) {
  const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  return _mm_shuffle_epi8(words, order);
}

/** FIPS 180-4, 5.3.3 */
INLINE_WITH_SHA struct lane first_state(void) {
  return (struct lane){
      .abef = _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c),
      .cdgh = _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19),
  };
}

INLINE_WITH_SHA void write_digest(struct lane state, uint8_t digest[SHA256_BYTES]) {
  __m128i dcba = _mm_unpackhi_epi64(state.cdgh, state.abef);
  __m128i hgfe = _mm_unpacklo_epi64(state.cdgh, state.abef);
  dcba = swap_words(_mm_shuffle_epi32(dcba, 0x1b));
  hgfe = swap_words(_mm_shuffle_epi32(hgfe, 0x1b));
  _mm_storeu_si128((__m128i *)digest, dcba);
  _mm_storeu_si128((__m128i *)(digest + 16), hgfe);
}

/** FIPS 180-4, 6.2.2 for one block of each lane; `lanes` is a constant where this is inlined. */
INLINE_WITH_SHA void digest_block(int lanes, struct lane *states, const uint8_t *const *blocks,
                                  size_t offset) {
  struct lane before[LANES_MAX];
  __m128i schedule[LANES_MAX][4];
#pragma GCC unroll 2
  for (int lane = 0; lane < lanes; lane++) {
    before[lane] = states[lane];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const uint8_t *words = blocks[lane] + offset + 16 * i;
      schedule[lane][i] = swap_words(_mm_loadu_si128((const __m128i *)words));
    }
  }
  // Four rounds at a time: `w[group & 3]` holds their words, and then those of sixteen rounds later.
#pragma GCC unroll 16
  for (int group = 0; group < 16; group++) {
    __m128i constants = _mm_load_si128((const __m128i *)(round_constants + 4 * group));
#pragma GCC unroll 2
    for (int lane = 0; lane < lanes; lane++) {
      struct lane *state = &states[lane];
      __m128i *w = schedule[lane];
      __m128i input = _mm_add_epi32(w[group & 3], constants);
      state->cdgh = _mm_sha256rnds2_epu32(state->cdgh, state->abef, input);
      input = _mm_shuffle_epi32(input, 0x0e);
      state->abef = _mm_sha256rnds2_epu32(state->abef, state->cdgh, input);
      if (group >= 12) continue;
      __m128i next = _mm_sha256msg1_epu32(w[group & 3], w[(group + 1) & 3]);
      next = _mm_add_epi32(next, _mm_alignr_epi8(w[(group + 3) & 3], w[(group + 2) & 3], 4));
      w[group & 3] = _mm_sha256msg2_epu32(next, w[(group + 3) & 3]);
    }
  }
#pragma GCC unroll 2
  for (int lane = 0; lane < lanes; lane++) {
    states[lane].abef = _mm_add_epi32(states[lane].abef, before[lane].abef);
    states[lane].cdgh = _mm_add_epi32(states[lane].cdgh, before[lane].cdgh);
  }
}

INLINE_WITH_SHA void digest_messages(int lanes, const uint8_t *const *messages, size_t length,
                                     uint8_t *const *digests) {
  struct lane states[LANES_MAX];
  uint8_t tails[LANES_MAX][2 * DIGEST_BLOCK_BYTES];
  const uint8_t *tail_of[LANES_MAX] = {tails[0], tails[1]};
  size_t whole_bytes = length - length % DIGEST_BLOCK_BYTES;
  size_t tail_bytes = 0;
  for (int lane = 0; lane < lanes; lane++) {
    states[lane] = first_state();
    tail_bytes = DIGEST_BLOCK_BYTES * pad_message(messages[lane], length, true, tails[lane]);
  }
  for (size_t offset = 0; offset < whole_bytes; offset += DIGEST_BLOCK_BYTES) {
    digest_block(lanes, states, messages, offset);
  }
  for (size_t offset = 0; offset < tail_bytes; offset += DIGEST_BLOCK_BYTES) {
    digest_block(lanes, states, tail_of, offset);
  }
  for (int lane = 0; lane < lanes; lane++) write_digest(states[lane], digests[lane]);
}

WITH_SHA void sha256(const uint8_t *message, size_t length, uint8_t digest[SHA256_BYTES]) {
  digest_messages(1, &message, length, &digest);
}

WITH_SHA void sha256_pair(const uint8_t *one, const uint8_t *other, size_t length,
                          uint8_t digest_of_one[SHA256_BYTES],
                          uint8_t digest_of_other[SHA256_BYTES]) {
  const uint8_t *const messages[] = {one, other};
  uint8_t *const digests[] = {digest_of_one, digest_of_other};
  digest_messages(2, messages, length, digests);
}

#else

bool sha256_is_available(void) {
  return false;
}

void sha256(const uint8_t *message, size_t length, uint8_t digest[SHA256_BYTES]) {
  (void)message, (void)length, (void)digest;
}

void sha256_pair(const uint8_t *one, const uint8_t *other, size_t length,
                 uint8_t digest_of_one[SHA256_BYTES], uint8_t digest_of_other[SHA256_BYTES]) {
  (void)one, (void)other, (void)length, (void)digest_of_one, (void)digest_of_other;
}

#endif
