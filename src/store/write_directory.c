#include "base/limits.h"
#include "codec/utf8.h"
#include "store/write.h"

/*
 * What an operator changes. Operators are trusted to mean well, not to type well: the checks here
 * keep the tables sane, the command line explains before it asks.
 */

static bool is_folded(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z')
            return false;
    return true;
}

static bool has_odd_bytes(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f ||
            str_find_byte(STR("<>\",;:\\()[]"), s.ptr[i]) >= 0)
            return true;
    return false;
}

/* RFC 5321 §4.1.2: a local part in quotes may hold what is odd elsewhere, but no controls. */
static bool has_controls(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
            return true;
    return false;
}

static enum status_code check_domain(struct str name, struct diag *d)
{
    bool good = !str_empty(name) && name.len <= LIMIT_DOMAIN_SIZE && is_folded(name) &&
                utf8_is_ascii(name) && !has_odd_bytes(name) && str_find(name, STR("..")) < 0 &&
                str_find_byte(name, '@') < 0 && name.ptr[0] != '.' && !str_ends(name, STR("."));
    if (good)
        return STATUS_OK;
    diag_set(d, "not the name of a domain: %.*s", STR_ARG(name));
    return STATUS_INVALID;
}

/* One value of the first row; STATUS_NOT_FOUND where there is none. */
static enum status_code one_id(struct query *q, uint64_t *ret_id)
{
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        *ret_id = (uint64_t)query_int(q, 0);
        read = STATUS_OK;
    }
    enum status_code status = query_end(q);
    return status == STATUS_OK ? read : status;
}

static enum status_code find_domain(struct writer *w, struct str name, uint64_t *ret_domain,
                                    struct diag *d)
{
    struct query *q = db_query(w->db, "SELECT id FROM domain WHERE name = $name");
    query_bind_words(q, "$name", name);
    enum status_code status = one_id(q, ret_domain);
    if (status == STATUS_NOT_FOUND)
        diag_set(d, "there is no domain %.*s", STR_ARG(name));
    return status;
}

static enum status_code find_account(struct writer *w, uint64_t account, struct diag *d)
{
    uint64_t id = 0;
    struct query *q =
        db_query(w->db, "SELECT id FROM account WHERE id = $id AND removed_ms IS NULL");
    query_bind_int(q, "$id", (int64_t)account);
    enum status_code status = one_id(q, &id);
    if (status == STATUS_NOT_FOUND)
        diag_set(d, "no such account");
    return status;
}

/* ---- Domains
 * ------------------------------------------------------------------------------------- */

enum status_code domain_add(struct writer *w, struct str name, int64_t at_ms, struct diag *d)
{
    enum status_code status = check_domain(name, d);
    if (status != STATUS_OK)
        return status;
    struct query *q = db_query(w->db, "INSERT INTO domain (id, name, created_ms) "
                                      "VALUES ($id, $name, $at_ms) ON CONFLICT DO NOTHING");
    query_bind_int(q, "$id", (int64_t)w->next_id++);
    query_bind_words(q, "$name", name);
    query_bind_int(q, "$at_ms", at_ms);
    status = query_run(q);
    if (status != STATUS_OK || db_changes(w->db) > 0)
        return status;
    diag_set(d, "there is a domain %.*s already", STR_ARG(name));
    return STATUS_EXISTS;
}

enum status_code domain_set(struct writer *w, struct str name, uint64_t catch_all,
                            struct str subaddress, struct diag *d)
{
    uint64_t domain = 0;
    enum status_code status = find_domain(w, name, &domain, d);
    if (status == STATUS_OK && catch_all != 0)
        status = find_account(w, catch_all, d);
    if (status != STATUS_OK)
        return status;
    if (subaddress.len > 8 || has_odd_bytes(subaddress) || !utf8_is_ascii(subaddress)) {
        diag_set(d, "not characters that can part an address: %.*s", STR_ARG(subaddress));
        return STATUS_INVALID;
    }
    struct query *q = db_query(w->db, "UPDATE domain SET catch_all = $catch_all, "
                                      "subaddress = $subaddress WHERE id = $id");
    query_bind_int(q, "$catch_all", (int64_t)catch_all);
    query_bind_words(q, "$subaddress", subaddress);
    query_bind_int(q, "$id", (int64_t)domain);
    return query_run(q);
}

