#include "roles/config_value.h"

#include <arpa/inet.h>

#include "codec/fold.h"
#include "codec/idn.h"

static const char no_memory[] = "needs more memory than there is";

/* Digits and one letter of units; the letters stand for the factors of the same place. */
static bool read_unit(struct str word, const char *units, const uint64_t *factors, uint64_t *ret)
{
    uint64_t factor = 1, value;
    char last = word.len ? word.ptr[word.len - 1] : '\0';
    const char *unit = last ? strchr(units, last) : NULL;
    if (unit) {
        factor = factors[unit - units];
        word.len--;
    }
    if (!str_to_u64(word, UINT64_MAX / factor, &value))
        return false;
    *ret = value * factor;
    return true;
}

const char *config_value_size(struct str word, uint64_t *ret_size)
{
    static const uint64_t factors[] = {1 << 10, 1 << 20, 1 << 30};
    if (!read_unit(word, "KMG", factors, ret_size))
        return "is no size (like 512, 64K, 50M or 2G)";
    return NULL;
}

const char *config_value_duration(struct str word, uint64_t *ret_ms)
{
    static const uint64_t factors[] = {1000, 60 * 1000, 3600 * 1000, 86400 * 1000};
    if (str_ends(word, STR("ms")) && str_to_u64(str_sub(word, 0, word.len - 2), UINT64_MAX, ret_ms))
        return NULL;
    bool has_unit = word.len > 0 && !ascii_is_digit(word.ptr[word.len - 1]);
    if (!has_unit || !read_unit(word, "smhd", factors, ret_ms))
        return "is no duration (like 90s, 5m, 1h or 7d)";
    return NULL;
}

const char *config_value_yes_no(struct str word, bool *ret_yes)
{
    bool yes = str_eq(word, STR("yes"));
    if (!yes && !str_eq(word, STR("no")))
        return "is neither yes nor no";
    *ret_yes = yes;
    return NULL;
}

/* ---- Addresses ------------------------------------------------------------------------------- */

enum { MAPPED_PREFIX_LEN = 96 };

static bool is_mapped(const uint8_t octets[16])
{
    static const uint8_t prefix[12] = {[10] = 0xFF, [11] = 0xFF};
    return memcmp(octets, prefix, sizeof prefix) == 0;
}

static bool read_ipv4(struct str word, uint8_t octets[16])
{
    char text[INET_ADDRSTRLEN];
    uint8_t address[4];
    if (!str_to_c(word, text, sizeof text) || inet_pton(AF_INET, text, address) != 1)
        return false;
    memset(octets, 0, 10);
    memset(octets + 10, 0xFF, 2);
    memcpy(octets + 12, address, 4);
    return true;
}

static bool read_ipv6(struct str word, uint8_t octets[16])
{
    char text[INET6_ADDRSTRLEN];
    uint8_t address[16];
    if (!str_to_c(word, text, sizeof text) || inet_pton(AF_INET6, text, address) != 1)
        return false;
    memcpy(octets, address, sizeof address);
    return true;
}

const char *config_value_address(struct str word, uint8_t ret_octets[16])
{
    if (!read_ipv4(word, ret_octets) && !read_ipv6(word, ret_octets))
        return "is no IP address";
    return NULL;
}

static bool has_bits_behind(const struct network *network)
{
    for (unsigned bit = network->prefix_len; bit < 128; bit++)
        if (network->octets[bit / 8] & (0x80u >> bit % 8))
            return true;
    return false;
}

const char *config_value_network(struct str word, struct network *ret_network)
{
    struct network network = {.prefix_len = 128};
    ptrdiff_t slash = str_find_byte(word, '/');
    struct str address = slash < 0 ? word : str_sub(word, 0, (size_t)slash);
    bool ipv4 = read_ipv4(address, network.octets);
    if (!ipv4 && !read_ipv6(address, network.octets))
        return "is no IP address or network (like 10.0.0.0/8 or 2001:db8::/32)";
    if (slash >= 0) {
        uint64_t len;
        if (!str_to_u64(str_skip(word, (size_t)slash + 1), ipv4 ? 32 : 128, &len))
            return "has a wrong prefix length";
        network.prefix_len = (unsigned)len + (ipv4 ? MAPPED_PREFIX_LEN : 0);
    }
    if (has_bits_behind(&network))
        return "has bits set behind its prefix";
    *ret_network = network;
    return NULL;
}

