#include "base/network.h"

#include <string.h>

static bool network_has(const struct network *network, const uint8_t octets[16])
{
    size_t whole = network->prefix_len / 8;
    unsigned left = network->prefix_len % 8;
    if (memcmp(network->octets, octets, whole) != 0)
        return false;
    return left == 0 || (network->octets[whole] ^ octets[whole]) >> (8 - left) == 0;
}

bool networks_have(const struct networks *networks, const uint8_t octets[16])
{
    for (size_t i = 0; i < networks->count; i++)
        if (network_has(&networks->list[i], octets))
            return true;
    return false;
}

bool network_is_ipv4(const uint8_t octets[16])
{
    static const uint8_t prefix[12] = {[10] = 0xFF, [11] = 0xFF};
    return memcmp(octets, prefix, sizeof prefix) == 0;
}
