#include "roles/courier_sts.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "codec/dns_facts.h"
#include "io/fetch.h"
#include "roles/courier_tls_report.h"

enum {
    FACTS_BUDGET = 64 * 1024,
    ADDRESSES_MAX = 8,
    ID_SIZE = 64,
    HOST_SIZE = 300,
    /* How long a policy that could not be fetched is not asked for again (RFC 8461 §3.3). */
    FAILURE_MS = 5 * 60 * 1000,
    AGAIN_MS = 1000, /* when a vault that does not answer is asked again */
    IPV4_SIZE = 4,
    IPV6_SIZE = 16
};

/* What is remembered of a domain: its policy (NULL: none), or that it could not be had. */
struct kept_policy {
    struct kept_policy *next;
    struct courier_sts_policy *policy;
    bool asked; /* the vault has said what it knows */
    char id[ID_SIZE];
    int64_t fetched_ms; /* mono */
    int64_t failed_ms;  /* mono; 0: the last fetch went well */
    size_t domain_len;
    char domain[];
};

enum { SLOTS = 1024 };

struct courier_sts_cache {
    struct kept_policy *slots[SLOTS];
    size_t count;
    struct courier_sts_question *questions;
};

/*
 * One question: what is remembered here or at the vault, then the record, then, where that shows
 * another id, the policy itself.
 */
struct courier_sts_question {
    struct courier_sts_question *next, **at;
    struct courier *courier;
    struct buf domain;
    courier_sts_found *found;
    void *context;
    struct kept_policy *kept;
    struct channel *vault;
    uint32_t call;
    struct resolver_question record, v4, v6;
    struct fetch *fetch;
    char id[ID_SIZE]; /* what the record shows */
    struct socket_address addresses[ADDRESSES_MAX];
    size_t address_count;
    struct timer again;
};

/* ---- Policies -------------------------------------------------------------------------------- */

static struct courier_sts_policy *policy_new(struct str text)
{
    struct courier_sts_policy *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->references = 1;
    buf_init(&p->text, MTASTS_POLICY_SIZE_MAX);
    if (buf_append_str(&p->text, text) && mtasts_policy_read(buf_str(&p->text), &p->policy, NULL))
        return p;
    courier_sts_drop(p);
    return NULL;
}

void courier_sts_drop(struct courier_sts_policy *policy)
{
    if (!policy || --policy->references > 0)
        return;
    buf_release(&policy->text);
    free(policy);
}

static struct courier_sts_policy *take(struct courier_sts_policy *policy)
{
    if (policy)
        policy->references++;
    return policy;
}

/* ---- What is remembered ------------------------------------------------------------------------
 */

struct courier_sts_cache *courier_sts_new(void)
{
    return calloc(1, sizeof(struct courier_sts_cache));
}

static void forget_slot(struct courier_sts_cache *cache, size_t slot)
{
    while (cache->slots[slot]) {
        struct kept_policy *kept = cache->slots[slot];
        cache->slots[slot] = kept->next;
        courier_sts_drop(kept->policy);
        free(kept);
        cache->count--;
    }
}

void courier_sts_free(struct courier_sts_cache *cache)
{
    if (!cache)
        return;
    while (cache->questions)
        courier_sts_cancel(cache->questions);
    for (size_t i = 0; i < SLOTS; i++)
        forget_slot(cache, i);
    free(cache);
}

static size_t slot_of(struct str domain)
{
    return str_hash_nocase(domain) % SLOTS;
}

static struct kept_policy *find(struct courier_sts_cache *cache, struct str domain)
{
    struct kept_policy *kept = cache->slots[slot_of(domain)];
    while (kept && !str_eq(str_make(kept->domain, kept->domain_len), domain))
        kept = kept->next;
    return kept;
}

