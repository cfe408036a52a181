// The SHA-256 of each block of a volume: two at a time, and none for blocks of zeros, of which a volume
// has many.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "sha256.h"

/** What is known of a block of zeros. All zeros at first; one for each thread. */
struct block_digests {
  size_t zero_block_bytes;
  uint8_t zero_block_digest[SHA256_BYTES];
};

/** How many blocks that is; the last may be short. */
size_t blocks_of(size_t length, size_t block_bytes);

/** Writes the digest of each block to `into`. Returns how many of them are all zeros. */
size_t digest_blocks(struct block_digests *known, struct bytes data, size_t block_bytes,
                     uint8_t *into);
