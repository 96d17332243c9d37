#include "io/resolver.h"

#include <stdio.h>
#include <stdlib.h>

#include <unbound-event.h>
#include <unbound.h>

#include "base/bug.h"
#include "base/limits.h"

enum { CLASS_IN = 1, TYPE_A = 1, OPTION_SIZE = 512, ANCHOR_SIZE = 2048, SECURE = 2, BOGUS = 1 };
enum { HEADER_SIZE = 12, RCODE_NOERROR = 0, RCODE_BITS = 0x0f };

struct resolver {
    struct loop *loop;
    struct ub_ctx *ctx;
    struct resolver_question *open;
    size_t open_count;
};

/* ---- Settings ------------------------------------------------------------------------------ */

static int set_option(struct ub_ctx *ctx, const char *option, struct str value)
{
    char text[OPTION_SIZE];
    return str_to_c(value, text, sizeof text) ? ub_ctx_set_option(ctx, option, text) : -1;
}

static bool print_server(const struct resolver_server *server, char *text, size_t size)
{
    int n = snprintf(text, size, "%.*s@%u", STR_ARG(server->address), server->port);
    return n > 0 && (size_t)n < size;
}

static int add_servers(struct ub_ctx *ctx, const struct resolver_settings *s)
{
    char server[OPTION_SIZE], zone[OPTION_SIZE];
    int failed = 0;
    for (size_t i = 0; i < s->forward_count && !failed; i++)
        failed = !print_server(&s->forward[i], server, sizeof server) ||
                 ub_ctx_set_fwd(ctx, server) != 0;
    for (size_t i = 0; i < s->stub_count && !failed; i++) {
        failed = !str_to_c(s->stubs[i].zone, zone, sizeof zone);
        for (size_t j = 0; j < s->stubs[i].server_count && !failed; j++)
            failed = !print_server(&s->stubs[i].servers[j], server, sizeof server) ||
                     ub_ctx_set_stub(ctx, zone, server, 0) != 0;
    }
    return failed;
}

/* The next record of a trust anchor file: no comment, no empty line. */
static bool next_anchor(struct str *text, struct str *ret_line)
{
    struct str line;
    while (str_split(text, '\n', &line)) {
        line = str_trim(line);
        if (str_empty(line) || line.ptr[0] == ';')
            continue;
        *ret_line = line;
        return true;
    }
    return false;
}

static struct str without_final_dot(struct str name)
{
    return str_ends(name, STR(".")) ? str_sub(name, 0, name.len - 1) : name;
}

/* Is there a key of the zone itself? */
static bool has_anchor(const struct resolver_settings *s, struct str zone)
{
    for (size_t i = 0; i < s->anchor_count; i++) {
        struct str text = s->anchors[i], line, owner;
        while (next_anchor(&text, &line)) {
            size_t len = 0;
            while (len < line.len && line.ptr[len] != ' ' && line.ptr[len] != '\t')
                len++;
            owner = without_final_dot(str_sub(line, 0, len));
            if (str_eq_nocase(owner, without_final_dot(zone)))
                return true;
        }
    }
    return false;
}

static int add_anchors(struct ub_ctx *ctx, const struct resolver_settings *s)
{
    char key[ANCHOR_SIZE];
    struct str line;
    int failed = 0;
    for (size_t i = 0; i < s->anchor_count && !failed; i++) {
        struct str text = s->anchors[i];
        while (!failed && next_anchor(&text, &line))
            failed = !str_to_c(line, key, sizeof key) || ub_ctx_add_ta(ctx, key) != 0;
    }
    return failed;
}

/* Before anything is asked: zones of one's own, which the root's keys cannot vouch for. */
static int trust_private_zones(struct ub_ctx *ctx, const struct resolver_settings *s)
{
    int failed = 0;
    for (size_t i = 0; i < s->nodefault_count && !failed; i++)
        if (!has_anchor(s, s->nodefault[i]))
            failed = set_option(ctx, "domain-insecure:", s->nodefault[i]);
    /* Their servers may well be here. */
    if (!failed && s->stub_count + s->forward_count > 0)
        failed = ub_ctx_set_option(ctx, "do-not-query-localhost:", "no");
    return failed;
}

/* Afterwards: libunbound has then made its own empty zones of these names, which are in the way. */
static int remove_default_zones(struct ub_ctx *ctx, const struct resolver_settings *s)
{
    char zone[OPTION_SIZE];
    int failed = 0;
    for (size_t i = 0; i < s->nodefault_count && !failed; i++)
        failed = !str_to_c(s->nodefault[i], zone, sizeof zone) || ub_ctx_zone_remove(ctx, zone);
    return failed;
}

static void first_answered(void *context, int rcode, void *packet, int len, int secure, char *bogus,
                           int limited)
{
    (void)context, (void)rcode, (void)packet, (void)len, (void)secure, (void)bogus, (void)limited;
}

