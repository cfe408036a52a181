// SHA-256 with the instructions that many x86-64 processors have for it. One round waits for the one
// before, so that a single message leaves half of the processor idle: two in step cost as much as one.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32 };

/** Whether this processor has the instructions. Without them nothing else here may be called. */
bool sha256_is_available(void);

void sha256(const uint8_t *message, size_t length, uint8_t digest[SHA256_BYTES]);

/** The digests of two messages of the same length. */
void sha256_pair(const uint8_t *one, const uint8_t *other, size_t length,
                 uint8_t digest_of_one[SHA256_BYTES], uint8_t digest_of_other[SHA256_BYTES]);
