#ifndef POSTERN_SIM_WIRE_H
#define POSTERN_SIM_WIRE_H

#include <openssl/types.h>

#include "base/buf.h"
#include "sim/world.h"

/*
 * A client's connection, in clear or under TLS. Nothing moves but by wire_move: what is to be said
 * waits in `out`, what was heard in `heard`, until somebody takes it.
 */
struct wire {
    struct world *world;
    unsigned number;
    int fd; /* -1: not connected */
    SSL *ssl;
    bool shaking;
    bool deaf; /* reads nothing: what is sent here has to wait */
    struct buf out;
    struct buf heard;
};

void wire_init(struct wire *w, struct world *world);
void wire_release(struct wire *w);

/* False: nobody is there. TLS from the first octet where the listener has it. */
bool wire_open(struct wire *w, enum world_listener listener);

/* STARTTLS was agreed to. */
void wire_start_tls(struct wire *w);

/* At most so many octets out, and in what has come. False: it is over, and closed. */
bool wire_move(struct wire *w, size_t most);

/* Without a word. */
void wire_drop(struct wire *w);

/* The next line of `heard` without its CRLF, for as long as nothing moves; false: none yet. */
bool wire_line(struct wire *w, struct str *ret_line, size_t *ret_size);

#endif
