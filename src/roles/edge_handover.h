#ifndef POSTERN_ROLES_EDGE_HANDOVER_H
#define POSTERN_ROLES_EDGE_HANDOVER_H

#include <stdbool.h>

#include "base/status.h"
#include "roles/edge.h"

/*
 * Gives a logged-in IMAP or POP3 session to a mailroom: one end of a socket pair goes there, the
 * other stays for the pump (edge_pump.h).
 */
typedef void edge_handed_over(void *context, enum status_code status);

struct edge_handover {
    struct edge_conn *conn;
    struct channel *channel;
    uint32_t call;
    int fd; /* our end while the mailroom has not answered; -1 */
    edge_handed_over *done;
    void *context;
};

void edge_handover_init(struct edge_handover *h, struct edge_conn *conn, edge_handed_over *done,
                        void *context);

/* False: it cannot be done now, done will not be called. */
bool edge_handover_start(struct edge_handover *h, const struct edge_identity *who);

/* Our end, once done was called with STATUS_OK; the caller's from then on. */
int edge_handover_take(struct edge_handover *h);

void edge_handover_release(struct edge_handover *h);

#endif
