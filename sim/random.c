/*
 * io/random.h for simulation, in place of the kernel's: drawn from the world's seed. OpenSSL and
 * libsodium are made to draw from it too.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "io/random.h"

#include <openssl/rand.h>
#include <sodium.h>

#include "base/bug.h"
#include "sim/world.h"

static uint64_t randomness = 1;

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

/* ---- For the libraries ------------------------------------------------------------------------
 */

static int openssl_bytes(unsigned char *out, int len)
{
    random_bytes(out, (size_t)len);
    return 1;
}

static int openssl_status(void)
{
    return 1;
}

static const char *sodium_name(void)
{
    return "world";
}

static uint32_t sodium_u32(void)
{
    return (uint32_t)(random_u64() >> 32);
}

static void sodium_bytes(void *const out, const size_t len)
{
    random_bytes(out, len);
}

void world_seed_random(uint64_t seed)
{
    static const RAND_METHOD openssl = {
        .bytes = openssl_bytes, .pseudorand = openssl_bytes, .status = openssl_status};
    static randombytes_implementation sodium = {
        .implementation_name = sodium_name, .random = sodium_u32, .buf = sodium_bytes};
    randomness = seed * 0x9E3779B97F4A7C15u | 1;
    invariant(RAND_set_rand_method(&openssl) == 1);
    invariant(randombytes_set_implementation(&sodium) == 0);
}
