// Two MD5s at once. Each step of MD5 waits for the one before, so that a single message leaves most of
// the processor idle: two in step cost little more than one.

#pragma once

#include <stdint.h>

#include "bytes.h"

enum { MD5_BYTES = 16 };

/** The digests of two messages, each of its own length. */
void md5_pair(struct bytes one, struct bytes other, uint8_t digest_of_one[MD5_BYTES],
              uint8_t digest_of_other[MD5_BYTES]);
