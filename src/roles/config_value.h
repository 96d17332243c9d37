#ifndef POSTERN_ROLES_CONFIG_VALUE_H
#define POSTERN_ROLES_CONFIG_VALUE_H

#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "roles/config.h"

enum { SOCKET_PATH_LEN_MAX = 107 /* sun_path of unix(7) */ };

/*
 * Words of the configuration as values. Each returns NULL, or what is wrong with the word, as a
 * static text that goes behind the word itself ("is no IP address"); outputs are then untouched.
 */

/* "512", "64K", "50M", "2G". */
const char *config_value_size(struct str word, uint64_t *ret_size);

/* "90s", "5m", "1h", "7d". */
const char *config_value_duration(struct str word, uint64_t *ret_ms);

/* "yes", "no". */
const char *config_value_yes_no(struct str word, bool *ret_yes);

/* IPv4 mapped into IPv6. */
const char *config_value_address(struct str word, uint8_t ret_octets[16]);

/* "10.0.0.0/8", "2001:db8::/32", or a single address. */
const char *config_value_network(struct str word, struct network *ret_network);

/* "192.0.2.1:25", "[2001:db8::1]:25", "*:25", "systemd:NAME": fills in at, octets, port and so on.
 */
const char *config_value_endpoint(struct str word, struct config_listener *ret_listener);

/* "192.0.2.1", "192.0.2.1:5353", "[2001:db8::1]:5353", "2001:db8::1"; port 53 where none is. */
const char *config_value_server(struct str word, struct config_server *ret_server);

/* A host name, as A-labels in the arena. */
const char *config_value_domain(struct arena *arena, struct str word, struct str *ret_name);

/* "example.org", ".example.org", "*": in A-labels, in the arena. */
const char *config_value_pattern(struct arena *arena, struct str word, struct str *ret_pattern);

/* A host or an IP address, with or without a port (IPv6 with one stands in brackets), or
 * "unix:/path".
 */
const char *config_value_place(struct arena *arena, struct str word, struct route_place *ret_place);

/* An absolute path of at most len_max bytes. */
const char *config_value_path(struct str word, size_t len_max, struct str *ret_path);

/* The name of a system's user, or a decimal uid; not root. */
const char *config_value_user(struct str word, struct str *ret_user);

/* A mailbox's name, in normal form C in the arena; not INBOX. */
const char *config_value_mailbox(struct arena *arena, struct str word, struct str *ret_name);

#endif