/* NULL where there is no memory. */
static struct kept_policy *remember(struct courier_sts_cache *cache, struct str domain)
{
    struct kept_policy *kept = find(cache, domain);
    if (kept)
        return kept;
    size_t slot = slot_of(domain);
    /* Questions that are open point into the cache: it makes room only while there are none. */
    if (cache->count >= LIMIT_STS_POLICIES && (!cache->questions || !cache->questions->next))
        for (size_t i = 0; i < SLOTS; i++)
            forget_slot(cache, i);
    kept = calloc(1, sizeof *kept + domain.len);
    if (!kept)
        return NULL;
    memcpy(kept->domain, domain.ptr, domain.len);
    kept->domain_len = domain.len;
    kept->next = cache->slots[slot];
    cache->slots[slot] = kept;
    cache->count++;
    return kept;
}

static void keep(struct courier_sts_question *q, struct courier_sts_policy *policy, struct str id,
                 int64_t age_ms)
{
    struct kept_policy *kept = q->kept;
    courier_sts_drop(kept->policy);
    kept->policy = policy;
    if (!str_to_c(id, kept->id, sizeof kept->id))
        kept->id[0] = 0;
    kept->fetched_ms = courier_now(q->courier).mono_ms - age_ms;
    kept->failed_ms = 0;
}

/* ---- Answers -----------------------------------------------------------------------------------
 */

static void question_free(struct courier_sts_question *q)
{
    if (q->call != 0)
        channel_cancel(q->vault, q->call);
    resolver_cancel(&q->record);
    resolver_cancel(&q->v4);
    resolver_cancel(&q->v6);
    fetch_cancel(q->fetch);
    timer_set(&q->again, NEVER_MS);
    *q->at = q->next;
    if (q->next)
        q->next->at = q->at;
    buf_release(&q->domain);
    free(q);
}

void courier_sts_cancel(struct courier_sts_question *q)
{
    if (q)
        question_free(q);
}

static enum mtasts_age age_of(const struct courier_sts_question *q)
{
    const struct kept_policy *kept = q->kept;
    if (!kept->policy)
        return MTASTS_EXPIRED;
    return mtasts_age_of(&kept->policy->policy, str_from_c(kept->id),
                         courier_now(q->courier).mono_ms - kept->fetched_ms, str_from_c(q->id));
}

/* What is remembered and still holds is the answer (RFC 8461 §5.1). */
static void answer(struct courier_sts_question *q)
{
    courier_sts_found *found = q->found;
    void *their_context = q->context;
    struct courier_sts_policy *policy = age_of(q) == MTASTS_EXPIRED ? NULL : take(q->kept->policy);
    if (policy && policy->policy.mode == MTASTS_NONE) {
        courier_sts_drop(policy);
        policy = NULL;
    }
    question_free(q);
    found(their_context, policy);
}

/* ---- Fetching ----------------------------------------------------------------------------------
 */

static void fetch_failed(struct courier_sts_question *q, const char *result, struct str words)
{
    struct log_line line;
    q->kept->failed_ms = courier_now(q->courier).mono_ms;
    courier_tls_report_policy(q->courier, buf_str(&q->domain), result, words);
    log_begin(&line, role_log(q->courier->role), courier_now(q->courier), LOG_INFO, "sts-failed");
    log_str(&line, "domain", buf_str(&q->domain));
    log_words(&line, "result", result);
    log_text(&line, "why", text_from(words));
    log_end(&line);
    answer(q);
}

static void on_kept(void *context, enum status_code status, const struct ipc_sts_set_out *out)
{
    (void)context, (void)status, (void)out;
}

/* Nobody waits for the vault to keep it: without, it is fetched again after the next start. */
static void tell_vault(struct courier_sts_question *q, struct str text)
{
    struct courier *c = q->courier;
    ipc_sts_set_call(role_peer(c->role, ROLE_VAULT, 0),
                     &(struct ipc_sts_set_in){.at_ms = courier_now(c).wall_ms,
                                              .domain = buf_str(&q->domain),
                                              .id = text_from(str_from_c(q->id)),
                                              .policy = text_from(text)},
                     on_kept, NULL);
}

