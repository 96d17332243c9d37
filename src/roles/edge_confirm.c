#include "roles/edge_confirm.h"

#include <stdlib.h>

#include "base/limits.h"
#include "roles/edge.h"

enum {
    KEY_SIZE = 32,
    KEYS_MAX = 100, /* that wait */
    WAIT_MS = 100,
};

struct edge_confirmations {
    struct edge *edge;
    struct buf keys;
    struct timer timer;
};

static void on_timer(void *context)
{
    edge_confirmations_send(context);
}

struct edge_confirmations *edge_confirmations_new(struct edge *edge)
{
    struct edge_confirmations *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->edge = edge;
    buf_init(&c->keys, (size_t)KEYS_MAX * KEY_SIZE);
    timer_init(&c->timer, role_loop(edge->role), on_timer, c);
    return c;
}

void edge_confirmations_free(struct edge_confirmations *c)
{
    if (!c)
        return;
    edge_confirmations_send(c);
    timer_set(&c->timer, NEVER_MS);
    buf_release(&c->keys);
    free(c);
}

void edge_confirmations_send(struct edge_confirmations *c)
{
    struct ipc_key keys[KEYS_MAX];
    size_t count = 0;
    for (struct str all = buf_str(&c->keys); all.len > 0; all = str_skip(all, KEY_SIZE))
        keys[count++].key = str_sub(all, 0, KEY_SIZE);
    if (count > 0)
        ipc_confirm_note(c->edge->vault,
                         &(struct ipc_confirm_in){.keys = keys, .keys_count = count});
    buf_clear(&c->keys);
}

void edge_confirm(struct edge_confirmations *c, struct str key)
{
    bool alone = edge_counts_edges(c->edge->counts) <= 1;
    if (c->keys.len == 0)
        timer_set(&c->timer, role_now(c->edge->role).mono_ms + (alone ? WAIT_MS : 0));
    buf_append_str(&c->keys, key);
    if (c->keys.len == c->keys.max)
        edge_confirmations_send(c);
}
