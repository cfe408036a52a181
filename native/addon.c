// What src/adapters/accelerator loads. Here JavaScript's values become C's and back, and nothing else
// happens: the work is in the other files.
//
// Every thread of Node that loads it has an instance of its own, so that nothing here is shared. All
// calls are synchronous and keep nothing of the caller's memory.

#include <node_api.h>
#include <stdio.h>
#include <stdlib.h>

#include "block-digests.h"
#include "bytes.h"
#include "codec.h"
#include "md5.h"
#include "open-file.h"
#include "sha256.h"

static const struct codec *const codecs[] = {&zlib_codec, &fast_zlib_codec, &bz2_codec,
                                             &zstd_codec};
enum { CODECS = sizeof codecs / sizeof codecs[0], ARGUMENTS_MAX = 3 };

struct open_codec {
  const struct codec *codec;
  void *self;
};

struct instance {
  struct open_codec codecs[CODECS];
  struct block_digests block_digests;
};

struct call {
  napi_env env;
  napi_value arguments[ARGUMENTS_MAX];
  /** What the function was made with. */
  void *data;
};

// --- Arguments. Each reader throws where the argument is wrong; the caller then returns NULL.

static struct call read_call(napi_env env, napi_callback_info info) {
  struct call call = {.env = env};
  size_t count = ARGUMENTS_MAX; // Those that are missing become undefined.
  napi_get_cb_info(env, info, &count, call.arguments, NULL, &call.data);
  return call;
}

static bool wrong(const struct call *call, int index, const char *expected) {
  char message[96];
  snprintf(message, sizeof message, "argument %d must be %s", index + 1, expected);
  napi_throw_type_error(call->env, "ERR_INVALID_ARG_TYPE", message);
  return false;
}

static bool read_bytes(const struct call *call, int index, struct bytes *bytes) {
  static uint8_t nothing;
  napi_typedarray_type type = napi_float64_array;
  void *data = NULL;
  napi_status status = napi_get_typedarray_info(call->env, call->arguments[index], &type,
                                                &bytes->length, &data, NULL, NULL);
  if (status != napi_ok || type != napi_uint8_array) return wrong(call, index, "a Uint8Array");
  bytes->data = bytes->length == 0 ? &nothing : data;
  return true;
}

static bool read_integer(const struct call *call, int index, double least, double most,
                         int64_t *integer) {
  double number = -1;
  napi_status status = napi_get_value_double(call->env, call->arguments[index], &number);
  if (status == napi_ok && number >= least && number <= most) {
    *integer = (int64_t)number;
    if ((double)*integer == number) return true;
  }
  char expected[64];
  snprintf(expected, sizeof expected, "an integer from %.0f to %.0f", least, most);
  return wrong(call, index, expected);
}

static const double safe_integer_max = 9007199254740991; // Number.MAX_SAFE_INTEGER

static bool read_descriptor(const struct call *call, int index, int *fd) {
  int64_t integer;
  if (!read_integer(call, index, 0, INT32_MAX, &integer)) return false;
  *fd = (int)integer;
  return true;
}

// --- Results

static napi_value number_of(napi_env env, double number) {
  napi_value result = NULL;
  napi_create_double(env, number, &result);
  return result;
}

static napi_value string_of(napi_env env, const char *text) {
  napi_value result = NULL;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result);
  return result;
}

static napi_value boolean_of(napi_env env, bool boolean) {
  napi_value result = NULL;
  napi_get_boolean(env, boolean, &result);
  return result;
}

