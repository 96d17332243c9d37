#include "roles/courier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unbound-event.h>
#include <unbound.h>

#include "base/limits.h"
#include "codec/dns_answer.h"
#include "io/files.h"
#include "roles/config.h"

enum {
    DNS_CLASS_IN = 1,
    NAMES_MAX = 5, /* RFC 7208 §5.5 asks to look at no more than ten */
    NAMES_SIZE = NAMES_MAX * 256,
    ROOT_KEY_SIZE = 64 * 1024,
    OPTION_SIZE = 512
};

/* Debian's copy of the root zone's keys (package dns-root-data). */
#define ROOT_KEY_FILE "/usr/share/dns/root.key"

struct courier {
    struct role *role;
    struct ub_ctx *resolver;
    struct buf root_key; /* read before the sandbox closes; may be empty */
    struct question *questions;
    struct metric *asked, *found, *timed_out;
};

/* One address whose name somebody wants. */
struct question {
    struct question *next, **at;
    struct courier *courier;
    struct channel *from;
    uint32_t id;
    unsigned char address[16];
    size_t address_len;
    struct timer timer;
    int query; /* the resolver's id of what is under way */
    bool under_way;
    struct buf names; /* those still to be tried, each ended by NUL */
    size_t name_at;   /* the one being tried */
};

/* ---- Questions ----------------------------------------------------------------------------- */

static void question_end(struct question *q, enum status_code status, struct str name)
{
    if (q->under_way)
        ub_cancel(q->courier->resolver, q->query);
    timer_set(&q->timer, NEVER_MS);
    *q->at = q->next;
    if (q->next)
        q->next->at = q->at;
    ipc_reverse_name_reply(q->from, q->id, &(struct ipc_reverse_name_out){status, text_from(name)});
    buf_release(&q->names);
    free(q);
}

static void question_expired(void *context)
{
    struct question *q = context;
    metric_add(q->courier->timed_out, 1);
    question_end(q, STATUS_TIMEOUT, (struct str){0});
}

/* The resolver may answer from inside; q may be gone afterwards. */
static void ask(struct question *q, const char *name, enum dns_type type,
                ub_event_callback_type answered)
{
    q->under_way = true;
    if (ub_resolve_event(q->courier->resolver, name, (int)type, DNS_CLASS_IN, q, answered,
                         &q->query) == 0)
        return;
    q->under_way = false;
    question_end(q, STATUS_NO_MEMORY, (struct str){0});
}

static struct str name_being_tried(const struct question *q)
{
    return str_from_c(q->names.ptr + q->name_at);
}

static void on_addresses(void *context, int rcode, void *packet, int len, int secure, char *bogus,
                         int limited);

static void try_name(struct question *q)
{
    if (q->name_at >= q->names.len)
        question_end(q, STATUS_OK, (struct str){0});
    else
        ask(q, q->names.ptr + q->name_at, q->address_len == 4 ? DNS_A : DNS_AAAA, on_addresses);
}

/* Does the name lead back to the address? RFC 8601 §2.7.3 calls it iprev. */
static void on_addresses(void *context, int rcode, void *packet, int len, int secure, char *bogus,
                         int limited)
{
    struct question *q = context;
    struct dns_answer answer;
    struct dns_record record;
    struct str address = str_make(q->address, q->address_len);
    (void)secure, (void)bogus, (void)limited;
    q->under_way = false;
    if (rcode == 0 && len > 0 && dns_answer_open(str_make(packet, (size_t)len), &answer)) {
        while (dns_answer_next(&answer, &record)) {
            if (record.type != (q->address_len == 4 ? DNS_A : DNS_AAAA) ||
                !str_eq(record.data, address))
                continue;
            metric_add(q->courier->found, 1);
            question_end(q, STATUS_OK, name_being_tried(q));
            return;
        }
    }
    q->name_at += name_being_tried(q).len + 1;
    try_name(q);
}

static void on_names(void *context, int rcode, void *packet, int len, int secure, char *bogus,
                     int limited)
{
    struct question *q = context;
    struct dns_answer answer;
    struct dns_record record;
    (void)secure, (void)bogus, (void)limited;
    q->under_way = false;
    if (rcode == 0 && len > 0 && dns_answer_open(str_make(packet, (size_t)len), &answer)) {
        for (int names = 0; names < NAMES_MAX && dns_answer_next(&answer, &record); names++) {
            size_t before = q->names.len;
            if (record.type == DNS_PTR &&
                dns_answer_host(answer.packet, record.data_at, &q->names) &&
                buf_append_byte(&q->names, 0))
                continue;
            q->names.failed = false;
            buf_truncate(&q->names, before);
        }
    }
    try_name(q);
}

