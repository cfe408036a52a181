#include "block-digests.h"

size_t blocks_of(size_t length, size_t block_bytes) {
  return length / block_bytes + (length % block_bytes > 0);
}

static void digest_zeros(struct block_digests *known, const uint8_t *zeros, size_t length,
                         uint8_t *digest) {
  if (known->zero_block_bytes != length) {
    sha256(zeros, length, known->zero_block_digest);
    known->zero_block_bytes = length;
  }
  memcpy(digest, known->zero_block_digest, SHA256_BYTES);
}

size_t digest_blocks(struct block_digests *known, struct bytes data, size_t block_bytes,
                     uint8_t *into) {
  size_t whole_blocks = data.length / block_bytes;
  size_t zero_blocks = 0;
  const uint8_t *waiting = NULL; // For another one, to go in step with it.
  uint8_t *digest_of_waiting = NULL;
  for (size_t i = 0; i < whole_blocks; i++) {
    const uint8_t *block = data.data + i * block_bytes;
    uint8_t *digest = into + i * SHA256_BYTES;
    if (is_zero(block, block_bytes)) {
      digest_zeros(known, block, block_bytes, digest);
      zero_blocks++;
    } else if (waiting == NULL) {
      waiting = block;
      digest_of_waiting = digest;
    } else {
      sha256_pair(waiting, block, block_bytes, digest_of_waiting, digest);
      waiting = NULL;
    }
  }
  if (waiting != NULL) sha256(waiting, block_bytes, digest_of_waiting);

  size_t rest = data.length % block_bytes;
  if (rest > 0) {
    const uint8_t *block = data.data + whole_blocks * block_bytes;
    sha256(block, rest, into + whole_blocks * SHA256_BYTES);
    if (is_zero(block, rest)) zero_blocks++;
  }
  return zero_blocks;
}
