#define _GNU_SOURCE

#include "library.h"

#include <dlfcn.h>
#include <string.h>

// RTLD_DEEPBIND is not an optimisation. Node contains a zstd and a zlib of its own and exports their
// functions; without it, what libzstd.so.1 calls inside itself would be bound to Node's release of
// zstd, whose structures differ.
void *library_open(const char *file) {
  return dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
}

bool library_find(void *library, const char *name, void *pointer) {
  void *function = dlsym(library, name);
  memcpy(pointer, &function, sizeof function);
  return function != NULL;
}
