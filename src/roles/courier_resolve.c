#include "roles/courier_resolve.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "codec/dns_answer.h"

enum { NAMES_MAX = 5, NAMES_SIZE = NAMES_MAX * 256 }; /* RFC 7208 §5.5: no more than ten */

/* One address whose name somebody wants. */
struct reverse_name {
    struct reverse_name *next, **at;
    struct courier *courier;
    struct channel *from;
    uint32_t id;
    unsigned char address[16];
    size_t address_len;
    int64_t deadline_ms;
    struct resolver_question question;
    struct buf names; /* those still to be tried, each ended by NUL */
    size_t name_at;   /* the one being tried */
};

static void answer(struct reverse_name *r, enum status_code status, struct str name)
{
    resolver_cancel(&r->question);
    *r->at = r->next;
    if (r->next)
        r->next->at = r->at;
    ipc_reverse_name_reply(r->from, r->id, &(struct ipc_reverse_name_out){status, text_from(name)});
    buf_release(&r->names);
    free(r);
}

static bool has_timed_out(struct reverse_name *r, const struct resolver_answer *a)
{
    if (a->status != STATUS_TIMEOUT && a->status != STATUS_GONE)
        return false;
    if (a->status == STATUS_TIMEOUT)
        metric_add(r->courier->counts.names_timed_out, 1);
    answer(r, a->status, (struct str){0});
    return true;
}

static struct str name_being_tried(const struct reverse_name *r)
{
    return str_from_c(r->names.ptr + r->name_at);
}

static enum dns_type address_type(const struct reverse_name *r)
{
    return r->address_len == 4 ? DNS_A : DNS_AAAA;
}

static void on_addresses(void *context, const struct resolver_answer *a);

static void try_name(struct reverse_name *r)
{
    if (r->name_at >= r->names.len) {
        answer(r, STATUS_OK, (struct str){0});
        return;
    }
    resolver_question_init(&r->question, on_addresses, r);
    resolver_ask(r->courier->resolver, &r->question, name_being_tried(r), (uint16_t)address_type(r),
                 r->deadline_ms);
}

/* Does the name lead back to the address? RFC 8601 §2.7.3 calls it iprev. */
static void on_addresses(void *context, const struct resolver_answer *a)
{
    struct reverse_name *r = context;
    struct dns_answer found;
    struct dns_record record;
    struct str address = str_make(r->address, r->address_len);
    if (has_timed_out(r, a))
        return;
    if (a->status == STATUS_OK && dns_answer_open(a->packet, &found)) {
        while (dns_answer_next(&found, &record)) {
            if (record.type != address_type(r) || !str_eq(record.data, address))
                continue;
            metric_add(r->courier->counts.names_found, 1);
            answer(r, STATUS_OK, name_being_tried(r));
            return;
        }
    }
    r->name_at += name_being_tried(r).len + 1;
    try_name(r);
}

static void on_names(void *context, const struct resolver_answer *a)
{
    struct reverse_name *r = context;
    struct dns_answer found;
    struct dns_record record;
    if (has_timed_out(r, a))
        return;
    if (a->status == STATUS_OK && dns_answer_open(a->packet, &found)) {
        for (int names = 0; names < NAMES_MAX && dns_answer_next(&found, &record); names++) {
            size_t before = r->names.len;
            if (record.type == DNS_PTR &&
                dns_answer_host(found.packet, record.data_at, &r->names) &&
                buf_append_byte(&r->names, 0))
                continue;
            r->names.failed = false;
            buf_truncate(&r->names, before);
        }
    }
    try_name(r);
}

void courier_on_reverse_name(void *context, struct channel *from, uint32_t id,
                             const struct ipc_reverse_name_in *in)
{
    struct courier *c = context;
    struct buf name;
    bool is_address = in->address.len == 4 || in->address.len == 16;
    struct reverse_name *r = is_address ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        ipc_reverse_name_reply(from, id,
                               &(struct ipc_reverse_name_out){
                                   .status = is_address ? STATUS_NO_MEMORY : STATUS_INVALID});
        return;
    }
    metric_add(c->counts.names_asked, 1);
    *r = (struct reverse_name){.next = c->reverse_names,
                               .at = &c->reverse_names,
                               .courier = c,
                               .from = from,
                               .id = id,
                               .address_len = in->address.len,
                               .deadline_ms = courier_now(c).mono_ms + LIMIT_REVERSE_NAME_MS};
    if (r->next)
        r->next->at = &r->next;
    c->reverse_names = r;
    memcpy(r->address, in->address.ptr, in->address.len);
    buf_init(&r->names, NAMES_SIZE);
    resolver_question_init(&r->question, on_names, r);
    buf_init(&name, 128);
    dns_reverse_name(in->address, &name);
    resolver_ask(c->resolver, &r->question, buf_str(&name), DNS_PTR, r->deadline_ms);
    buf_release(&name);
}

void courier_resolve_end(struct courier *c)
{
    while (c->reverse_names)
        answer(c->reverse_names, STATUS_GONE, (struct str){0});
}
