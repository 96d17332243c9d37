#ifndef POSTERN_ROLES_EDGE_MESSAGE_H
#define POSTERN_ROLES_EDGE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/now.h"
#include "base/status.h"
#include "base/str.h"
#include "base/text.h"
#include "ipc/ipc_messages.h"
#include "mail/header.h"
#include "roles/edge.h"

/*
 * A message on its way in, from MAIL to the vault's word: envelope, body (hashed, parsed and
 * compressed in one pass, never whole in memory), and the call that commits it.
 *
 *     edge_message_new, edge_message_add_recipient ...
 *     edge_message_begin, edge_message_write ...
 *     edge_message_finish       the facts; what the message is refused for is known now
 *     edge_message_accept       calls back once
 *     edge_message_free         at any time; forgets a call on its way
 */
struct edge_message;

struct edge_message_facts {
    uint64_t size;
    struct header_facts header;
};

/*
 * NULL: no memory. Both are copied. reverse_path comes without angle brackets; empty for the null
 * path. The envelope's body is what the client said; it is corrected where the octets say more.
 * payer: who has a share of the budget for bodies and no more (a key of edge_counts); 0: nobody.
 */
struct edge_message *edge_message_new(struct edge *edge, uint64_t payer, struct str reverse_path,
                                      const struct ipc_envelope *envelope, struct now now);
void edge_message_free(struct edge_message *m);

/* For logs and the trace; NUL-terminated. */
const char *edge_message_id(const struct edge_message *m);
struct str edge_message_reverse_path(const struct edge_message *m);
size_t edge_message_recipient_count(const struct edge_message *m);

/* The only recipient, or the first of them. */
struct str edge_message_recipient(const struct edge_message *m, size_t index);

/* A recipient with what the client asks to be told of it, and where the mailroom sends it. */
struct edge_recipient {
    struct str address;
    uint8_t notify; /* as in ipc.table's accept_recipient */
    struct text orcpt;
    const struct ipc_target *targets;
    size_t target_count;
    const struct ipc_relay *relays;
    size_t relay_count;
};

/* Copies. False: no memory, or the message would go more ways than LIMIT_MESSAGE_WAYS. */
bool edge_message_add_recipient(struct edge_message *m, const struct edge_recipient *recipient);

/*
 * The body begins. received: the fields that go on top (Received). complete: Date and Message-ID
 * are added where they are missing (RFC 6409 §8). settings are borrowed until the message ends.
 * False: the budget for bodies, the payer's share of it, or memory is spent (452 4.3.1).
 */
bool edge_message_begin(struct edge_message *m, struct str received,
                        const struct edge_settings *settings, bool complete, struct now now);

/* Octets as received, dots removed. */
void edge_message_write(struct edge_message *m, struct str octets);

/* True while the vault is behind: read no more from this client until edge_message_room. */
bool edge_message_is_full(const struct edge_message *m);

/* Called (from the loop, not from inside write) when a full message has room again. */
void edge_message_on_room(struct edge_message *m, void (*room)(void *context), void *context);

/*
 * All octets have come. Facts borrow the message. Not OK: a part of it is lost. NO_MEMORY: the
 * budget for bodies was spent while it grew; else what the vault said of a part.
 */
MUST_USE enum status_code edge_message_finish(struct edge_message *m,
                                              struct edge_message_facts *ret_facts);

/* Who sent it, for the trace; all borrowed for the call. */
struct edge_message_origin {
    uint8_t listener_kind;
    uint64_t account;
    int64_t counted; /* as in ipc.table */
    struct text helo;
    struct str peer;
    struct str tls;
};

/*
 * results: one for each recipient, in order; NULL where the vault did not answer (451). Called
 * once, never from inside. False: there is no vault now, and no call will come.
 */
typedef void edge_message_accepted(void *context, enum status_code status,
                                   const struct ipc_accept_result *results, size_t count);
bool edge_message_accept(struct edge_message *m, const struct edge_message_origin *origin,
                         struct now now, edge_message_accepted *accepted, void *context);

/* The keys of promise 3 of those recipients that have one: to be confirmed when the reply is seen.
 * Borrowed; count may be 0. */
const struct ipc_key *edge_message_keys(const struct edge_message *m, size_t *ret_count);

/* Frees what the edge keeps for the next message. */
void edge_message_release_spare(struct edge *edge);

#endif
