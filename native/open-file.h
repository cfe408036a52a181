// What Node's fs cannot ask of an open file or block device. All return the negative errno where the
// system refuses.

#pragma once

#include <stddef.h>
#include <stdint.h>

/** Where the first data at or after `offset` begins. */
int64_t file_seek_data(int fd, int64_t offset);

/** Where the first hole at or after `offset` begins; the end of the file is one. */
int64_t file_seek_hole(int fd, int64_t offset);

/** Makes a part of it read as zeros and gives its room back; 0 where that is done. */
int64_t file_punch_hole(int fd, int64_t offset, int64_t length);

/** The size of a block device in bytes. */
int64_t file_device_size(int fd);

/** Makes private memory read as zeros; its whole pages go back to the system until they are written to. */
void memory_give_back(uint8_t *start, size_t length);
