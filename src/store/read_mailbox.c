#include "store/read.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "store/rows.h"

/*
 * A path is found by walking the tree, one look-up a level: renaming a mailbox changes one row,
 * whatever lies below it.
 */

#define MAILBOX_COLUMNS                                                                            \
    "SELECT m.id, m.account, m.parent, m.name, m.uidvalidity, m.uidnext, m.messages, m.unseen, "   \
    "m.deleted, m.recent_uid, m.modseq, m.size, m.special_use, m.selectable, "                     \
    "CASE WHEN m.account = $account THEN -1 ELSE coalesce((SELECT r.rights FROM mailbox_right r "  \
    "WHERE r.account = $account AND r.mailbox = m.id), 0) END, "                                   \
    "EXISTS (SELECT 1 FROM mailbox c WHERE c.account = m.account AND c.parent = m.id "             \
    "AND c.removed_ms IS NULL) "                                                                   \
    "FROM mailbox m WHERE m.removed_ms IS NULL "

static struct mailbox_record mailbox_row(const struct query *q, struct arena *a,
                                         enum status_code *status)
{
    return (struct mailbox_record){
        .id = (uint64_t)query_int(q, 0),
        .account = (uint64_t)query_int(q, 1),
        .parent = (uint64_t)query_int(q, 2),
        .name = row_bytes(q, 3, a, status),
        .uidvalidity = (uint32_t)query_int(q, 4),
        .uidnext = (uint32_t)query_int(q, 5),
        .messages = (uint32_t)query_int(q, 6),
        .unseen = (uint32_t)query_int(q, 7),
        .deleted = (uint32_t)query_int(q, 8),
        .recent_uid = (uint32_t)query_int(q, 9),
        .modseq = (uint64_t)query_int(q, 10),
        .size = (uint64_t)query_int(q, 11),
        .special_use = (enum special_use)query_int(q, 12),
        .selectable = query_int(q, 13) != 0,
        .rights = (uint32_t)query_int(q, 14) & RIGHT_ALL,
        .has_children = query_int(q, 15) != 0,
    };
}

/* ---- Lists --------------------------------------------------------------------------------------
 */

static int by_id(const void *a, const void *b)
{
    const struct mailbox_record *left = a, *right = b;
    return left->id < right->id ? -1 : left->id > right->id;
}

static int by_path(const void *a, const void *b)
{
    const struct mailbox_record *left = a, *right = b;
    return str_cmp(left->path, right->path);
}

/* Joins the names of a mailbox and of all above it. mailboxes is sorted by id. */
static enum status_code set_path(struct mailbox_record *mailboxes, size_t count,
                                 struct mailbox_record *mailbox, struct arena *a)
{
    char path[LIMIT_MAILBOX_DEPTH * (LIMIT_MAILBOX_NAME_SIZE + 1)];
    size_t at = sizeof path;
    const struct mailbox_record *m = mailbox;
    while (m) {
        bool leaf = m == mailbox;
        if (m->name.len + !leaf > at)
            return STATUS_CORRUPT;
        if (!leaf)
            path[--at] = '/';
        at -= m->name.len;
        memcpy(path + at, m->name.ptr, m->name.len);
        struct mailbox_record key = {.id = m->parent};
        m = key.id ? bsearch(&key, mailboxes, count, sizeof key, by_id) : NULL;
    }
    struct str joined = str_make(path + at, sizeof path - at);
    return arena_dup(a, joined, &mailbox->path) ? STATUS_OK : STATUS_TOO_BIG;
}