static void on_reverse_name(void *context, struct channel *from, uint32_t id,
                            const struct ipc_reverse_name_in *in)
{
    struct courier *c = context;
    struct buf name;
    bool is_address = in->address.len == 4 || in->address.len == 16;
    struct question *q = is_address ? calloc(1, sizeof *q) : NULL;
    if (!q) {
        ipc_reverse_name_reply(from, id,
                               &(struct ipc_reverse_name_out){
                                   .status = is_address ? STATUS_NO_MEMORY : STATUS_INVALID});
        return;
    }
    metric_add(c->asked, 1);
    *q = (struct question){.next = c->questions,
                           .at = &c->questions,
                           .courier = c,
                           .from = from,
                           .id = id,
                           .address_len = in->address.len};
    if (q->next)
        q->next->at = &q->next;
    c->questions = q;
    memcpy(q->address, in->address.ptr, in->address.len);
    buf_init(&q->names, NAMES_SIZE);
    timer_init(&q->timer, role_loop(c->role), question_expired, q);
    timer_set(&q->timer, role_now(c->role).mono_ms + LIMIT_REVERSE_NAME_MS);
    buf_init(&name, 128);
    dns_reverse_name(in->address, &name);
    if (buf_append_byte(&name, 0))
        ask(q, name.ptr, DNS_PTR, on_names);
    else
        question_end(q, STATUS_NO_MEMORY, (struct str){0});
    buf_release(&name);
}

/* ---- The resolver -------------------------------------------------------------------------- */

static int set_option(struct ub_ctx *ctx, const char *option, struct str value)
{
    char text[OPTION_SIZE];
    return str_to_c(value, text, sizeof text) ? ub_ctx_set_option(ctx, option, text) : -1;
}

static bool print_server(const struct config_server *server, char *text, size_t size)
{
    int n = snprintf(text, size, "%.*s@%u", STR_ARG(server->address), server->port);
    return n > 0 && (size_t)n < size;
}

static int add_servers(struct ub_ctx *ctx, const struct config_resolver *r)
{
    char server[OPTION_SIZE], zone[OPTION_SIZE];
    int failed = 0;
    for (size_t i = 0; i < r->forward_count && !failed; i++)
        failed = !print_server(&r->forward[i], server, sizeof server) ||
                 ub_ctx_set_fwd(ctx, server) != 0;
    for (size_t i = 0; i < r->stub_count && !failed; i++) {
        failed = !str_to_c(r->stubs[i].zone, zone, sizeof zone);
        for (size_t j = 0; j < r->stubs[i].server_count && !failed; j++)
            failed = !print_server(&r->stubs[i].servers[j], server, sizeof server) ||
                     ub_ctx_set_stub(ctx, zone, server, 0) != 0;
    }
    return failed;
}

/* Before anything is asked: zones of one's own, which the root's keys cannot vouch for. */
static int trust_private_zones(struct ub_ctx *ctx, const struct config_resolver *r)
{
    int failed = 0;
    for (size_t i = 0; i < r->nodefault_count && !failed; i++)
        failed = set_option(ctx, "domain-insecure:", r->nodefault[i]);
    /* Their servers may well be here. */
    if (!failed && r->stub_count + r->forward_count > 0)
        failed = ub_ctx_set_option(ctx, "do-not-query-localhost:", "no");
    return failed;
}

/* Afterwards: libunbound has then made its own empty zones of these names, which are in the way. */
static int remove_default_zones(struct ub_ctx *ctx, const struct config_resolver *r)
{
    char zone[OPTION_SIZE];
    int failed = 0;
    for (size_t i = 0; i < r->nodefault_count && !failed; i++)
        failed = !str_to_c(r->nodefault[i], zone, sizeof zone) || ub_ctx_zone_remove(ctx, zone);
    return failed;
}

static int add_root_key(struct ub_ctx *ctx, struct str text)
{
    struct str line;
    char key[1024];
    int failed = 0;
    while (!failed && str_split(&text, '\n', &line))
        if (!str_empty(str_trim(line)) && line.ptr[0] != ';')
            failed = !str_to_c(line, key, sizeof key) || ub_ctx_add_ta(ctx, key) != 0;
    return failed;
}

