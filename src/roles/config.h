#ifndef POSTERN_ROLES_CONFIG_H
#define POSTERN_ROLES_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/network.h"
#include "base/status.h"
#include "base/str.h"
#include "codec/conf.h"
#include "ipc/ipc_messages.h"
#include "policy/route.h"
#include "roles/log.h"

/*
 * The configuration as the roles use it; docs/postern.conf.5 says what each part means. It is
 * made from the file's text alone (no file is looked at, no name resolved), so each role makes
 * its own from the text that the warden sends.
 */

/* ---- Listeners ------------------------------------------------------------------------------- */

enum listen_kind {
    LISTEN_MX,
    LISTEN_SUBMISSION,
    LISTEN_SUBMISSIONS,
    LISTEN_LMTP,
    LISTEN_SENDMAIL, /* SMTP from this machine's users, over a Unix socket */
    LISTEN_IMAP,
    LISTEN_IMAPS,
    LISTEN_POP3,
    LISTEN_POP3S,
    LISTEN_METRICS,
    LISTEN_KINDS
};

/* As in the file: "submissions". Static. */
const char *listen_kind_name(enum listen_kind kind);

/* True where TLS begins with the first octet (imaps, pop3s, submissions). */
bool listen_kind_is_tls(enum listen_kind kind);

enum listen_tls {
    LISTEN_TLS_NO,       /* not offered */
    LISTEN_TLS_STARTTLS, /* offered, not needed */
    LISTEN_TLS_REQUIRED, /* nothing but STARTTLS before it: no MAIL, no login */
    LISTEN_TLS_DEFAULT   /* while reading only: the file does not say */
};

enum listen_at {
    LISTEN_AT_IPV4,
    LISTEN_AT_IPV6,
    LISTEN_AT_ANY,     /* all addresses, IPv6 and IPv4 */
    LISTEN_AT_SYSTEMD, /* a descriptor that systemd passes by name */
    LISTEN_AT_UNIX     /* LISTEN_SENDMAIL only */
};

/* One for each address of a `listen`; its index is its number between roles. */
struct config_listener {
    enum listen_kind kind;
    enum listen_at at;
    uint8_t octets[16]; /* LISTEN_AT_IPV4, mapped, and LISTEN_AT_IPV6 */
    uint16_t port;
    struct str systemd_name;
    struct str unix_path;
    struct str where; /* as written: "127.0.0.1:25", "systemd:smtp" */
    enum listen_tls tls;
    bool normalise_line_ends;
    struct networks proxy_from; /* who begins with a PROXY header, and must */
    int line, column;           /* in the file, for messages */
};

/* ---- The rest -------------------------------------------------------------------------------- */

struct config_certificate {
    struct str chain_file;
    struct str key_file;
    int line, chain_column, key_column; /* where they stand */
};

struct config_server {
    struct str address; /* an IP address, as text */
    uint16_t port;
};

struct config_stub {
    struct str zone; /* A-labels, no final dot */
    struct config_server *servers;
    size_t server_count;
};

struct config_resolver {
    struct config_server *forward; /* none: ask the root servers */
    size_t forward_count;
    struct config_stub *stubs;
    size_t stub_count;
    struct str *nodefault; /* zones that libunbound would answer by itself */
    size_t nodefault_count;
    struct str *trust_anchors; /* files with keys of zones, besides the root's */
    size_t trust_anchor_count;
};

/* The way out. Routes: struct route_rule of policy/route.h. */
struct config_outbound {
    bool enabled; /* false: all mail for elsewhere is refused */
    uint64_t lifetime_ms;
    uint64_t delay_notice_ms;
    uint64_t *retry_ms; /* after the first failure, the second, ...; the last one is repeated */
    size_t retry_count;
    uint64_t timeout_ms; /* at each stage of a dialogue, if that is less than usual; 0: as usual */
    uint64_t connections;
    uint64_t connections_per_destination;
    uint64_t messages_per_connection;
    uint64_t recipients_per_day; /* of an account; 0: no limit */
    uint64_t port;
    bool has_source_ipv4, has_source_ipv6;
    uint8_t source_ipv4[16], source_ipv6[16];
    struct networks refused; /* never connected to for "dns:" and "literal:" destinations */
    bool dane;
    bool mta_sts;
    uint64_t mta_sts_port;
    struct str ca_file;
};

