#include "roles/mailroom_rcpt.h"

#include "base/limits.h"
#include "mail/address.h"
#include "policy/route.h"
#include "store/directory.h"

static const struct recipient_decision reply_store = {
    .code = 451,
    .enhanced = {"4.3.0", 5},
    .text = {"The directory cannot be read now, try again later", 49},
};

static const struct recipient_decision reply_syntax = {
    .code = 550,
    .enhanced = {"5.1.3", 5},
    .text = {"No mailbox can have this address", 32},
};

static const struct recipient_decision reply_no_domain = {
    .code = 550,
    .enhanced = {"5.1.2", 5},
    .text = {"No mail can be sent to such a domain", 36},
};

static const struct recipient_decision reply_memory = {
    .code = 451,
    .enhanced = {"4.3.0", 5},
    .text = {"Out of memory, try again later", 30},
};

enum { DESTINATION_SIZE_MAX = 512 };

struct look_up {
    struct db *db;
    struct arena *arena;
    struct recipient_fact fact;
};

/* "Postmaster" may come without a domain (RFC 5321 §4.1.1.3). */
static bool parse_address(struct str words, struct arena *arena, struct recipient_address *ret)
{
    struct mailbox_address mailbox = {.local = words};
    if (!str_eq_nocase(words, STR("postmaster")) &&
        address_parse_mailbox(words, &mailbox) != ADDRESS_OK)
        return false;
    return recipient_address_make(arena, &mailbox, ret);
}

static enum status_code answer_domain(struct look_up *l, const struct recipient_question *q)
{
    struct domain_record domain;
    enum status_code status = directory_domain(l->db, q->domain, l->arena, &domain);
    if (status == STATUS_OK)
        l->fact = (struct recipient_fact){.found = true, .separators = domain.subaddress};
    return status;
}

/* As stored: local@domain in normal form, the local part without quotes. */
static bool stored_address(struct str words, struct arena *arena, struct recipient_address *ret)
{
    ptrdiff_t at = str_rfind_byte(words, '@');
    struct buf text;
    if (at < 0)
        return false;
    ret->local = str_sub(words, 0, (size_t)at);
    ret->domain = str_skip(words, (size_t)at + 1);
    buf_init(&text, 4 * LIMIT_PATH_SIZE);
    bool ok = address_print_parts(&text, ret->local, ret->domain) &&
              arena_dup(arena, buf_str(&text), &ret->text);
    buf_release(&text);
    return ok;
}

static enum status_code follow_alias(struct look_up *l, uint64_t alias)
{
    struct str *targets;
    size_t count;
    enum status_code status = directory_alias_targets(l->db, alias, l->arena, &targets, &count);
    if (status != STATUS_OK)
        return status;
    struct recipient_address *members = arena_alloc_array(l->arena, count, sizeof(*members));
    if (!members && count > 0)
        return STATUS_NO_MEMORY;
    l->fact.members = members;
    for (size_t i = 0; i < count; i++)
        if (stored_address(targets[i], l->arena, &members[l->fact.member_count]))
            l->fact.member_count++;
    return STATUS_OK;
}

static enum status_code answer_address(struct look_up *l, const struct recipient_question *q)
{
    struct domain_record domain;
    struct address_record address;
    enum status_code status = directory_domain(l->db, q->domain, l->arena, &domain);
    if (status == STATUS_OK)
        status = directory_address(l->db, domain.id, q->local, l->arena, &address);
    if (status != STATUS_OK)
        return status;
    l->fact.found = true;
    l->fact.account = address.account;
    return address.account != 0 ? STATUS_OK : follow_alias(l, address.alias);
}

static enum status_code answer_catch_all(struct look_up *l, const struct recipient_question *q)
{
    struct domain_record domain;
    enum status_code status = directory_domain(l->db, q->domain, l->arena, &domain);
    if (status == STATUS_OK && domain.catch_all != 0)
        l->fact = (struct recipient_fact){.found = true, .account = domain.catch_all};
    return status;
}

static enum status_code answer_postmaster(struct look_up *l, const struct recipient_question *q)
{
    (void)q;
    enum status_code status = directory_first_account(l->db, &l->fact.account);
    l->fact.found = status == STATUS_OK;
    return status;
}

static enum status_code answer_account(struct look_up *l, const struct recipient_question *q)
{
    struct account_record account;
    enum status_code status = directory_account(l->db, q->account, l->arena, &account);
    if (status == STATUS_OK)
        l->fact = (struct recipient_fact){.found = true,
                                          .inbox = account.inbox,
                                          .disabled = account.disabled,
                                          .quota_size = account.quota,
                                          .used_size = account.used};
    return status;
}