static void on_fetched(void *context, const struct fetch_result *result)
{
    struct courier_sts_question *q = context;
    struct mtasts_policy read;
    struct diag diag = {0};
    q->fetch = NULL;
    if (result->status == STATUS_DENIED) {
        fetch_failed(q, "sts-webpki-invalid", result->words);
    } else if (result->status != STATUS_OK) {
        fetch_failed(q, "sts-policy-fetch-error", result->words);
    } else if (result->code != 200) {
        fetch_failed(q, "sts-policy-fetch-error", STR("the response is not 200"));
    } else if (!str_eq(result->content_type, STR("text/plain"))) {
        fetch_failed(q, "sts-policy-invalid", STR("its Content-Type is not text/plain"));
    } else if (!mtasts_policy_read(result->body, &read, &diag)) {
        fetch_failed(q, "sts-policy-invalid", str_from_c(diag.words));
    } else {
        struct courier_sts_policy *policy = policy_new(result->body);
        if (policy) {
            keep(q, policy, str_from_c(q->id), 0);
            tell_vault(q, result->body);
        }
        answer(q);
    }
}

static void add_addresses(struct courier_sts_question *q, const struct resolver_answer *a,
                          struct str host, enum dns_type type)
{
    struct arena scratch;
    struct dns_facts facts = {0};
    uint16_t port = (uint16_t)q->courier->settings->config.outbound.mta_sts_port;
    const struct networks *refused = &q->courier->settings->config.outbound.refused;
    arena_init(&scratch, FACTS_BUDGET);
    if (a->status == STATUS_OK && dns_facts_read(a->packet, host, type, &scratch, &facts)) {
        for (size_t i = 0; i < facts.row_count && q->address_count < ADDRESSES_MAX; i++) {
            const uint8_t *octets = facts.rows[i].octets;
            bool v4 = type == DNS_A;
            struct str bytes =
                str_make(octets + (v4 ? IPV6_SIZE - IPV4_SIZE : 0), v4 ? IPV4_SIZE : IPV6_SIZE);
            if (!networks_have(refused, octets) &&
                socket_address_from_bytes(bytes, port, &q->addresses[q->address_count]))
                q->address_count++;
        }
    }
    arena_reset(&scratch);
}

static struct str policy_host(const struct courier_sts_question *q, struct buf *out)
{
    buf_init(out, HOST_SIZE);
    buf_append_str(out, STR("mta-sts."));
    buf_append_str(out, buf_str(&q->domain));
    return buf_str(out);
}

static void fetch(struct courier_sts_question *q)
{
    struct buf host;
    if (q->address_count == 0) {
        fetch_failed(q, "sts-policy-fetch-error", STR("its host has no address"));
        return;
    }
    struct fetch_request request = {
        .host = policy_host(q, &host),
        .port = (uint16_t)q->courier->settings->config.outbound.mta_sts_port,
        .path = STR(MTASTS_PATH),
        .addresses = q->addresses,
        .address_count = q->address_count};
    q->fetch = fetch_start(q->courier->fetcher, &request, on_fetched, q);
    buf_release(&host);
    if (!q->fetch)
        answer(q);
}

static void on_v6(void *context, const struct resolver_answer *a)
{
    struct courier_sts_question *q = context;
    struct buf host;
    add_addresses(q, a, policy_host(q, &host), DNS_AAAA);
    buf_release(&host);
    if (!resolver_is_asking(&q->v4))
        fetch(q);
}

static void on_v4(void *context, const struct resolver_answer *a)
{
    struct courier_sts_question *q = context;
    struct buf host;
    add_addresses(q, a, policy_host(q, &host), DNS_A);
    buf_release(&host);
    if (!resolver_is_asking(&q->v6))
        fetch(q);
}

static void find_host(struct courier_sts_question *q)
{
    struct buf host;
    struct str name = policy_host(q, &host);
    int64_t deadline_ms = courier_now(q->courier).mono_ms + LIMIT_DNS_MS;
    resolver_question_init(&q->v4, on_v4, q);
    resolver_question_init(&q->v6, on_v6, q);
    resolver_ask(q->courier->resolver, &q->v4, name, DNS_A, deadline_ms);
    resolver_ask(q->courier->resolver, &q->v6, name, DNS_AAAA, deadline_ms);
    buf_release(&host);
}

/* ---- The record --------------------------------------------------------------------------------
 */

static void look_at_record(struct courier_sts_question *q);

