// What the machine allows: the CPU seconds that the best primitive of each kind takes for a file, one
// thread, buffers reused. A data path cannot cost less than the primitives that it needs, added up.
//
// usage: limits FILE PORT SCRATCH    PORT is our sink's; SCRATCH a file to write to
//
// Prints one JSON object; names are those of `Limits` in limits.ts.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <bzlib.h>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "sha256_pair.h"

enum { CHUNK = 50 << 20, BLOCK = 32768, ROOM = CHUNK + (4 << 20), SLOW_SHARE = 8 };

static uint8_t *data, *packed, *plain;
static size_t length;

static void fail(const char *what) {
  fprintf(stderr, "limits: %s\n", what);
  exit(1);
}

static double cpu_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static void *aligned(size_t bytes) {
  void *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!memory) fail("no memory");
  return memset(memory, 1, bytes);
}

// --- Hashes

#ifdef __x86_64__
__attribute__((target("no-avx512f"))) // With it the compiler makes this half as fast.
#endif
/** MD5 of two messages at once: one alone leaves the core's units idle. Without the padding. */
static uint32_t md5_pair(const uint8_t *one, const uint8_t *other, size_t bytes) {
  static const uint32_t constants[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
  static const int shifts[16] = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};
  uint32_t states[2][4] = {{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476},
                           {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
  for (size_t at = 0; at < bytes; at += 64) {
    uint32_t words[2][16], s[2][4];
    memcpy(words[0], one + at, 64), memcpy(words[1], other + at, 64), memcpy(s, states, sizeof s);
#pragma GCC unroll 64
    for (int i = 0; i < 64; i++)
#pragma GCC unroll 2
      for (int m = 0; m < 2; m++) {
        uint32_t a = s[m][0], b = s[m][1], c = s[m][2], d = s[m][3], f;
        int g, shift = shifts[i / 16 * 4 + i % 4];
        if (i < 16) f = d ^ (b & (c ^ d)), g = i;
        else if (i < 32) f = (d & b) + (~d & c), g = (5 * i + 1) % 16;
        else if (i < 48) f = b ^ c ^ d, g = (3 * i + 5) % 16;
        else f = c ^ (b | ~d), g = 7 * i % 16;
        f += a + words[m][g] + constants[i];
        s[m][0] = d, s[m][3] = c, s[m][2] = b, s[m][1] = b + ((f << shift) | (f >> (32 - shift)));
      }
    for (int m = 0; m < 2; m++)
      for (int i = 0; i < 4; i++) states[m][i] += s[m][i];
  }
  return states[0][0] ^ states[1][0];
}

static int is_zero(const uint8_t *block) { return !*block && !memcmp(block, block + 1, BLOCK - 1); }

/** Of the blocks that are not zeros, whose digest is a constant. */
static double digest_blocks(double *zero_seconds) {
  const uint8_t *pending = NULL;
  uint8_t digests[2][32];
  double began = cpu_seconds();
  volatile int seen = 0; // Or the compiler would leave the work out.
  for (size_t at = 0; at < length; at += BLOCK) seen += is_zero(data + at);
  *zero_seconds = cpu_seconds() - began;
  began = cpu_seconds();
  for (size_t at = 0; at < length; at += BLOCK) {
    if (is_zero(data + at)) continue;
    if (!pending) { pending = data + at; continue; }
    sha256_pair((const uint8_t *const[2]){pending, data + at}, BLOCK, digests);
    seen += digests[0][0] + digests[1][0], pending = NULL;
  }
  return cpu_seconds() - began - *zero_seconds;
}

// --- Codecs: bytes that came out, 0 where they failed

static struct libdeflate_compressor *deflater;
static struct libdeflate_decompressor *inflater;

static size_t zlib(const uint8_t *from, size_t n) {
  return libdeflate_zlib_compress(deflater, from, n, packed, ROOM);
}

static size_t unzlib(size_t packed_bytes, size_t n) {
  size_t got = 0;
  return libdeflate_zlib_decompress(inflater, packed, packed_bytes, plain, n, &got) ? 0 : got;
}

static size_t fast_zlib(const uint8_t *from, size_t n) {
  static uint8_t *room;
  struct isal_zstream stream;
  if (!room) room = malloc(ISAL_DEF_LVL2_EXTRA_LARGE);
  isal_deflate_init(&stream);
  stream.level = 2, stream.level_buf = room, stream.level_buf_size = ISAL_DEF_LVL2_EXTRA_LARGE;
  stream.gzip_flag = IGZIP_ZLIB, stream.end_of_stream = 1, stream.flush = NO_FLUSH;
  stream.next_in = (uint8_t *)from, stream.avail_in = n;
  stream.next_out = packed, stream.avail_out = ROOM;
  return isal_deflate(&stream) ? 0 : stream.total_out;
}

static size_t zstd(const uint8_t *from, size_t n) {
  static ZSTD_CCtx *coder;
  if (!coder) coder = ZSTD_createCCtx();
  size_t got = ZSTD_compressCCtx(coder, packed, ROOM, from, n, 3);
  return ZSTD_isError(got) ? 0 : got;
}

static size_t unzstd(size_t packed_bytes, size_t n) {
  size_t got = ZSTD_decompress(plain, n, packed, packed_bytes);
  return ZSTD_isError(got) ? 0 : got;
}

static size_t bz2(const uint8_t *from, size_t n) {
  unsigned got = ROOM;
  return BZ2_bzBuffToBuffCompress((char *)packed, &got, (char *)from, n, 9, 0, 0) ? 0 : got;
}

static size_t unbz2(size_t packed_bytes, size_t n) {
  unsigned got = n;
  return BZ2_bzBuffToBuffDecompress((char *)plain, &got, (char *)packed, packed_bytes, 0, 0) ? 0 : got;
}

/** Over every chunk, or one of `share` and then taken so many times. */
static void code(const char *name, size_t (*pack)(const uint8_t *, size_t),
                 size_t (*unpack)(size_t, size_t), size_t share) {
  double packing = 0, unpacking = 0, packed_bytes = 0, seen = 0;
  for (size_t at = 0; at < length; at += CHUNK * share) {
    size_t n = length - at < CHUNK ? length - at : CHUNK;
    double began = cpu_seconds();
    size_t got = pack(data + at, n);
    packing += cpu_seconds() - began;
    if (!got) fail(name);
    began = cpu_seconds();
    if (unpack && (unpack(got, n) != n || memcmp(plain, data + at, n))) fail(name);
    unpacking += cpu_seconds() - began;
    packed_bytes += got, seen += n;
  }
  double times = length / seen;
  printf(",\"%s\":{\"pack\":%.4f,\"unpack\":%.4f,\"bytes\":%.0f}", name, packing * times,
         unpacking * times, packed_bytes * times);
}

// --- The wire and the disk

static void receive_head(int server, char *head, size_t room, size_t *filled) {
  *filled = 0;
  do {
    ssize_t got = recv(server, head + *filled, room - 1 - *filled, 0);
    if (got <= 0) fail("the sink has gone");
    head[*filled += got] = 0;
  } while (!strstr(head, "\r\n\r\n"));
}

static void send_all(int server, const void *bytes, size_t n) {
  for (ssize_t sent; n; n -= sent, bytes = (const char *)bytes + sent)
    if ((sent = send(server, bytes, n, MSG_NOSIGNAL)) <= 0) fail("the sink has gone");
}

static void transfer(int port, double *putting, double *getting) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int server = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(server, (void *)&to, sizeof to)) fail("no sink there");
  char head[4096];
  size_t filled;
  *putting = *getting = 0;
  for (size_t at = 0; at < length; at += CHUNK) {
    size_t n = length - at < CHUNK ? length - at : CHUNK;
    double began = cpu_seconds();
    send_all(server, head, snprintf(head, sizeof head, "PUT /v1/limits/c/o HTTP/1.1\r\n"
             "content-length: %zu\r\nx-unhashed: yes\r\n\r\n", n));
    send_all(server, data + at, n);
    receive_head(server, head, sizeof head, &filled);
    *putting += cpu_seconds() - began;
    began = cpu_seconds();
    send_all(server, head, snprintf(head, sizeof head, "GET /v1/limits/c/o HTTP/1.1\r\n\r\n"));
    receive_head(server, head, sizeof head, &filled);
    for (size_t left = n - (filled - (strstr(head, "\r\n\r\n") + 4 - head)); left;) {
      ssize_t got = recv(server, plain, left < 1 << 20 ? left : 1 << 20, 0);
      if (got <= 0) fail("the sink has gone");
      left -= got;
    }
    *getting += cpu_seconds() - began;
  }
  close(server);
}

