// What the addon knows of a compressor: each lives in a file of its own, on top of a library that is
// opened while we run. So a host that lacks the library lacks that one codec, and nothing must be
// installed to build us.

#pragma once

#include <stddef.h>

#include "bytes.h"

struct codec {
  /** What the accelerator calls it. */
  const char *name;
  const char *library;
  /** Levels are 1 to this. */
  int level_max;

  /** A new one for one thread; NULL where the library is not on this host, or no memory is left. */
  void *(*open)(void);
  void (*close)(void *self);

  /** The library's version. NULL where it does not tell. */
  const char *(*version)(const void *self);

  /** Returns how many bytes of `into` were filled, or 0 where they do not suffice, or only just. */
  size_t (*compress)(void *self, struct bytes plain, struct bytes into, int level);

  /**
   * Returns how many bytes of `into` were filled, or -1 where `stored` is not all of a stream that
   * fits there, and nothing besides. NULL where the codec only compresses.
   */
  ptrdiff_t (*decompress)(void *self, struct bytes stored, struct bytes into);
};

/** libdeflate: zlib's format. */
extern const struct codec zlib_codec;
/** ISA-L: zlib's format, larger and much faster. */
extern const struct codec fast_zlib_codec;
/** libbz2 */
extern const struct codec bz2_codec;
/** libzstd */
extern const struct codec zstd_codec;
