// zlib's format by ISA-L (igzip): a window of one pass and no search for better matches.

#include <dlfcn.h>
#include <stdlib.h>

#include "codec.h"
#include "library.h"

// The public half of `struct isal_zstream` in igzip_lib.h, the same in all of libisal.so.2. What
// follows it is the library's own, 82 320 bytes in 2.30; whoever loads us tries the codec on a sample
// first, so that a library of another shape is not used.
struct isal_zstream {
  const uint8_t *next_in;
  uint32_t avail_in;
  uint32_t total_in;
  uint8_t *next_out;
  uint32_t avail_out;
  uint32_t total_out;
  void *hufftables;
  uint32_t level;
  uint32_t level_buf_size;
  uint8_t *level_buf;
  uint16_t end_of_stream;
  uint16_t flush;
  uint16_t gzip_flag;
  uint16_t hist_bits;
  uint8_t internal_state[256 * 1024];
};
_Static_assert(offsetof(struct isal_zstream, internal_state) == 64, "igzip_lib.h has it at 64");

enum { COMP_OK = 0, IGZIP_ZLIB = 3 };

// How much of it there is decides how long a block may be, and with it how well its code fits its
// content: of ISAL_DEF_LVL2_EXTRA_LARGE the files of a system become 1.5 % larger than of this, and
// level 2 is 5 % quicker. It is enough for the largest ISAL_DEF_LVL*_MIN.
enum { LEVEL_BUFFER_BYTES = 160 * 1024 };

struct isal {
  void *handle;
  void (*isal_deflate_init)(struct isal_zstream *);
  int (*isal_deflate)(struct isal_zstream *);

  struct isal_zstream stream;
  uint8_t level_buffer[LEVEL_BUFFER_BYTES];
};

static void close_isal(void *self) {
  struct isal *it = self;
  if (it->handle != NULL) dlclose(it->handle);
  free(it);
}

static void *open_isal(void) {
  struct isal *it = calloc(1, sizeof *it);
  if (it == NULL) return NULL;
  it->handle = library_open("libisal.so.2");
  if (it->handle != NULL && LIBRARY_FIND(it, isal_deflate_init) && LIBRARY_FIND(it, isal_deflate)) {
    return it;
  }
  close_isal(it);
  return NULL;
}

static size_t compress(void *self, struct bytes plain, struct bytes into, int level) {
  struct isal *it = self;
  struct isal_zstream *stream = &it->stream;
  if (plain.length > UINT32_MAX) return 0;
  size_t room = into.length < UINT32_MAX ? into.length : UINT32_MAX;
  it->isal_deflate_init(stream);
  stream->level = (uint32_t)level;
  stream->level_buf = it->level_buffer;
  stream->level_buf_size = LEVEL_BUFFER_BYTES;
  stream->gzip_flag = IGZIP_ZLIB;
  stream->end_of_stream = 1;
  stream->next_in = plain.data;
  stream->avail_in = (uint32_t)plain.length;
  stream->next_out = into.data;
  stream->avail_out = (uint32_t)room;
  // Where no room is left, nobody can tell whether that was the end of it.
  if (it->isal_deflate(stream) != COMP_OK || stream->avail_out == 0) return 0;
  return room - stream->avail_out;
}

const struct codec fast_zlib_codec = {
    .name = "fastZlib",
    .library = "isa-l",
    .level_max = 3,
    .open = open_isal,
    .close = close_isal,
    .version = NULL,
    .compress = compress,
    .decompress = NULL,
};