enum status_code domain_remove(struct writer *w, struct str name, struct diag *d)
{
    uint64_t domain = 0;
    enum status_code status = find_domain(w, name, &domain, d);
    if (status != STATUS_OK)
        return status;
    uint64_t used = 0;
    struct query *q = db_query(w->db, "SELECT 1 FROM address WHERE domain = $domain LIMIT 1");
    query_bind_int(q, "$domain", (int64_t)domain);
    status = one_id(q, &used);
    if (status == STATUS_OK) {
        diag_set(d, "there are addresses in %.*s", STR_ARG(name));
        return STATUS_INVALID; /* nor will there be fewer by themselves */
    }
    if (status != STATUS_NOT_FOUND)
        return status;
    q = db_query(w->db, "DELETE FROM domain WHERE id = $id");
    query_bind_int(q, "$id", (int64_t)domain);
    return query_run(q);
}

/* ---- Accounts
 * ------------------------------------------------------------------------------------ */

static enum status_code insert_account(struct writer *w, uint64_t account, struct str name,
                                       uint64_t quota, int64_t at_ms, struct diag *d)
{
    struct query *q = db_query(w->db, "INSERT INTO account (id, name, quota, inbox, created_ms) "
                                      "VALUES ($id, $name, $quota, 0, $at_ms) "
                                      "ON CONFLICT DO NOTHING");
    query_bind_int(q, "$id", (int64_t)account);
    query_bind_words(q, "$name", name);
    query_bind_int(q, "$quota", (int64_t)quota);
    query_bind_int(q, "$at_ms", at_ms);
    enum status_code status = query_run(q);
    if (status != STATUS_OK || db_changes(w->db) > 0)
        return status;
    diag_set(d, "there is an account %.*s already", STR_ARG(name));
    return STATUS_EXISTS;
}

enum status_code account_add(struct writer *w, struct str name, uint64_t quota, int64_t at_ms,
                             uint64_t *ret_account, struct diag *d)
{
    if (str_empty(name) || name.len > LIMIT_PATH_SIZE || has_odd_bytes(name) || !utf8_valid(name) ||
        quota > INT64_MAX) {
        diag_set(d, "not the name of an account: %.*s", STR_ARG(name));
        return STATUS_INVALID;
    }
    uint64_t account = w->next_id++, inbox = 0;
    enum status_code status = insert_account(w, account, name, quota, at_ms, d);
    if (status == STATUS_OK)
        status = mailbox_create(w, account, text_from(STR("INBOX")), SPECIAL_INBOX, at_ms, &inbox);
    if (status == STATUS_OK)
        status = subscription_set(w, account, text_from(STR("INBOX")), true);
    if (status != STATUS_OK)
        return status;
    struct query *q = db_query(w->db, "UPDATE account SET inbox = $inbox WHERE id = $id");
    query_bind_int(q, "$inbox", (int64_t)inbox);
    query_bind_int(q, "$id", (int64_t)account);
    *ret_account = account;
    return query_run(q);
}

enum status_code account_add_mailbox(struct writer *w, uint64_t account,
                                     const struct account_mailbox *mailbox, int64_t at_ms,
                                     struct diag *d)
{
    uint64_t id = 0;
    struct text name = text_from(mailbox->name);
    enum status_code status = mailbox_create(w, account, name, mailbox->use, at_ms, &id);
    if (status == STATUS_OK)
        status = subscription_set(w, account, name, true);
    if (status != STATUS_OK)
        diag_set(d, "cannot make the mailbox %.*s", STR_ARG(mailbox->name));
    return status;
}

