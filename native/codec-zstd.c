// zstd's format by libzstd: one frame at once, into the caller's memory, which Node's binding never
// does.

#include <dlfcn.h>
#include <stdlib.h>

#include "codec.h"
#include "library.h"

// From zstd.h, all of it stable since 1.0.
struct ZSTD_CCtx;
struct ZSTD_DCtx;

struct zstd {
  void *handle;
  const char *(*ZSTD_versionString)(void);
  unsigned int (*ZSTD_isError)(size_t code);
  struct ZSTD_CCtx *(*ZSTD_createCCtx)(void);
  size_t (*ZSTD_compressCCtx)(struct ZSTD_CCtx *, void *into, size_t into_length, const void *plain,
                              size_t plain_length, int level);
  size_t (*ZSTD_freeCCtx)(struct ZSTD_CCtx *);
  struct ZSTD_DCtx *(*ZSTD_createDCtx)(void);
  size_t (*ZSTD_decompressDCtx)(struct ZSTD_DCtx *, void *into, size_t into_length,
                                const void *stored, size_t stored_length);
  size_t (*ZSTD_freeDCtx)(struct ZSTD_DCtx *);

  struct ZSTD_CCtx *compressor;
  struct ZSTD_DCtx *decompressor;
};

static void close_zstd(void *self) {
  struct zstd *it = self;
  if (it->compressor != NULL) it->ZSTD_freeCCtx(it->compressor);
  if (it->decompressor != NULL) it->ZSTD_freeDCtx(it->decompressor);
  if (it->handle != NULL) dlclose(it->handle);
  free(it);
}

static void *open_zstd(void) {
  struct zstd *it = calloc(1, sizeof *it);
  if (it == NULL) return NULL;
  it->handle = library_open("libzstd.so.1");
  if (it->handle != NULL && LIBRARY_FIND(it, ZSTD_versionString) &&
      LIBRARY_FIND(it, ZSTD_isError) && LIBRARY_FIND(it, ZSTD_createCCtx) &&
      LIBRARY_FIND(it, ZSTD_compressCCtx) && LIBRARY_FIND(it, ZSTD_freeCCtx) &&
      LIBRARY_FIND(it, ZSTD_createDCtx) && LIBRARY_FIND(it, ZSTD_decompressDCtx) &&
      LIBRARY_FIND(it, ZSTD_freeDCtx)) {
    return it;
  }
  close_zstd(it);
  return NULL;
}

static const char *version(const void *self) {
  return ((const struct zstd *)self)->ZSTD_versionString();
}

static size_t compress(void *self, struct bytes plain, struct bytes into, int level) {
  struct zstd *it = self;
  if (it->compressor == NULL) it->compressor = it->ZSTD_createCCtx();
  if (it->compressor == NULL) return 0;
  size_t length = it->ZSTD_compressCCtx(it->compressor, into.data, into.length, plain.data,
                                        plain.length, level);
  return it->ZSTD_isError(length) ? 0 : length;
}

static ptrdiff_t decompress(void *self, struct bytes stored, struct bytes into) {
  struct zstd *it = self;
  if (stored.length == 0) return -1; // No frame at all, which libzstd takes for an empty one.
  if (it->decompressor == NULL) it->decompressor = it->ZSTD_createDCtx();
  if (it->decompressor == NULL) return -1;
  size_t length = it->ZSTD_decompressDCtx(it->decompressor, into.data, into.length, stored.data,
                                          stored.length);
  return it->ZSTD_isError(length) ? -1 : (ptrdiff_t)length;
}

const struct codec zstd_codec = {
    .name = "zstd",
    .library = "libzstd",
    .level_max = 19,
    .open = open_zstd,
    .close = close_zstd,
    .version = version,
    .compress = compress,
    .decompress = decompress,
};
