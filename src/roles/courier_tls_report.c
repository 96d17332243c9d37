#include "roles/courier_tls_report.h"

#include <stdlib.h>
#include <string.h>

#include "roles/courier_queue.h"

enum {
    ROWS_MAX = 4096, /* more kinds than that before they are told are not counted */
    DUE_COUNT = 256, /* rows that are told without company */
    DUE_MS = 5 * 1000,
    TELL_MAX = 250, /* at once: it is a transaction of the vault's */
    SLOTS = 1024,
    IP_SIZE = 48,
    POLICY_SIZE = 4096,
    POLICY_STS = 2
};

struct tls_row {
    struct tls_row *next;
    struct arena arena;
    struct ipc_tls_outcome said;
    uint64_t hash;
};

struct courier_tls_report {
    struct tls_row *slots[SLOTS];
    struct tls_row *telling;
    size_t count;
    int64_t first_ms; /* mono, of the oldest row */
    struct timer timer;
};

static void on_timer(void *context)
{
    courier_queue_ask_soon(context);
}

struct courier_tls_report *courier_tls_report_new(struct courier *c)
{
    struct courier_tls_report *r = calloc(1, sizeof *r);
    if (r)
        timer_init(&r->timer, courier_loop(c), on_timer, c);
    return r;
}

static void row_free(struct tls_row *row)
{
    arena_reset(&row->arena);
    free(row);
}

void courier_tls_report_free(struct courier_tls_report *r)
{
    if (!r)
        return;
    timer_set(&r->timer, NEVER_MS);
    for (size_t i = 0; i < SLOTS; i++)
        while (r->slots[i]) {
            struct tls_row *row = r->slots[i];
            r->slots[i] = row->next;
            row_free(row);
        }
    while (r->telling) {
        struct tls_row *row = r->telling;
        r->telling = row->next;
        row_free(row);
    }
    free(r);
}

/* ---- Rows --------------------------------------------------------------------------------------
 */

static uint64_t hash_of(const struct ipc_tls_outcome *o)
{
    const struct str fields[] = {o->domain, o->mx, o->result, o->receiving_ip, o->sending_ip};
    uint64_t hash = o->policy_type;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        hash = hash * 31 + str_hash_nocase(fields[i]);
    return hash;
}

static bool is_same(const struct ipc_tls_outcome *a, const struct ipc_tls_outcome *b)
{
    return a->policy_type == b->policy_type && str_eq(a->domain, b->domain) &&
           str_eq(text_peek(a->policy), text_peek(b->policy)) && str_eq(a->mx, b->mx) &&
           str_eq(a->result, b->result) && str_eq(a->receiving_ip, b->receiving_ip) &&
           str_eq(a->sending_ip, b->sending_ip);
}

static struct tls_row *row_new(const struct ipc_tls_outcome *o)
{
    struct tls_row *row = calloc(1, sizeof *row);
    if (!row)
        return NULL;
    struct arena *a = &row->arena;
    struct ipc_tls_outcome *s = &row->said;
    arena_init(a, 4 * POLICY_SIZE);
    *s = *o;
    s->sessions = 0;
    if (arena_dup(a, o->domain, &s->domain) &&
        arena_dup(a, text_peek(o->policy), &s->policy.stranger) && arena_dup(a, o->mx, &s->mx) &&
        arena_dup(a, o->receiving_ip, &s->receiving_ip) &&
        arena_dup(a, o->sending_ip, &s->sending_ip) &&
        arena_dup(a, text_peek(o->words), &s->words.stranger))
        return row;
    row_free(row);
    return NULL;
}

/* What is there from now on is told in DUE_MS at the latest. */
static void begin_to_wait(struct courier *c)
{
    struct courier_tls_report *r = c->tls_report;
    r->first_ms = courier_now(c).mono_ms;
    timer_set(&r->timer, r->count > 0 ? r->first_ms + DUE_MS : NEVER_MS);
}

static void count(struct courier *c, const struct ipc_tls_outcome *o)
{
    struct courier_tls_report *r = c->tls_report;
    uint64_t hash = hash_of(o);
    struct tls_row **slot = &r->slots[hash % SLOTS], *row = *slot;
    while (row && (row->hash != hash || !is_same(&row->said, o)))
        row = row->next;
    if (!row && r->count < ROWS_MAX && (row = row_new(o)) != NULL) {
        row->hash = hash;
        row->next = *slot;
        *slot = row;
        if (r->count++ == 0)
            begin_to_wait(c);
    }
    if (row)
        row->said.sessions++;
}