enum status_code account_set(struct writer *w, uint64_t account, uint64_t quota, bool disabled,
                             struct diag *d)
{
    enum status_code status = find_account(w, account, d);
    if (status != STATUS_OK)
        return status;
    if (quota > INT64_MAX) {
        diag_set(d, "not a quota");
        return STATUS_INVALID;
    }
    struct query *q = db_query(w->db, "UPDATE account SET quota = $quota, disabled = $disabled "
                                      "WHERE id = $id");
    query_bind_int(q, "$quota", (int64_t)quota);
    query_bind_int(q, "$disabled", disabled);
    query_bind_int(q, "$id", (int64_t)account);
    return query_run(q);
}

static enum status_code close_account(struct writer *w, uint64_t account, int64_t clock_ms)
{
    /* The name is free again at once: the row keeps one that no account can have. */
    struct query *q = db_query(w->db, "UPDATE account SET removed_ms = $clock_ms, name = '#' || id "
                                      "WHERE id = $id");
    query_bind_int(q, "$clock_ms", clock_ms);
    query_bind_int(q, "$id", (int64_t)account);
    enum status_code status = query_run(q);
    if (status != STATUS_OK)
        return status;
    q = db_query(w->db, "UPDATE mailbox SET removed_ms = $clock_ms WHERE account = $id "
                        "AND removed_ms IS NULL");
    query_bind_int(q, "$clock_ms", clock_ms);
    query_bind_int(q, "$id", (int64_t)account);
    return query_run(q);
}

static const char *const account_removals[] = {
    "DELETE FROM address WHERE account = $id",
    "DELETE FROM subscription WHERE account = $id",
    "DELETE FROM mailbox_right WHERE account = $id",
    "UPDATE domain SET catch_all = 0 WHERE catch_all = $id",
};

enum status_code account_remove(struct writer *w, uint64_t account, int64_t clock_ms,
                                struct diag *d)
{
    enum status_code status = find_account(w, account, d);
    if (status == STATUS_OK)
        status = close_account(w, account, clock_ms);
    for (size_t i = 0; i < sizeof account_removals / sizeof *account_removals; i++) {
        if (status != STATUS_OK)
            return status;
        struct query *q = db_query(w->db, account_removals[i]);
        query_bind_int(q, "$id", (int64_t)account);
        status = query_run(q);
    }
    return status;
}

/* ---- Addresses
 * ----------------------------------------------------------------------------------- */

struct split_address {
    struct str local;
    struct str domain_name;
    uint64_t domain;
};

static enum status_code split_address(struct str address, struct split_address *ret_split,
                                      struct diag *d)
{
    ptrdiff_t at = str_rfind_byte(address, '@');
    struct str local = str_sub(address, 0, at < 0 ? 0 : (size_t)at);
    if (str_empty(local) || local.len > LIMIT_LOCAL_PART_SIZE || !is_folded(local) ||
        has_controls(local) || str_find_byte(local, '@') >= 0 || !utf8_valid(local)) {
        diag_set(d, "not an address: %.*s", STR_ARG(address));
        return STATUS_INVALID;
    }
    struct str domain = str_skip(address, (size_t)at + 1);
    *ret_split = (struct split_address){.local = local, .domain_name = domain};
    return check_domain(domain, d);
}

static enum status_code find_address_domain(struct writer *w, struct text address,
                                            struct split_address *ret_split, struct diag *d)
{
    enum status_code status = split_address(text_peek(address), ret_split, d);
    if (status != STATUS_OK)
        return status;
    return find_domain(w, ret_split->domain_name, &ret_split->domain, d);
}