static napi_value hex_of(napi_env env, const uint8_t digest[MD5_BYTES]) {
  char text[2 * MD5_BYTES + 1];
  for (int i = 0; i < MD5_BYTES; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
  return string_of(env, text);
}

// --- Codecs: compress(plain, into, level), decompress(stored, into)

static napi_value compress(napi_env env, napi_callback_info info) {
  struct call call = read_call(env, info);
  const struct open_codec *it = call.data;
  struct bytes plain, into;
  int64_t level;
  if (!read_bytes(&call, 0, &plain) || !read_bytes(&call, 1, &into) ||
      !read_integer(&call, 2, 1, it->codec->level_max, &level)) {
    return NULL;
  }
  return number_of(env, (double)it->codec->compress(it->self, plain, into, (int)level));
}

static napi_value decompress(napi_env env, napi_callback_info info) {
  struct call call = read_call(env, info);
  const struct open_codec *it = call.data;
  struct bytes stored, into;
  if (!read_bytes(&call, 0, &stored) || !read_bytes(&call, 1, &into)) return NULL;
  return number_of(env, (double)it->codec->decompress(it->self, stored, into));
}

// --- Digests: sha256Blocks(data, blockBytes, into), md5Pair(one, other), isZero(data)

static napi_value sha256_blocks(napi_env env, napi_callback_info info) {
  struct call call = read_call(env, info);
  struct block_digests *digests = call.data;
  struct bytes data, into;
  int64_t block_bytes;
  if (!read_bytes(&call, 0, &data) || !read_integer(&call, 1, 1, safe_integer_max, &block_bytes) ||
      !read_bytes(&call, 2, &into)) {
    return NULL;
  }
  if (into.length / SHA256_BYTES < blocks_of(data.length, (size_t)block_bytes)) {
    wrong(&call, 2, "as long as 32 bytes for each block");
    return NULL;
  }
  return number_of(env, (double)digest_blocks(digests, data, (size_t)block_bytes, into.data));
}

static napi_value md5_pair_in_hex(napi_env env, napi_callback_info info) {
  struct call call = read_call(env, info);
  struct bytes one, other;
  if (!read_bytes(&call, 0, &one) || !read_bytes(&call, 1, &other)) return NULL;
  uint8_t digests[2][MD5_BYTES];
  md5_pair(one, other, digests[0], digests[1]);
  napi_value pair = NULL;
  napi_create_array_with_length(env, 2, &pair);
  for (uint32_t i = 0; i < 2; i++) napi_set_element(env, pair, i, hex_of(env, digests[i]));
  return pair;
}

static napi_value is_all_zero(napi_env env, napi_callback_info info) {
  struct call call = read_call(env, info);
  struct bytes data;
  if (!read_bytes(&call, 0, &data)) return NULL;
  return boolean_of(env, is_zero(data.data, data.length));
}

static napi_value give_back(napi_env env, napi_callback_info info) {
  struct call call = read_call(env, info);
  struct bytes memory;
  if (!read_bytes(&call, 0, &memory)) return NULL;
  memory_give_back(memory.data, memory.length);
  return NULL;
}

// --- Open files: the system call's result, or its error as a negative number

static napi_value seek_data(napi_env env, napi_callback_info info) {
  struct call call = read_call(env, info);
  int fd;
  int64_t offset;
  if (!read_descriptor(&call, 0, &fd) ||
      !read_integer(&call, 1, 0, safe_integer_max, &offset)) {
    return NULL;
  }
  return number_of(env, (double)file_seek_data(fd, offset));
}

static napi_value seek_hole(napi_env env, napi_callback_info info) {
  struct call call = read_call(env, info);
  int fd;
  int64_t offset;
  if (!read_descriptor(&call, 0, &fd) ||
      !read_integer(&call, 1, 0, safe_integer_max, &offset)) {
    return NULL;
  }
  return number_of(env, (double)file_seek_hole(fd, offset));
}

static napi_value punch_hole(napi_env env, napi_callback_info info) {
  struct call call = read_call(env, info);
  int fd;
  int64_t offset, length;
  if (!read_descriptor(&call, 0, &fd) || !read_integer(&call, 1, 0, safe_integer_max, &offset) ||
      !read_integer(&call, 2, 1, safe_integer_max, &length)) {
    return NULL;
  }
  return number_of(env, (double)file_punch_hole(fd, offset, length));
}

static napi_value device_size(napi_env env, napi_callback_info info) {
  struct call call = read_call(env, info);
  int fd;
  if (!read_descriptor(&call, 0, &fd)) return NULL;
  return number_of(env, (double)file_device_size(fd));
}

// --- The module

static void set(napi_env env, napi_value object, const char *name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

static void set_function(napi_env env, napi_value object, const char *name, napi_callback function,
                         void *data) {
  napi_value value = NULL;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, function, data, &value);
  set(env, object, name, value);
}

static void set_codec(napi_env env, napi_value exports, struct open_codec *it) {
  const char *version = it->codec->version == NULL ? "" : it->codec->version(it->self);
  napi_value object = NULL;
  napi_create_object(env, &object);
  set(env, object, "library", string_of(env, it->codec->library));
  set(env, object, "version", string_of(env, version));
  set_function(env, object, "compress", compress, it);
  if (it->codec->decompress != NULL) set_function(env, object, "decompress", decompress, it);
  set(env, exports, it->codec->name, object);
}

static void close_instance(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  struct instance *instance = data;
  for (int i = 0; i < CODECS; i++) {
    struct open_codec *it = &instance->codecs[i];
    if (it->self != NULL) it->codec->close(it->self);
  }
  free(instance);
}

NAPI_MODULE_INIT() {
  struct instance *instance = calloc(1, sizeof *instance);
  if (instance == NULL || napi_set_instance_data(env, instance, close_instance, NULL) != napi_ok) {
    free(instance);
    napi_throw_error(env, NULL, "no memory for the accelerator");
    return NULL;
  }
  for (int i = 0; i < CODECS; i++) {
    struct open_codec *it = &instance->codecs[i];
    it->codec = codecs[i];
    it->self = codecs[i]->open();
    if (it->self != NULL) set_codec(env, exports, it);
  }
  if (sha256_is_available()) {
    set_function(env, exports, "sha256Blocks", sha256_blocks, &instance->block_digests);
  }
  set_function(env, exports, "md5Pair", md5_pair_in_hex, NULL);
  set_function(env, exports, "isZero", is_all_zero, NULL);
  set_function(env, exports, "giveBack", give_back, NULL);
  set_function(env, exports, "seekData", seek_data, NULL);
  set_function(env, exports, "seekHole", seek_hole, NULL);
  set_function(env, exports, "punchHole", punch_hole, NULL);
  set_function(env, exports, "deviceSize", device_size, NULL);
  return exports;
}