/* Splits "HOST:PORT"; the host may be in brackets. */
static const char *split_port(struct str word, struct str *ret_host, uint16_t *ret_port)
{
    ptrdiff_t colon = str_rfind_byte(word, ':');
    uint64_t port;
    if (colon < 0)
        return "has no port (like 192.0.2.1:25, [2001:db8::1]:25 or *:25)";
    if (!str_to_u64(str_skip(word, (size_t)colon + 1), 65535, &port) || port == 0)
        return "does not end in a port from 1 to 65535";
    *ret_host = str_sub(word, 0, (size_t)colon);
    *ret_port = (uint16_t)port;
    return NULL;
}

static bool take_brackets(struct str *host)
{
    if (host->len < 2 || host->ptr[0] != '[' || host->ptr[host->len - 1] != ']')
        return false;
    *host = str_sub(*host, 1, host->len - 2);
    return true;
}

static const char *read_systemd(struct str name, struct config_listener *listener)
{
    /* systemd.socket(5): FileDescriptorName= has no colon and no control characters. */
    if (name.len == 0 || name.len > 255 || str_find_byte(name, ':') >= 0)
        return "names no socket of systemd";
    listener->at = LISTEN_AT_SYSTEMD;
    listener->systemd_name = name;
    return NULL;
}

static const char *read_unix(struct str path, struct config_listener *listener)
{
    if (path.len == 0 || path.ptr[0] != '/' || path.len > SOCKET_PATH_LEN_MAX)
        return "has no absolute path, of a length that a socket can have, behind \"unix:\"";
    listener->at = LISTEN_AT_UNIX;
    listener->unix_path = path;
    return NULL;
}

const char *config_value_endpoint(struct str word, struct config_listener *ret_listener)
{
    struct config_listener listener = *ret_listener;
    struct str host;
    listener.where = word;
    bool is_unix = str_starts(word, STR("unix:"));
    if (is_unix || str_starts(word, STR("systemd:"))) {
        const char *wrong = is_unix ? read_unix(str_skip(word, STR("unix:").len), &listener)
                                    : read_systemd(str_skip(word, STR("systemd:").len), &listener);
        if (!wrong)
            *ret_listener = listener;
        return wrong;
    }
    const char *wrong = split_port(word, &host, &listener.port);
    if (wrong)
        return wrong;
    bool ok = true;
    if (str_eq(host, STR("*"))) {
        listener.at = LISTEN_AT_ANY;
    } else if (take_brackets(&host)) {
        listener.at = LISTEN_AT_IPV6;
        ok = read_ipv6(host, listener.octets) && !is_mapped(listener.octets);
    } else {
        listener.at = LISTEN_AT_IPV4;
        ok = read_ipv4(host, listener.octets);
    }
    if (!ok)
        return "has no IP address before its port (IPv6 stands in brackets)";
    *ret_listener = listener;
    return NULL;
}

const char *config_value_server(struct str word, struct config_server *ret_server)
{
    struct config_server server = {.address = word, .port = 53};
    uint8_t octets[16];
    if (config_value_address(word, octets)) {
        const char *wrong = split_port(word, &server.address, &server.port);
        bool bracketed = take_brackets(&server.address);
        if (wrong ||
            !(bracketed ? read_ipv6(server.address, octets) : read_ipv4(server.address, octets)))
            return "is no address of a name server (like 192.0.2.1 or [2001:db8::1]:5353)";
    }
    *ret_server = server;
    return NULL;
}

/* ---- Names ----------------------------------------------------------------------------------- */