struct resolver *resolver_new(struct loop *l, const struct resolver_settings *settings)
{
    int query;
    struct resolver *r = calloc(1, sizeof *r);
    struct ub_ctx *ctx = r ? ub_ctx_create_event(loop_event_base(l)) : NULL;
    if (!ctx) {
        free(r);
        return NULL;
    }
    *r = (struct resolver){.loop = l, .ctx = ctx};
    ub_ctx_debugout(ctx, NULL);
    /* Its first question makes the resolver load all it needs, before the sandbox closes. */
    if (add_servers(ctx, settings) || trust_private_zones(ctx, settings) ||
        add_anchors(ctx, settings) ||
        ub_resolve_event(ctx, "localhost", TYPE_A, CLASS_IN, NULL, first_answered, &query) ||
        remove_default_zones(ctx, settings)) {
        resolver_free(r);
        return NULL;
    }
    return r;
}

/* ---- Questions ----------------------------------------------------------------------------- */

static void leave(struct resolver_question *q)
{
    if (q->under_way)
        ub_cancel(q->resolver->ctx, q->query);
    q->under_way = false;
    timer_set(&q->timer, NEVER_MS);
    hook_cancel(&q->hook);
    *q->at = q->next;
    if (q->next)
        q->next->at = q->at;
    q->resolver->open_count--;
    q->resolver = NULL;
}

/* q may be gone afterwards, or asking again. */
static void finish(struct resolver_question *q, const struct resolver_answer *answer)
{
    leave(q);
    q->answered(q->context, answer);
}

static void on_hook(void *context)
{
    struct resolver_question *q = context;
    struct buf packet = q->packet;
    struct resolver_answer answer = {
        .status = q->status, .rcode = q->rcode, .secure = q->secure, .packet = buf_str(&packet)};
    buf_init(&q->packet, UINT16_MAX);
    finish(q, &answer);
    buf_release(&packet);
}

static void finish_later(struct resolver_question *q, enum status_code status)
{
    q->status = status;
    hook_queue(&q->hook, q->resolver->loop);
}

static void on_timer(void *context)
{
    finish(context, &(struct resolver_answer){.status = STATUS_TIMEOUT});
}

/* libunbound's own failure, or what the packet says (RFC 1035 §4.1.1). */
static int rcode_of(int rcode, const unsigned char *packet, int len)
{
    return rcode == RCODE_NOERROR && len >= HEADER_SIZE ? packet[3] & RCODE_BITS : rcode;
}

static enum status_code status_of(int rcode, int len, int secure)
{
    if (secure == BOGUS)
        return STATUS_CORRUPT;
    return len >= HEADER_SIZE && (rcode == RCODE_NOERROR || rcode == RESOLVER_NXDOMAIN) ? STATUS_OK
                                                                                        : STATUS_IO;
}

static void on_answer(void *context, int rcode, void *packet, int len, int secure, char *bogus,
                      int limited)
{
    struct resolver_question *q = context;
    rcode = rcode_of(rcode, packet, len);
    struct resolver_answer answer = {
        .status = status_of(rcode, len, secure), .rcode = rcode, .secure = secure == SECURE};
    (void)bogus, (void)limited;
    q->under_way = false;
    if (answer.status == STATUS_OK)
        answer.packet = str_make(packet, (size_t)len);
    if (!q->asking) {
        finish(q, &answer);
        return;
    }
    q->rcode = answer.rcode;
    q->secure = answer.secure;
    finish_later(q, buf_append_str(&q->packet, answer.packet) ? answer.status : STATUS_NO_MEMORY);
}

void resolver_question_init(struct resolver_question *q, resolver_answered *answered, void *context)
{
    *q = (struct resolver_question){.answered = answered, .context = context};
    buf_init(&q->packet, UINT16_MAX);
}

void resolver_ask(struct resolver *r, struct resolver_question *q, struct str name, uint16_t type,
                  int64_t deadline_ms)
{
    char text[OPTION_SIZE];
    int query = 0;
    invariant(!q->resolver);
    q->resolver = r;
    q->next = r->open;
    q->at = &r->open;
    if (q->next)
        q->next->at = &q->next;
    r->open = q;
    hook_init(&q->hook, on_hook, q);
    timer_init(&q->timer, r->loop, on_timer, q);
    if (++r->open_count > LIMIT_RESOLVER_QUESTIONS) {
        finish_later(q, STATUS_BUSY);
        return;
    }
    if (!str_to_c(name, text, sizeof text)) {
        finish_later(q, STATUS_INVALID);
        return;
    }
    timer_set(&q->timer, deadline_ms);
    q->under_way = true;
    q->asking = true;
    if (ub_resolve_event(r->ctx, text, type, CLASS_IN, q, on_answer, &query) != 0) {
        q->under_way = false;
        finish_later(q, STATUS_NO_MEMORY);
    }
    q->query = query;
    q->asking = false;
}

void resolver_cancel(struct resolver_question *q)
{
    if (!q->resolver)
        return;
    leave(q);
    buf_release(&q->packet);
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    while (r->open)
        finish(r->open, &(struct resolver_answer){.status = STATUS_GONE});
    ub_ctx_delete(r->ctx);
    free(r);
}
