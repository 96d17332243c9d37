#ifndef POSTERN_ROLES_EDGE_CONFIRM_H
#define POSTERN_ROLES_EDGE_CONFIRM_H

#include "base/str.h"

struct edge;

/*
 * Keys of promise 3 whose replies have reached their clients, on their way to the vault. Nobody
 * waits for them, so they leave with the next message that is committed and wake the vault for
 * nothing of their own; or after a moment, where none comes. Where there are several edges a copy
 * may come in by another one: then they leave at once.
 */
struct edge_confirmations;

/* NULL: no memory. */
struct edge_confirmations *edge_confirmations_new(struct edge *edge);
void edge_confirmations_free(struct edge_confirmations *c);

void edge_confirm(struct edge_confirmations *c, struct str key);

/* To be called before anything is sent to the vault that looks at keys. */
void edge_confirmations_send(struct edge_confirmations *c);

#endif