/* Puts what a codec wrote into the arena. */
static const char *keep(struct arena *arena, struct buf *text, struct str *ret_copy)
{
    bool kept = !text->failed && arena_dup(arena, buf_str(text), ret_copy);
    buf_release(text);
    return kept ? NULL : no_memory;
}

const char *config_value_domain(struct arena *arena, struct str word, struct str *ret_name)
{
    struct buf ascii;
    buf_init(&ascii, 512);
    if (!idn_to_ascii(&ascii, word)) {
        buf_release(&ascii);
        return "is no host name";
    }
    return keep(arena, &ascii, ret_name);
}

const char *config_value_pattern(struct arena *arena, struct str word, struct str *ret_pattern)
{
    bool below = str_starts(word, STR("."));
    struct buf ascii;
    if (str_eq(word, STR("*"))) {
        *ret_pattern = word;
        return NULL;
    }
    buf_init(&ascii, 512);
    if (below)
        buf_append_byte(&ascii, '.');
    if (!idn_to_ascii(&ascii, str_skip(word, below))) {
        buf_release(&ascii);
        return "is no domain (like example.org, .example.org or *)";
    }
    return keep(arena, &ascii, ret_pattern);
}

static const char *read_host(struct arena *arena, struct str word, struct route_place *place)
{
    place->has_address =
        take_brackets(&word) ? read_ipv6(word, place->octets) : read_ipv4(word, place->octets);
    if (place->has_address)
        return NULL;
    return config_value_domain(arena, word, &place->host) ? "is no host or address" : NULL;
}

const char *config_value_place(struct arena *arena, struct str word, struct route_place *ret_place)
{
    struct route_place place = {0};
    const char *wrong = NULL;
    struct str host = word;
    if (str_starts(word, STR("unix:"))) {
        wrong = config_value_path(str_skip(word, STR("unix:").len), 107, &place.unix_path);
    } else if (read_ipv6(word, place.octets)) {
        place.has_address = true;
    } else {
        if (str_rfind_byte(word, ':') >= 0 && !str_ends(word, STR("]")))
            wrong = split_port(word, &host, &place.port);
        if (!wrong)
            wrong = read_host(arena, host, &place);
    }
    if (!wrong)
        *ret_place = place;
    return wrong;
}

const char *config_value_path(struct str word, size_t len_max, struct str *ret_path)
{
    if (!str_starts(word, STR("/")))
        return "is no absolute path (it begins with \"/\")";
    if (word.len > len_max)
        return "is too long for a path";
    *ret_path = word;
    return NULL;
}

const char *config_value_user(struct str word, struct str *ret_user)
{
    uint64_t uid;
    bool numeric = str_to_u64(word, UINT32_MAX - 1, &uid);
    bool name = word.len > 0 && word.len <= 32 && !ascii_is_digit(word.ptr[0]);
    for (size_t i = 0; name && i < word.len; i++) {
        char c = word.ptr[i];
        name = ascii_is_alpha(c) || ascii_is_digit(c) || c == '_' || (c == '-' && i > 0);
    }
    if (str_eq(word, STR("-"))) {
        *ret_user = STR("");
        return NULL;
    }
    if (!numeric && !name)
        return "is no name or number of a user";
    if ((numeric && uid == 0) || str_eq(word, STR("root")))
        return "is root, which no role may be";
    *ret_user = word;
    return NULL;
}

const char *config_value_mailbox(struct arena *arena, struct str word, struct str *ret_name)
{
    struct buf name;
    bool odd = word.len == 0 || word.len > 255 || str_find_byte(word, '*') >= 0 ||
               str_find_byte(word, '%') >= 0 || str_find(word, STR("//")) >= 0 ||
               str_starts(word, STR("/")) || str_ends(word, STR("/"));
    if (odd || str_eq_nocase(word, STR("INBOX")))
        return "is no name for a mailbox";
    buf_init(&name, 1024);
    if (!fold_nfc(&name, word)) {
        buf_release(&name);
        return "is no name for a mailbox";
    }
    return keep(arena, &name, ret_name);
}
