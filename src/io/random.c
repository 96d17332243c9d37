#include "io/random.h"

#include <sys/random.h>
#include <sys/types.h>

#include <errno.h>

#include "base/bug.h"

void random_bytes(void *ret_bytes, size_t len)
{
    unsigned char *at = ret_bytes;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        invariant(n > 0 || errno == EINTR);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
}

uint64_t random_u64(void)
{
    uint64_t value;
    random_bytes(&value, sizeof value);
    return value;
}
