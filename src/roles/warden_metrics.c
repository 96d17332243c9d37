#include <stdlib.h>

#include "roles/warden_state.h"

/*
 * What other edges than the asking one have counted. The warden hands their words on without
 * reading them.
 */
enum { TEXT_MAX = 1024 * 1024 };

struct gathering {
    struct child *asker;
    struct channel *channel; /* lives until it is answered */
    uint32_t id;
    unsigned waiting; /* for so many, and one while they are being asked */
    struct buf text;
};

static void answered(struct gathering *g)
{
    if (--g->waiting > 0)
        return;
    ipc_edges_metrics_reply(g->channel, g->id,
                            &(struct ipc_edges_metrics_out){.text = buf_str(&g->text)});
    g->asker->gathering = NULL;
    buf_release(&g->text);
    free(g);
}

static void on_text(void *context, enum status_code status, const struct ipc_edge_metrics_out *out)
{
    struct gathering *g = context;
    if (status == STATUS_OK && !buf_append_str(&g->text, out->text))
        g->text.failed = false; /* the others' may still fit */
    answered(g);
}

/* One at a time for each edge, so that none can fill our memory. */
void warden_on_edges_metrics(void *context, struct channel *from, uint32_t id)
{
    struct child *asker = context;
    struct warden *w = asker->warden;
    struct gathering *g = asker->gathering ? NULL : calloc(1, sizeof *g);
    if (!g) {
        ipc_edges_metrics_reply(from, id, &(struct ipc_edges_metrics_out){.text = STR("")});
        return;
    }
    *g = (struct gathering){.asker = asker, .channel = from, .id = id, .waiting = 1};
    buf_init(&g->text, TEXT_MAX);
    asker->gathering = g;
    for (size_t i = 0; i < w->child_count; i++) {
        struct child *c = &w->children[i];
        if (c == asker || c->role != ROLE_EDGE || !c->ready)
            continue;
        g->waiting += ipc_edge_metrics_call(link_channel(c->link), on_text, g) != 0;
    }
    answered(g);
}