/* ---- Sessions ----------------------------------------------------------------------------------
 */

static struct str print_address(const struct socket_address *a, struct buf *out)
{
    buf_init(out, IP_SIZE);
    socket_address_print(a, out);
    return buf_str(out);
}

/* RFC 8460 §4.4, "policy-string": the TLSA records as in a zone file, or the policy's lines. */
static void print_policy(const struct courier_tls_session *s, struct buf *out)
{
    const struct route_host *host = s->host;
    if (s->policy_type == POLICY_STS && s->route->sts)
        buf_append_str(out, str_sub(buf_str(&s->route->sts->text), 0, out->max));
    for (size_t i = 0; s->policy_type == 1 && i < host->tlsa_row_count; i++) {
        const struct dns_row *row = &host->tlsa_rows[i];
        size_t before = out->len;
        buf_printf(out, "%s%u %u %u ", i > 0 ? "\n" : "", row->usage, row->selector, row->matching);
        for (size_t n = 0; n < row->data.len; n++)
            buf_printf(out, "%02x", (unsigned char)row->data.ptr[n]);
        if (out->failed) {
            buf_truncate(out, before);
            out->failed = false;
            return;
        }
    }
}

void courier_tls_report_add(struct courier *c, const struct courier_tls_session *s)
{
    enum route_kind kind;
    struct ipc_tls_outcome o = {.policy_type = s->policy_type};
    struct buf policy, receiving, sending;
    struct socket_address local = {0};
    if (!s->result || s->route->lenient ||
        !route_destination_split(s->route->destination, &kind, &o.domain) || kind != ROUTE_DNS)
        return;
    buf_init(&policy, POLICY_SIZE);
    buf_init(&sending, IP_SIZE);
    buf_init(&receiving, IP_SIZE);
    print_policy(s, &policy);
    o.policy = text_from(buf_str(&policy));
    o.result = str_from_c(s->result);
    /* What went well is counted only; failures say where. */
    if (!str_empty(o.result)) {
        o.mx = s->host->name;
        o.receiving_ip = print_address(s->peer, &receiving);
        if (s->fd >= 0 && socket_local_address(s->fd, &local))
            o.sending_ip = print_address(&local, &sending);
        o.words = text_from(str_from_c(s->words));
    }
    count(c, &o);
    buf_release(&policy);
    buf_release(&receiving);
    buf_release(&sending);
}

void courier_tls_report_policy(struct courier *c, struct str domain, const char *result,
                               struct str words)
{
    count(c, &(struct ipc_tls_outcome){.domain = domain,
                                       .policy_type = POLICY_STS,
                                       .result = str_from_c(result),
                                       .words = text_from(str_sub(words, 0, 500))});
}

/* ---- Telling -----------------------------------------------------------------------------------
 */

bool courier_tls_report_is_due(const struct courier *c)
{
    const struct courier_tls_report *r = c->tls_report;
    return r->count >= DUE_COUNT ||
           (r->count > 0 && (c->stopping || courier_now(c).mono_ms - r->first_ms >= DUE_MS));
}

void courier_tls_report_tell(struct courier *c, struct arena *a, struct ipc_outcomes_in *in)
{
    struct courier_tls_report *r = c->tls_report;
    if (r->count == 0 || r->telling || !courier_tls_report_is_due(c))
        return;
    struct ipc_tls_outcome *list = arena_alloc_array(a, TELL_MAX, sizeof *list);
    if (!list)
        return;
    in->tls = list;
    for (size_t i = 0; i < SLOTS; i++)
        while (r->slots[i] && in->tls_count < TELL_MAX) {
            struct tls_row *row = r->slots[i];
            r->slots[i] = row->next;
            row->next = r->telling;
            r->telling = row;
            r->count--;
            list[in->tls_count++] = row->said;
        }
    begin_to_wait(c);
}

void courier_tls_report_told(struct courier *c)
{
    struct courier_tls_report *r = c->tls_report;
    while (r->telling) {
        struct tls_row *row = r->telling;
        r->telling = row->next;
        row_free(row);
    }
}

void courier_tls_report_again(struct courier *c)
{
    struct courier_tls_report *r = c->tls_report;
    if (!r || !r->telling)
        return;
    while (r->telling) {
        struct tls_row *row = r->telling;
        r->telling = row->next;
        row->next = r->slots[row->hash % SLOTS];
        r->slots[row->hash % SLOTS] = row;
        r->count++;
    }
    begin_to_wait(c);
}
