#define _GNU_SOURCE

#include "open-file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) == sizeof(int64_t), "large files");

// Seeking moves the offset of the descriptor, which nobody uses who reads and writes at offsets.
static int64_t seek(int fd, int64_t offset, int whence) {
  off_t found = lseek(fd, offset, whence);
  return found < 0 ? -errno : found;
}

int64_t file_seek_data(int fd, int64_t offset) {
  return seek(fd, offset, SEEK_DATA);
}

int64_t file_seek_hole(int fd, int64_t offset) {
  return seek(fd, offset, SEEK_HOLE);
}

int64_t file_punch_hole(int fd, int64_t offset, int64_t length) {
  int result;
  do {
    result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
  } while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : 0;
}

int64_t file_device_size(int fd) {
  uint64_t size = 0;
  return ioctl(fd, BLKGETSIZE64, &size) < 0 ? -errno : (int64_t)size;
}

void memory_give_back(uint8_t *start, size_t length) {
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t first = ((uintptr_t)start + page - 1) / page * page;
  const uintptr_t end = ((uintptr_t)start + length) / page * page;
  uint8_t *const behind = start + length;
  if (end <= first || madvise((void *)first, end - first, MADV_DONTNEED) != 0) {
    memset(start, 0, length); // Nothing to give, or locked in memory.
    return;
  }
  memset(start, 0, (size_t)((uint8_t *)first - start));
  memset((uint8_t *)end, 0, (size_t)(behind - (uint8_t *)end));
}