/* For mail to recipients in some domains, however it goes. */
struct config_policy {
    struct str *domains; /* patterns, see route_pattern_matches */
    size_t domain_count;
    bool has_tls;
    enum route_tls tls;
    struct str *tls_names; /* as in struct route_rule */
    size_t tls_name_count;
    uint64_t connections;     /* to such a destination; 0: as for others */
    uint64_t rate_per_minute; /* messages; 0: no limit */
};

/* Special uses as RFC 6154 §2 has them, without the backslash, in lower case; may be empty. */
struct config_mailbox {
    struct str name; /* UTF-8, normal form C */
    struct str use;
};

/* Defaults and meanings: base/limits.h. */
struct config_limits {
    uint64_t message_size;
    uint64_t text_line_size;
    uint64_t recipients;
    uint64_t received_count;
    uint64_t errors;
    uint64_t unknown_recipients;
    uint64_t tarpit_ms;
    uint64_t greeting_delay_ms;
    uint64_t role_silence_ms;
    uint64_t transactions;
    uint64_t body_rate_min; /* octets a second */
    uint64_t body_grace_ms;
    uint64_t connections;
    uint64_t connections_per_address;
    uint64_t connection_rate_per_minute;
    uint64_t bodies_in_flight_size;
    uint64_t handshake_ms;
    uint64_t login_ms;
    uint64_t login_failures;
    uint64_t smtp_idle_ms;
    uint64_t imap_idle_ms;
    uint64_t pop3_idle_ms;
};

/* Where something stands in the file; line 0: it does not, and has its default. */
struct config_place {
    int line, column;
};

struct config {
    struct str hostname;        /* A-labels */
    struct str data;            /* the directory */
    struct str control;         /* path of the control socket */
    struct str users[ROLE_END]; /* a name or a decimal uid; for a start as root */
    struct str group;
    struct config_place user_places[ROLE_END], group_place; /* of their names */
    unsigned processes[ROLE_END]; /* of the edge 0: as many as the machine has use for */
    struct str login_domain;      /* A-labels; empty: none */
    char recipient_delimiter;     /* NUL: none */
    bool reverse_dns;
    bool log_json;
    enum log_level log_level;
    uint64_t retention_expunged_ms;
    struct networks trust;
    struct networks relay_from; /* clients of an mx listener who may send to anywhere */
    struct config_resolver resolver;
    struct config_limits limits;
    struct config_outbound outbound;

    struct config_certificate *certificates;
    size_t certificate_count;
    struct config_listener *listeners;
    size_t listener_count;
    struct config_mailbox *mailboxes; /* of a new account, besides INBOX */
    size_t mailbox_count;
    struct route_rules routes; /* policy/route.h */
    struct config_policy *policies;
    size_t policy_count;
};

/* The first policy that has a domain (A-labels, lower case), or NULL. */
const struct config_policy *config_policy_of(const struct config *c, struct str domain);

/* What an arena for config_parse should have; a larger file is refused. */
enum { CONFIG_TEXT_SIZE_MAX = 256 * 1024, CONFIG_ARENA_SIZE = 16 * 1024 * 1024 };

/*
 * Reads the text of a configuration file. Everything lives in the arena; text is copied. Returns
 * STATUS_INVALID where errors says what is wrong (*ret_config then has what could be read, to look
 * for more errors in it), and STATUS_NO_MEMORY or STATUS_TOO_BIG.
 */
enum status_code config_parse(struct str text, struct arena *arena, struct config *ret_config,
                              struct conf_errors *errors) MUST_USE;

#endif
