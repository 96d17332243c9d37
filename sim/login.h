#ifndef POSTERN_SIM_LOGIN_H
#define POSTERN_SIM_LOGIN_H

#include "proto/sasl/client.h"
#include "sim/world.h"

/* A client's side of a SASL exchange, as it goes over a line: base64. */
struct login {
    struct sasl_client *client; /* NULL: none is under way */
};

/* A mechanism that is drawn, with its initial response: "PLAIN AGFs…". */
void login_begin(struct login *l, struct world *w, unsigned account, struct buf *out);

/* Appends the response to a challenge; false: the server is not who it should be. */
bool login_step(struct login *l, struct str challenge, struct buf *out);

/* The server says that it succeeded; false: it has not shown that it may. */
bool login_done(struct login *l);

void login_drop(struct login *l);

#endif