static void on_record(void *context, const struct resolver_answer *a)
{
    struct courier_sts_question *q = context;
    struct kept_policy *kept = q->kept;
    struct arena scratch;
    struct dns_facts facts = {.outcome = DNS_FAILED};
    struct buf name;
    struct str id;
    if (a->status == STATUS_GONE) { /* a new configuration has a resolver of its own */
        look_at_record(q);
        return;
    }
    arena_init(&scratch, FACTS_BUDGET);
    buf_init(&name, HOST_SIZE);
    buf_append_str(&name, STR("_mta-sts."));
    buf_append_str(&name, buf_str(&q->domain));
    if (a->status == STATUS_OK)
        facts.outcome = resolver_no_such_name(a) ? DNS_NXDOMAIN : DNS_OK;
    if (facts.outcome == DNS_OK &&
        !dns_facts_read(a->packet, buf_str(&name), DNS_TXT, &scratch, &facts))
        facts.outcome = DNS_FAILED;
    bool there = facts.outcome == DNS_OK && mtasts_record_read(&facts, &id) &&
                 str_to_c(id, q->id, sizeof q->id);
    buf_release(&name);
    arena_reset(&scratch);
    int64_t now_ms = courier_now(q->courier).mono_ms;
    bool failed_lately = kept->failed_ms != 0 && now_ms - kept->failed_ms < FAILURE_MS;
    if (!there || failed_lately || age_of(q) == MTASTS_FRESH)
        answer(q);
    else
        find_host(q);
}

static void look_at_record(struct courier_sts_question *q)
{
    struct buf name;
    buf_init(&name, HOST_SIZE);
    buf_append_str(&name, STR("_mta-sts."));
    buf_append_str(&name, buf_str(&q->domain));
    resolver_question_init(&q->record, on_record, q);
    resolver_ask(q->courier->resolver, &q->record, buf_str(&name), DNS_TXT,
                 courier_now(q->courier).mono_ms + LIMIT_DNS_MS);
    buf_release(&name);
}

/* Without its answer an attacker who keeps the policy from us would be spared one we knew. */
static void on_vault(void *context, enum status_code status, const struct ipc_sts_get_out *out)
{
    struct courier_sts_question *q = context;
    q->call = 0;
    if (status != STATUS_OK || (out->status != STATUS_OK && out->status != STATUS_NOT_FOUND)) {
        timer_set(&q->again, courier_now(q->courier).mono_ms + AGAIN_MS);
        return;
    }
    q->kept->asked = true;
    if (out->status == STATUS_OK) {
        struct courier_sts_policy *policy = policy_new(text_peek(out->policy));
        if (policy)
            keep(q, policy, text_peek(out->id), out->age_ms);
    }
    look_at_record(q);
}

static void ask_vault(void *context)
{
    struct courier_sts_question *q = context;
    timer_set(&q->again, NEVER_MS);
    q->vault = role_peer(q->courier->role, ROLE_VAULT, 0);
    q->call =
        ipc_sts_get_call(q->vault, &(struct ipc_sts_get_in){buf_str(&q->domain)}, on_vault, q);
    if (q->call == 0)
        timer_set(&q->again, courier_now(q->courier).mono_ms + AGAIN_MS);
}

struct courier_sts_question *courier_sts_ask(struct courier *c, struct str domain,
                                             courier_sts_found *found, void *context)
{
    struct courier_sts_question *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    *q = (struct courier_sts_question){.next = c->sts->questions,
                                       .at = &c->sts->questions,
                                       .courier = c,
                                       .found = found,
                                       .context = context};
    if (q->next)
        q->next->at = &q->next;
    c->sts->questions = q;
    buf_init(&q->domain, LIMIT_DOMAIN_SIZE);
    timer_init(&q->again, courier_loop(c), ask_vault, q);
    q->kept = buf_append_str(&q->domain, domain) ? remember(c->sts, domain) : NULL;
    if (!q->kept) {
        question_free(q);
        return NULL;
    }
    if (q->kept->asked)
        look_at_record(q);
    else
        ask_vault(q);
    return q;
}
