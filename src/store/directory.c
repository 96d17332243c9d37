#include "store/directory.h"

#include "store/rows.h"

bool directory_fold(struct arena *a, struct str s, struct str *ret_folded)
{
    char *folded = arena_alloc(a, s.len + 1);
    if (!folded)
        return false;
    for (size_t i = 0; i < s.len; i++)
        folded[i] = ascii_lower(s.ptr[i]);
    *ret_folded = str_make(folded, s.len);
    return true;
}

/* ---- Domains -----------------------------------------------------------------------------------
 */

#define DOMAIN_COLUMNS "SELECT id, name, catch_all, subaddress, created_ms FROM domain "

static struct domain_record domain_row(const struct query *q, struct arena *a,
                                       enum status_code *status)
{
    return (struct domain_record){
        .id = (uint64_t)query_int(q, 0),
        .name = row_bytes(q, 1, a, status),
        .catch_all = (uint64_t)query_int(q, 2),
        .subaddress = row_bytes(q, 3, a, status),
        .created_ms = query_int(q, 4),
    };
}

enum status_code directory_domain(struct db *db, struct str name, struct arena *a,
                                  struct domain_record *ret_domain)
{
    struct query *q = db_query(db, DOMAIN_COLUMNS "WHERE name = $name");
    query_bind_words(q, "$name", name);
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        read = STATUS_OK;
        *ret_domain = domain_row(q, a, &read);
    }
    return row_status(query_end(q), read);
}

enum status_code directory_domains(struct db *db, struct arena *a,
                                   struct domain_record **ret_domains, size_t *ret_count)
{
    struct query *q = db_query(db, DOMAIN_COLUMNS "ORDER BY name");
    struct buf rows;
    buf_init(&rows, ROWS_SIZE_MAX);
    enum status_code status = STATUS_OK;
    while (status == STATUS_OK && query_next(q)) {
        struct domain_record row = domain_row(q, a, &status);
        buf_append(&rows, &row, sizeof row);
    }
    status = row_status(query_end(q), status);
    void *list = NULL;
    status = rows_to_arena(&rows, sizeof(struct domain_record), status, a, &list, ret_count);
    if (status == STATUS_OK)
        *ret_domains = list;
    return status;
}

/* ---- Accounts ----------------------------------------------------------------------------------
 */

#define ACCOUNT_COLUMNS                                                                            \
    "SELECT id, name, quota, used, inbox, disabled, created_ms FROM account "                      \
    "WHERE removed_ms IS NULL "

static struct account_record account_row(const struct query *q, struct arena *a,
                                         enum status_code *status)
{
    return (struct account_record){
        .id = (uint64_t)query_int(q, 0),
        .name = row_bytes(q, 1, a, status),
        .quota = (uint64_t)query_int(q, 2),
        .used = (uint64_t)query_int(q, 3),
        .inbox = (uint64_t)query_int(q, 4),
        .disabled = query_int(q, 5) != 0,
        .created_ms = query_int(q, 6),
    };
}

static enum status_code one_account(struct query *q, struct arena *a,
                                    struct account_record *ret_account)
{
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        read = STATUS_OK;
        *ret_account = account_row(q, a, &read);
    }
    return row_status(query_end(q), read);
}

enum status_code directory_account(struct db *db, uint64_t account, struct arena *a,
                                   struct account_record *ret_account)
{
    struct query *q = db_query(db, ACCOUNT_COLUMNS "AND id = $id");
    query_bind_int(q, "$id", (int64_t)account);
    return one_account(q, a, ret_account);
}

enum status_code directory_account_by_name(struct db *db, struct str name, struct arena *a,
                                           struct account_record *ret_account)
{
    struct query *q = db_query(db, ACCOUNT_COLUMNS "AND name = $name");
    query_bind_words(q, "$name", name);
    return one_account(q, a, ret_account);
}

enum status_code directory_accounts(struct db *db, struct arena *a,
                                    struct account_record **ret_accounts, size_t *ret_count)
{
    struct query *q = db_query(db, ACCOUNT_COLUMNS "ORDER BY name");
    struct buf rows;
    buf_init(&rows, ROWS_SIZE_MAX);
    enum status_code status = STATUS_OK;
    while (status == STATUS_OK && query_next(q)) {
        struct account_record row = account_row(q, a, &status);
        buf_append(&rows, &row, sizeof row);
    }
    status = row_status(query_end(q), status);
    void *list = NULL;
    status = rows_to_arena(&rows, sizeof(struct account_record), status, a, &list, ret_count);
    if (status == STATUS_OK)
        *ret_accounts = list;
    return status;
}