static enum status_code (*const answerers[])(struct look_up *l,
                                             const struct recipient_question *q) = {
    [RECIPIENT_DOMAIN] = answer_domain,       [RECIPIENT_ADDRESS] = answer_address,
    [RECIPIENT_CATCH_ALL] = answer_catch_all, [RECIPIENT_POSTMASTER] = answer_postmaster,
    [RECIPIENT_ACCOUNT] = answer_account,
};

/* STATUS_OK: r has its decision. All look-ups see one state of the directory. */
static enum status_code resolve(struct db *db, const struct config *config,
                                const struct recipient_address *address,
                                const struct mailroom_rcpt *rcpt, struct arena *arena,
                                struct recipient *r)
{
    struct recipient_rules rules = {
        .hostname = config->hostname,
        .outbound = config->outbound.enabled,
        .may_relay = rcpt->may_relay,
        .is_report = rcpt->is_report,
    };
    struct recipient_question question;
    enum status_code status = db_snapshot_begin(db);
    if (status != STATUS_OK)
        return status;
    status = directory_first_domain(db, arena, &rules.home_domain);
    recipient_begin(r, arena, &rules, address, rcpt->size);
    while ((status == STATUS_OK || status == STATUS_NOT_FOUND) && recipient_next(r, &question)) {
        struct look_up l = {.db = db, .arena = arena};
        status = answerers[question.kind](&l, &question);
        recipient_answer(r, &l.fact);
    }
    db_snapshot_end(db);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static bool list_targets(const struct recipient_decision *d, struct arena *arena,
                         struct ipc_recipient_out *out)
{
    struct ipc_target *list = arena_alloc_array(arena, d->target_count, sizeof *list);
    if (!list)
        return false;
    for (size_t i = 0; i < d->target_count; i++)
        list[i] = (struct ipc_target){.account = d->targets[i].account,
                                      .mailbox = d->targets[i].mailbox,
                                      .delivered_to = d->targets[i].delivered_to};
    out->targets = list;
    out->targets_count = d->target_count;
    return true;
}

/* An address whose domain nobody can have mail for is left out. */
static bool list_relays(const struct config *config, const struct recipient_decision *d,
                        struct arena *arena, struct ipc_recipient_out *out)
{
    struct ipc_relay *list = arena_alloc_array(arena, d->relay_count, sizeof *list);
    struct buf name;
    bool ok = list != NULL;
    buf_init(&name, DESTINATION_SIZE_MAX);
    out->relays = list;
    for (size_t i = 0; ok && i < d->relay_count; i++) {
        struct ipc_relay *relay = &list[out->relays_count];
        buf_clear(&name);
        if (!route_destination(&config->routes, d->relays[i].domain, &name))
            continue;
        relay->address = text_from(d->relays[i].address);
        ok = arena_dup(arena, buf_str(&name), &relay->destination);
        out->relays_count++;
    }
    buf_release(&name);
    return ok;
}

/* What is no mailbox at all, or cannot be found out. */
static struct recipient_decision decide(struct db *db, const struct config *config,
                                        const struct mailroom_rcpt *rcpt, struct arena *arena)
{
    struct recipient_address address;
    struct recipient r;
    if (!parse_address(text_peek(rcpt->recipient), arena, &address))
        return reply_syntax;
    if (resolve(db, config, &address, rcpt, arena, &r) != STATUS_OK)
        return reply_store;
    return r.decision;
}

void mailroom_rcpt_resolve(struct db *db, const struct config *config,
                           const struct mailroom_rcpt *rcpt, struct arena *arena,
                           struct ipc_recipient_out *ret_out)
{
    struct recipient_decision d = decide(db, config, rcpt, arena);
    struct ipc_recipient_out out = {0};
    if (!list_targets(&d, arena, &out) || !list_relays(config, &d, arena, &out)) {
        d = reply_memory;
        out = (struct ipc_recipient_out){0};
    } else if (d.code == 250 && out.targets_count + out.relays_count == 0) {
        d = reply_no_domain;
    }
    out.code = (uint16_t)d.code;
    out.enhanced = d.enhanced;
    out.text = d.text;
    *ret_out = out;
}

enum status_code mailroom_rcpt_owns(struct db *db, const struct config *config, uint64_t account,
                                    struct text words, struct arena *arena)
{
    const struct mailroom_rcpt rcpt = {.recipient = words};
    struct recipient_address address;
    struct recipient r;
    if (!parse_address(text_peek(words), arena, &address))
        return STATUS_DENIED;
    enum status_code status = resolve(db, config, &address, &rcpt, arena, &r);
    if (status != STATUS_OK)
        return status;
    return recipient_is_own(&r, account) ? STATUS_OK : STATUS_DENIED;
}