static enum status_code insert_address(struct writer *w, const struct split_address *split,
                                       uint64_t account, uint64_t alias, int64_t at_ms)
{
    struct query *q = db_query(
        w->db, "INSERT INTO address (domain, local, account, alias, created_ms) "
               "VALUES ($domain, $local, $account, $alias, $at_ms) ON CONFLICT DO NOTHING");
    query_bind_int(q, "$domain", (int64_t)split->domain);
    query_bind_words(q, "$local", split->local);
    query_bind_int(q, "$account", (int64_t)account);
    query_bind_int(q, "$alias", (int64_t)alias);
    query_bind_int(q, "$at_ms", at_ms);
    enum status_code status = query_run(q);
    return status == STATUS_OK && db_changes(w->db) == 0 ? STATUS_EXISTS : status;
}

enum status_code address_add(struct writer *w, struct text address, uint64_t account, int64_t at_ms,
                             struct diag *d)
{
    struct split_address split;
    enum status_code status = find_address_domain(w, address, &split, d);
    if (status == STATUS_OK)
        status = find_account(w, account, d);
    if (status == STATUS_OK)
        status = insert_address(w, &split, account, 0, at_ms);
    if (status == STATUS_EXISTS)
        diag_set(d, "there is an address %.*s already", STR_ARG(text_peek(address)));
    return status;
}

static enum status_code find_alias(struct writer *w, const struct split_address *split,
                                   uint64_t *ret_alias)
{
    struct query *q =
        db_query(w->db, "SELECT alias FROM address WHERE domain = $domain AND local = $local");
    query_bind_int(q, "$domain", (int64_t)split->domain);
    query_bind_words(q, "$local", split->local);
    return one_id(q, ret_alias);
}

static enum status_code remove_targets(struct writer *w, uint64_t alias)
{
    struct query *q = db_query(w->db, "DELETE FROM alias_target WHERE alias = $alias");
    query_bind_int(q, "$alias", (int64_t)alias);
    return query_run(q);
}

enum status_code address_remove(struct writer *w, struct text address, struct diag *d)
{
    struct split_address split;
    uint64_t alias = 0;
    enum status_code status = find_address_domain(w, address, &split, d);
    if (status == STATUS_OK) {
        status = find_alias(w, &split, &alias);
        if (status == STATUS_NOT_FOUND)
            diag_set(d, "there is no address %.*s", STR_ARG(text_peek(address)));
    }
    if (status == STATUS_OK && alias != 0)
        status = remove_targets(w, alias);
    if (status != STATUS_OK)
        return status;
    struct query *q =
        db_query(w->db, "DELETE FROM address WHERE domain = $domain AND local = $local");
    query_bind_int(q, "$domain", (int64_t)split.domain);
    query_bind_words(q, "$local", split.local);
    return query_run(q);
}

enum status_code alias_clear(struct writer *w, struct text address, int64_t at_ms,
                             uint64_t *ret_alias, struct diag *d)
{
    struct split_address split;
    enum status_code status = find_address_domain(w, address, &split, d);
    if (status != STATUS_OK)
        return status;
    status = find_alias(w, &split, ret_alias);
    if (status == STATUS_NOT_FOUND) {
        *ret_alias = w->next_id++;
        return insert_address(w, &split, 0, *ret_alias, at_ms);
    }
    if (status == STATUS_OK && *ret_alias == 0) {
        diag_set(d, "%.*s is the address of an account", STR_ARG(text_peek(address)));
        return STATUS_EXISTS;
    }
    return status == STATUS_OK ? remove_targets(w, *ret_alias) : status;
}

enum status_code alias_add_target(struct writer *w, uint64_t alias, uint32_t number,
                                  struct text target, struct diag *d)
{
    struct split_address split;
    enum status_code status = split_address(text_peek(target), &split, d);
    if (status != STATUS_OK)
        return status;
    struct query *q = db_query(w->db, "INSERT INTO alias_target (alias, number, target) "
                                      "VALUES ($alias, $number, $target)");
    query_bind_int(q, "$alias", (int64_t)alias);
    query_bind_int(q, "$number", number);
    /* split_address found it to be UTF-8 without anything odd. */
    query_bind_words(q, "$target", text_peek(target));
    return query_run(q);
}
