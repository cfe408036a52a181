// bzip2's format by libbz2. It keeps nothing between calls: what it allocates is small beside the
// seconds that it takes.

#include <dlfcn.h>
#include <stdlib.h>

#include "codec.h"
#include "library.h"

// From bzlib.h, the same since 1.0.
typedef struct {
  char *next_in;
  unsigned int avail_in;
  unsigned int total_in_lo32;
  unsigned int total_in_hi32;
  char *next_out;
  unsigned int avail_out;
  unsigned int total_out_lo32;
  unsigned int total_out_hi32;
  void *state;
  void *(*bzalloc)(void *, int, int);
  void (*bzfree)(void *, void *);
  void *opaque;
} bz_stream;

enum { BZ_OK = 0, BZ_STREAM_END = 4 };

struct bz2 {
  void *handle;
  const char *(*BZ2_bzlibVersion)(void);
  int (*BZ2_bzBuffToBuffCompress)(char *into, unsigned int *into_length, char *plain,
                                  unsigned int plain_length, int level, int verbosity,
                                  int work_factor);
  int (*BZ2_bzDecompressInit)(bz_stream *, int verbosity, int small);
  int (*BZ2_bzDecompress)(bz_stream *);
  int (*BZ2_bzDecompressEnd)(bz_stream *);
};

static void close_bz2(void *self) {
  struct bz2 *it = self;
  if (it->handle != NULL) dlclose(it->handle);
  free(it);
}

static void *open_bz2(void) {
  struct bz2 *it = calloc(1, sizeof *it);
  if (it == NULL) return NULL;
  it->handle = library_open("libbz2.so.1.0");
  if (it->handle != NULL && LIBRARY_FIND(it, BZ2_bzlibVersion) &&
      LIBRARY_FIND(it, BZ2_bzBuffToBuffCompress) && LIBRARY_FIND(it, BZ2_bzDecompressInit) &&
      LIBRARY_FIND(it, BZ2_bzDecompress) && LIBRARY_FIND(it, BZ2_bzDecompressEnd)) {
    return it;
  }
  close_bz2(it);
  return NULL;
}

static const char *version(const void *self) {
  return ((const struct bz2 *)self)->BZ2_bzlibVersion();
}

static unsigned int at_most_uint(size_t length) {
  return length < UINT32_MAX ? (unsigned int)length : UINT32_MAX;
}

static size_t compress(void *self, struct bytes plain, struct bytes into, int level) {
  struct bz2 *it = self;
  if (plain.length > UINT32_MAX) return 0;
  unsigned int length = at_most_uint(into.length);
  int result = it->BZ2_bzBuffToBuffCompress((char *)into.data, &length, (char *)plain.data,
                                            (unsigned int)plain.length, level, 0, 0);
  return result == BZ_OK ? length : 0;
}

static ptrdiff_t decompress(void *self, struct bytes stored, struct bytes into) {
  struct bz2 *it = self;
  if (stored.length > UINT32_MAX) return -1;
  size_t room = into.length;
  do {
    bz_stream stream = {
        .next_in = (char *)stored.data,
        .avail_in = (unsigned int)stored.length,
        .next_out = (char *)into.data + (into.length - room),
        .avail_out = at_most_uint(room),
    };
    if (it->BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK) return -1;
    int result = it->BZ2_bzDecompress(&stream);
    it->BZ2_bzDecompressEnd(&stream);
    // Anything else: damaged, cut off, or larger than the room.
    if (result != BZ_STREAM_END) return -1;
    room -= at_most_uint(room) - stream.avail_out;
    stored.data = (uint8_t *)stream.next_in;
    stored.length = stream.avail_in;
  } while (stored.length > 0);
  return (ptrdiff_t)(into.length - room);
}

const struct codec bz2_codec = {
    .name = "bz2",
    .library = "libbz2",
    .level_max = 9,
    .open = open_bz2,
    .close = close_bz2,
    .version = version,
    .compress = compress,
    .decompress = decompress,
};
