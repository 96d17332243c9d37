#ifndef POSTERN_IO_SHARED_MEMORY_H
#define POSTERN_IO_SHARED_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/*
 * Memory of a fixed size that several processes see, held by a descriptor. Its size cannot be
 * changed by anybody, so that no reader finds the ground gone under its feet; and nobody who has
 * the reader's descriptor alone can ever write it. It begins as zeroes.
 */
enum status_code shared_memory_new(size_t size, int *ret_fd) MUST_USE;

/* Another descriptor of the same, for reading only. */
enum status_code shared_memory_reader(int fd, int *ret_fd) MUST_USE;

/* All zeroes again; under the eyes of those who have it mapped. */
enum status_code shared_memory_clear(int fd, size_t size) MUST_USE;

/*
 * The descriptor may be closed then. Ends with shared_memory_unmap. STATUS_INVALID: what the
 * descriptor holds has another size.
 */
enum status_code shared_memory_map(int fd, size_t size, bool writable, void **ret_memory) MUST_USE;
void shared_memory_unmap(void *memory, size_t size);

#endif
