/* io/random.h for simulation, in place of the kernel's: drawn from the world's seed. */
#include "io/random.h"

#include "sim/world.h"

static uint64_t randomness = 1;

void world_seed_random(uint64_t seed)
{
    randomness = seed * 0x9E3779B97F4A7C15u | 1;
}

uint64_t random_u64(void)
{
    randomness ^= randomness << 13;
    randomness ^= randomness >> 7;
    randomness ^= randomness << 17;
    return randomness * 0x2545F4914F6CDD1Du;
}

void random_bytes(void *ret_bytes, size_t len)
{
    unsigned char *at = ret_bytes;
    for (size_t i = 0; i < len; i++)
        at[i] = (unsigned char)(random_u64() >> 32);
}