static void first_answered(void *context, int rcode, void *packet, int len, int secure, char *bogus,
                           int limited)
{
    (void)context, (void)rcode, (void)packet, (void)len, (void)secure, (void)bogus, (void)limited;
}

/* NULL where libunbound does not take the settings. */
static struct ub_ctx *make_resolver(struct courier *c, const struct config_resolver *r)
{
    int query;
    struct ub_ctx *ctx = ub_ctx_create_event(loop_event_base(role_loop(c->role)));
    if (!ctx)
        return NULL;
    ub_ctx_debugout(ctx, NULL);
    /* Its first question makes the resolver load all it needs, before the sandbox closes. */
    if (add_servers(ctx, r) || trust_private_zones(ctx, r) ||
        add_root_key(ctx, buf_str(&c->root_key)) ||
        ub_resolve_event(ctx, "localhost", DNS_A, DNS_CLASS_IN, NULL, first_answered, &query) ||
        remove_default_zones(ctx, r)) {
        ub_ctx_delete(ctx);
        return NULL;
    }
    return ctx;
}

static void end_questions(struct courier *c, enum status_code status)
{
    while (c->questions)
        question_end(c->questions, status, (struct str){0});
}

static enum status_code use_config(struct courier *c, const struct ipc_config_in *in)
{
    struct arena arena;
    struct config config;
    struct conf_errors errors;
    struct ub_ctx *resolver = NULL;
    arena_init(&arena, CONFIG_ARENA_SIZE);
    conf_errors_init(&errors, &arena);
    enum status_code status = config_parse(in->text, &arena, &config, &errors);
    if (status == STATUS_OK) {
        resolver = make_resolver(c, &config.resolver);
        status = resolver ? STATUS_OK : STATUS_INVALID;
    }
    arena_reset(&arena);
    if (!resolver)
        return status;
    end_questions(c, STATUS_GONE);
    if (c->resolver)
        ub_ctx_delete(c->resolver);
    c->resolver = resolver;
    return STATUS_OK;
}

/* ---- The role ------------------------------------------------------------------------------ */

static void *courier_create(struct role *role)
{
    struct courier *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    struct metrics *m = role_metrics(role);
    c->role = role;
    buf_init(&c->root_key, ROOT_KEY_SIZE);
    c->asked = metrics_get(m, METRIC_COUNTER, "postern_courier_reverse_names",
                           "Names of addresses asked for.", NULL, NULL);
    c->found = metrics_get(m, METRIC_COUNTER, "postern_courier_reverse_names_confirmed",
                           "Names that led back to their address.", NULL, NULL);
    c->timed_out = metrics_get(m, METRIC_COUNTER, "postern_courier_reverse_names_timed_out",
                               "Names that did not come in time.", NULL, NULL);
    return c;
}

static void courier_destroy(void *state)
{
    struct courier *c = state;
    end_questions(c, STATUS_GONE);
    if (c->resolver)
        ub_ctx_delete(c->resolver);
    buf_release(&c->root_key);
    free(c);
}

/* Without the root's keys nothing is validated; what we ask so far does not need it. */
static enum status_code courier_prepare(void *state, const struct ipc_config_in *config,
                                        struct diag *diag)
{
    struct courier *c = state;
    if (files_read(ROOT_KEY_FILE, &c->root_key, NULL) != STATUS_OK)
        buf_release(&c->root_key);
    enum status_code status = use_config(c, config);
    if (status != STATUS_OK)
        diag_set(diag, "resolver: %s", status_name(status));
    return status;
}

static void courier_reconfigure(void *state, const struct ipc_config_in *config)
{
    struct courier *c = state;
    if (use_config(c, config) != STATUS_OK)
        log_event(role_log(c->role), role_now(c->role), LOG_ERROR, "resolver-not-changed",
                  "it does not take the new settings");
}

static void on_metrics(void *context, struct channel *from, uint32_t id)
{
    struct courier *c = context;
    role_reply_metrics(c->role, from, id);
}

static const struct ipc_handlers courier_handlers = {.reverse_name = on_reverse_name,
                                                     .metrics = on_metrics};

const struct role_plan courier_plan = {
    .self = ROLE_COURIER,
    .handlers = &courier_handlers,
    .create = courier_create,
    .destroy = courier_destroy,
    .prepare = courier_prepare,
    .reconfigure = courier_reconfigure,
};
