#ifndef POSTERN_IO_RANDOM_H
#define POSTERN_IO_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fills with the kernel's randomness; cannot fail. The only place that draws any. */
void random_bytes(void *ret_bytes, size_t len);
uint64_t random_u64(void);

#endif
