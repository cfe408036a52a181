// zlib's format by libdeflate: whole buffers at once, which is why it beats zlib at it.

#include <dlfcn.h>
#include <stdlib.h>

#include "codec.h"
#include "library.h"

// From libdeflate.h, the same from 1.0 on.
struct libdeflate_compressor;
struct libdeflate_decompressor;
enum { LIBDEFLATE_SUCCESS = 0 };

struct libdeflate {
  void *handle;
  struct libdeflate_compressor *(*libdeflate_alloc_compressor)(int level);
  size_t (*libdeflate_zlib_compress)(struct libdeflate_compressor *, const void *in,
                                     size_t in_length, void *out, size_t out_room);
  void (*libdeflate_free_compressor)(struct libdeflate_compressor *);
  struct libdeflate_decompressor *(*libdeflate_alloc_decompressor)(void);
  int (*libdeflate_zlib_decompress_ex)(struct libdeflate_decompressor *, const void *in,
                                       size_t in_length, void *out, size_t out_room,
                                       size_t *in_used, size_t *out_used);
  void (*libdeflate_free_decompressor)(struct libdeflate_decompressor *);

  /** Of the level that was asked for last: a backup has one. */
  struct libdeflate_compressor *compressor;
  int level;
  struct libdeflate_decompressor *decompressor;
};

static void close_libdeflate(void *self) {
  struct libdeflate *it = self;
  if (it->compressor != NULL) it->libdeflate_free_compressor(it->compressor);
  if (it->decompressor != NULL) it->libdeflate_free_decompressor(it->decompressor);
  if (it->handle != NULL) dlclose(it->handle);
  free(it);
}

static void *open_libdeflate(void) {
  struct libdeflate *it = calloc(1, sizeof *it);
  if (it == NULL) return NULL;
  it->handle = library_open("libdeflate.so.0");
  if (it->handle != NULL && LIBRARY_FIND(it, libdeflate_alloc_compressor) &&
      LIBRARY_FIND(it, libdeflate_zlib_compress) && LIBRARY_FIND(it, libdeflate_free_compressor) &&
      LIBRARY_FIND(it, libdeflate_alloc_decompressor) &&
      LIBRARY_FIND(it, libdeflate_zlib_decompress_ex) &&
      LIBRARY_FIND(it, libdeflate_free_decompressor)) {
    return it;
  }
  close_libdeflate(it);
  return NULL;
}

static size_t compress(void *self, struct bytes plain, struct bytes into, int level) {
  struct libdeflate *it = self;
  if (it->compressor != NULL && it->level != level) {
    it->libdeflate_free_compressor(it->compressor);
    it->compressor = NULL;
  }
  if (it->compressor == NULL) it->compressor = it->libdeflate_alloc_compressor(level);
  if (it->compressor == NULL) return 0;
  it->level = level;
  return it->libdeflate_zlib_compress(it->compressor, plain.data, plain.length, into.data,
                                      into.length);
}

static ptrdiff_t decompress(void *self, struct bytes stored, struct bytes into) {
  struct libdeflate *it = self;
  if (it->decompressor == NULL) it->decompressor = it->libdeflate_alloc_decompressor();
  if (it->decompressor == NULL) return -1;
  size_t in_used = 0, out_used = 0;
  int result =
      it->libdeflate_zlib_decompress_ex(it->decompressor, stored.data, stored.length, into.data,
                                        into.length, &in_used, &out_used);
  return result == LIBDEFLATE_SUCCESS && in_used == stored.length ? (ptrdiff_t)out_used : -1;
}

const struct codec zlib_codec = {
    .name = "zlib",
    .library = "libdeflate",
    .level_max = 12,
    .open = open_libdeflate,
    .close = close_libdeflate,
    .version = NULL,
    .compress = compress,
    .decompress = decompress,
};
