#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** A part of the caller's memory. `data` is never NULL, not even where there is nothing. */
struct bytes {
  uint8_t *data;
  size_t length;
};

/** Each byte is compared with the one before: memcmp is the fastest loop that a host has for it. */
static inline bool is_zero(const uint8_t *data, size_t length) {
  return length == 0 || (data[0] == 0 && memcmp(data, data + 1, length - 1) == 0);
}