static double write_out(const char *path) {
  int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (file < 0) fail(path);
  double began = cpu_seconds();
  for (size_t at = 0; at < length;) {
    size_t n = length - at < 1 << 20 ? length - at : 1 << 20;
    ssize_t done = pwrite(file, data + at, n, at);
    if (done <= 0) fail(path);
    at += done;
  }
  if (fsync(file)) fail(path);
  double took = cpu_seconds() - began;
  close(file);
  unlink(path);
  return took;
}

int main(int count, char **values) {
  if (count != 4) fail("usage: limits FILE PORT SCRATCH");
  int file = open(values[1], O_RDONLY);
  if (file < 0) fail(values[1]);
  length = lseek(file, 0, SEEK_END) / (2 * BLOCK) * (2 * BLOCK);
  data = aligned(length), packed = aligned(ROOM), plain = aligned(ROOM);
  double reading = 0, zeros, putting, getting;
  for (int turn = 0; turn < 2; turn++) { // The first brings it into the page cache.
    reading = cpu_seconds();
    for (size_t at = 0; at < length;) {
      ssize_t got = pread(file, data + at, length - at < 1 << 20 ? length - at : 1 << 20, at);
      if (got <= 0) fail(values[1]);
      at += got;
    }
    reading = cpu_seconds() - reading;
  }
  double sha256 = digest_blocks(&zeros), md5 = cpu_seconds();
  volatile uint32_t seen = md5_pair(data, data + length / 2, length / 2);
  (void)seen, md5 = cpu_seconds() - md5;
  transfer(atoi(values[2]), &putting, &getting);
  printf("{\"bytes\":%zu,\"read\":%.4f,\"zeros\":%.4f,\"sha256\":%.4f,\"md5\":%.4f,\"put\":%.4f,"
         "\"get\":%.4f,\"write\":%.4f", length, reading, zeros, sha256, md5, putting, getting,
         write_out(values[3]));
  deflater = libdeflate_alloc_compressor(6), inflater = libdeflate_alloc_decompressor();
  code("zlib", zlib, unzlib, 1);
  code("fastZlib", fast_zlib, NULL, 1);
  code("zstd", zstd, unzstd, 1);
  code("bz2", bz2, unbz2, SLOW_SHARE);
  puts("}");
}