static int by_bytes(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static enum status_code set_subscribed(struct db *db, uint64_t account, struct arena *a,
                                       struct mailbox_record *mailboxes, size_t count)
{
    struct str *paths = NULL;
    size_t path_count = 0;
    enum status_code status = read_subscriptions(db, account, a, &paths, &path_count);
    for (size_t i = 0; status == STATUS_OK && path_count > 0 && i < count; i++)
        mailboxes[i].subscribed =
            bsearch(&mailboxes[i].path, paths, path_count, sizeof *paths, by_bytes) != NULL;
    return status;
}

enum status_code read_mailboxes(struct db *db, uint64_t account, struct arena *a,
                                struct mailbox_record **ret_mailboxes, size_t *ret_count)
{
    struct query *q = db_query(db, MAILBOX_COLUMNS "AND m.account = $account ORDER BY m.id");
    query_bind_int(q, "$account", (int64_t)account);
    struct buf rows;
    buf_init(&rows, ROWS_SIZE_MAX);
    enum status_code status = STATUS_OK;
    while (status == STATUS_OK && query_next(q)) {
        struct mailbox_record row = mailbox_row(q, a, &status);
        buf_append(&rows, &row, sizeof row);
    }
    status = row_status(query_end(q), status);
    void *list = NULL;
    size_t count = 0;
    status = rows_to_arena(&rows, sizeof(struct mailbox_record), status, a, &list, &count);
    struct mailbox_record *mailboxes = list;
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = set_path(mailboxes, count, &mailboxes[i], a);
    if (status == STATUS_OK)
        status = set_subscribed(db, account, a, mailboxes, count);
    if (status != STATUS_OK)
        return status;
    if (count > 0)
        qsort(mailboxes, count, sizeof *mailboxes, by_path);
    *ret_mailboxes = mailboxes;
    *ret_count = count;
    return STATUS_OK;
}

/* ---- One mailbox --------------------------------------------------------------------------------
 */

static enum status_code subscribed(struct db *db, uint64_t account, struct mailbox_record *mailbox)
{
    struct query *q =
        db_query(db, "SELECT 1 FROM subscription WHERE account = $account AND path = $path");
    query_bind_int(q, "$account", (int64_t)account);
    query_bind_words(q, "$path", mailbox->path);
    mailbox->subscribed = query_next(q);
    return query_end(q);
}

/* The path of a mailbox whose ancestors are not at hand. */
static enum status_code look_up_path(struct db *db, struct arena *a, struct mailbox_record *mailbox)
{
    struct buf path;
    buf_init(&path, LIMIT_MAILBOX_DEPTH * (LIMIT_MAILBOX_NAME_SIZE + 1));
    struct query *q =
        db_query(db, "WITH RECURSIVE up(id, parent, name, level) AS ("
                     "SELECT id, parent, name, 0 FROM mailbox WHERE id = $id UNION ALL "
                     "SELECT m.id, m.parent, m.name, up.level + 1 FROM mailbox m "
                     "JOIN up ON m.id = up.parent WHERE up.level < $depth) "
                     "SELECT name FROM up ORDER BY level DESC");
    query_bind_int(q, "$id", (int64_t)mailbox->id);
    query_bind_int(q, "$depth", LIMIT_MAILBOX_DEPTH);
    while (query_next(q)) {
        if (path.len > 0)
            buf_append_byte(&path, '/');
        buf_append_str(&path, query_bytes(q, 0));
    }
    enum status_code status = query_end(q);
    if (status == STATUS_OK && (path.failed || !arena_dup(a, buf_str(&path), &mailbox->path)))
        status = STATUS_TOO_BIG;
    buf_release(&path);
    return status;
}

enum status_code read_mailbox(struct db *db, uint64_t account, uint64_t mailbox, struct arena *a,
                              struct mailbox_record *ret_mailbox)
{
    struct query *q = db_query(db, MAILBOX_COLUMNS "AND m.id = $id");
    query_bind_int(q, "$account", (int64_t)account);
    query_bind_int(q, "$id", (int64_t)mailbox);
    struct mailbox_record row = {0};
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        read = STATUS_OK;
        row = mailbox_row(q, a, &read);
    }
    enum status_code status = row_status(query_end(q), read);
    if (status == STATUS_OK && !(row.rights & RIGHT_LOOKUP))
        status = STATUS_NOT_FOUND;
    if (status == STATUS_OK)
        status = look_up_path(db, a, &row);
    if (status == STATUS_OK)
        status = subscribed(db, account, &row);
    if (status == STATUS_OK)
        *ret_mailbox = row;
    return status;
}

enum status_code read_mailbox_child(struct db *db, uint64_t account, uint64_t parent,
                                    struct str name, uint64_t *ret_mailbox)
{
    struct query *q = db_query(db, "SELECT id FROM mailbox WHERE account = $account "
                                   "AND parent = $parent AND name = $name AND removed_ms IS NULL");
    query_bind_int(q, "$account", (int64_t)account);
    query_bind_int(q, "$parent", (int64_t)parent);
    /* RFC 3501 §5.1: INBOX is the same in any case, at the top. */
    bool inbox = parent == 0 && str_eq_nocase(name, STR("INBOX"));
    query_bind_words(q, "$name", inbox ? STR("INBOX") : name);
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        *ret_mailbox = (uint64_t)query_int(q, 0);
        read = STATUS_OK;
    }
    return row_status(query_end(q), read);
}

enum status_code read_mailbox_by_path(struct db *db, uint64_t account, struct str path,
                                      struct arena *a, struct mailbox_record *ret_mailbox)
{
    uint64_t mailbox = 0;
    struct str name;
    enum status_code status = str_empty(path) ? STATUS_NOT_FOUND : STATUS_OK;
    while (status == STATUS_OK && str_split(&path, '/', &name))
        status = read_mailbox_child(db, account, mailbox, name, &mailbox);
    return status == STATUS_OK ? read_mailbox(db, account, mailbox, a, ret_mailbox) : status;
}

enum status_code read_subscriptions(struct db *db, uint64_t account, struct arena *a,
                                    struct str **ret_paths, size_t *ret_count)
{
    struct query *q =
        db_query(db, "SELECT path FROM subscription WHERE account = $account ORDER BY path");
    query_bind_int(q, "$account", (int64_t)account);
    return rows_of_bytes(q, a, ret_paths, ret_count);
}

enum status_code read_keywords(struct db *db, uint64_t mailbox, struct arena *a,
                               struct str **ret_names, size_t *ret_count)
{
    struct query *q =
        db_query(db, "SELECT name FROM keyword WHERE mailbox = $mailbox ORDER BY folded");
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    return rows_of_bytes(q, a, ret_names, ret_count);
}