/* ---- Addresses and aliases ----------------------------------------------------------------------
 */

#define ADDRESS_COLUMNS                                                                            \
    "SELECT a.domain, a.local, d.name, a.account, a.alias, a.created_ms "                          \
    "FROM address a JOIN domain d ON d.id = a.domain "

static struct address_record address_row(const struct query *q, struct arena *a,
                                         enum status_code *status)
{
    return (struct address_record){
        .domain = (uint64_t)query_int(q, 0),
        .local = row_bytes(q, 1, a, status),
        .domain_name = row_bytes(q, 2, a, status),
        .account = (uint64_t)query_int(q, 3),
        .alias = (uint64_t)query_int(q, 4),
        .created_ms = query_int(q, 5),
    };
}

enum status_code directory_address(struct db *db, uint64_t domain, struct str local,
                                   struct arena *a, struct address_record *ret_address)
{
    struct query *q = db_query(db, ADDRESS_COLUMNS "WHERE a.domain = $domain AND a.local = $local");
    query_bind_int(q, "$domain", (int64_t)domain);
    query_bind_words(q, "$local", local);
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        read = STATUS_OK;
        *ret_address = address_row(q, a, &read);
    }
    return row_status(query_end(q), read);
}

enum status_code directory_addresses(struct db *db, uint64_t account, bool aliases, struct arena *a,
                                     struct address_record **ret_addresses, size_t *ret_count)
{
    struct query *q =
        db_query(db, ADDRESS_COLUMNS "WHERE ($account = 0 OR a.account = $account) "
                                     "AND ($aliases = 0 OR a.alias <> 0) ORDER BY d.name, a.local");
    query_bind_int(q, "$account", (int64_t)account);
    query_bind_int(q, "$aliases", aliases);
    struct buf rows;
    buf_init(&rows, ROWS_SIZE_MAX);
    enum status_code status = STATUS_OK;
    while (status == STATUS_OK && query_next(q)) {
        struct address_record row = address_row(q, a, &status);
        buf_append(&rows, &row, sizeof row);
    }
    status = row_status(query_end(q), status);
    void *list = NULL;
    status = rows_to_arena(&rows, sizeof(struct address_record), status, a, &list, ret_count);
    if (status == STATUS_OK)
        *ret_addresses = list;
    return status;
}

enum status_code directory_alias_targets(struct db *db, uint64_t alias, struct arena *a,
                                         struct str **ret_targets, size_t *ret_count)
{
    struct query *q =
        db_query(db, "SELECT target FROM alias_target WHERE alias = $alias ORDER BY number");
    query_bind_int(q, "$alias", (int64_t)alias);
    return rows_of_bytes(q, a, ret_targets, ret_count);
}

enum status_code directory_first_account(struct db *db, uint64_t *ret_account)
{
    struct query *q = db_query(db, "SELECT id FROM account WHERE removed_ms IS NULL "
                                   "AND disabled = 0 ORDER BY id LIMIT 1");
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        read = STATUS_OK;
        *ret_account = (uint64_t)query_int(q, 0);
    }
    return row_status(query_end(q), read);
}

enum status_code directory_first_domain(struct db *db, struct arena *a, struct str *ret_name)
{
    struct query *q = db_query(db, "SELECT name FROM domain ORDER BY id LIMIT 1");
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        read = STATUS_OK;
        *ret_name = row_bytes(q, 0, a, &read);
    }
    return row_status(query_end(q), read);
}

enum status_code directory_owns(struct db *db, uint64_t account, struct str local,
                                struct str domain, bool *ret_owns)
{
    struct query *q =
        db_query(db, "SELECT count(*) FROM address a JOIN domain d ON d.id = a.domain "
                     "WHERE d.name = $domain AND a.local = $local "
                     "AND a.account = $account");
    query_bind_words(q, "$domain", domain);
    query_bind_words(q, "$local", local);
    query_bind_int(q, "$account", (int64_t)account);
    if (query_next(q))
        *ret_owns = query_int(q, 0) > 0;
    return query_end(q);
}
