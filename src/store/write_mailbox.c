#include "base/buf.h"
#include "base/limits.h"
#include "codec/utf8.h"
#include "store/write.h"

/* ---- Names --------------------------------------------------------------------------------------
 */

/*
 * UTF-8 without control characters, and not one that a list of mailboxes would take for more, or a
 * client that keeps its mail in folders for a way out of them: mbsync goes on with none where it
 * sees "..".
 */
static bool is_name(struct str name)
{
    if (str_eq(name, STR(".")) || str_eq(name, STR("..")))
        return false;
    if (str_empty(name) || name.len > LIMIT_MAILBOX_NAME_SIZE || !utf8_valid(name))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] < ' ' || name.ptr[i] == 0x7f || name.ptr[i] == '%' ||
            name.ptr[i] == '*')
            return false;
    return true;
}

static enum status_code check_path(struct str path)
{
    size_t depth = 0;
    struct str name, rest = path;
    while (str_split(&rest, '/', &name))
        if (++depth > LIMIT_MAILBOX_DEPTH || !is_name(name))
            return STATUS_INVALID;
    return depth == 0 || str_ends(path, STR("/")) ? STATUS_INVALID : STATUS_OK;
}

/* Parts the last name from the way to it. */
static struct str split_last(struct str path, struct str *ret_way)
{
    ptrdiff_t slash = str_rfind_byte(path, '/');
    *ret_way = str_sub(path, 0, slash < 0 ? 0 : (size_t)slash);
    return slash < 0 ? path : str_skip(path, (size_t)slash + 1);
}

/* ---- Making
 * -------------------------------------------------------------------------------------- */

/* RFC 3501 §2.3.1.1: never smaller than one given out before; also grows with the clock. */
static uint32_t new_uidvalidity(struct writer *w, int64_t at_ms)
{
    uint32_t now_s = uidvalidity_of(at_ms);
    w->uidvalidity = now_s > w->uidvalidity ? now_s : w->uidvalidity + 1;
    return w->uidvalidity;
}

struct mailbox_new {
    uint64_t account;
    uint64_t parent;
    struct str name;
    enum special_use special_use;
    bool selectable;
};

static enum status_code insert_mailbox(struct writer *w, const struct mailbox_new *mailbox,
                                       int64_t at_ms, uint64_t *ret_mailbox)
{
    uint64_t id = w->next_id++;
    struct query *q = db_query(
        w->db, "INSERT INTO mailbox (id, account, parent, name, uidvalidity, special_use, "
               "selectable, created_ms) VALUES ($id, $account, $parent, $name, $uidvalidity, "
               "$special_use, $selectable, $at_ms)");
    query_bind_int(q, "$id", (int64_t)id);
    query_bind_int(q, "$account", (int64_t)mailbox->account);
    query_bind_int(q, "$parent", (int64_t)mailbox->parent);
    query_bind_words(q, "$name", mailbox->name);
    query_bind_int(q, "$uidvalidity", new_uidvalidity(w, at_ms));
    query_bind_int(q, "$special_use", mailbox->special_use);
    query_bind_int(q, "$selectable", mailbox->selectable);
    query_bind_int(q, "$at_ms", at_ms);
    *ret_mailbox = id;
    return query_run(q);
}

static enum status_code check_count(struct writer *w, uint64_t account)
{
    int64_t count = 0;
    struct query *q = db_query(w->db, "SELECT count(*) FROM mailbox WHERE account = $account "
                                      "AND removed_ms IS NULL");
    query_bind_int(q, "$account", (int64_t)account);
    if (query_next(q))
        count = query_int(q, 0);
    enum status_code status = query_end(q);
    return status == STATUS_OK && count >= LIMIT_MAILBOXES ? STATUS_TOO_BIG : status;
}

/* The mailbox that a way leads to, made where it is missing; 0 for the empty way. */
static enum status_code make_way(struct writer *w, uint64_t account, struct str way, int64_t at_ms,
                                 uint64_t *ret_mailbox)
{
    uint64_t at = 0;
    struct str name;
    enum status_code status = STATUS_OK;
    while (status == STATUS_OK && str_split(&way, '/', &name)) {
        uint64_t parent = at;
        status = read_mailbox_child(w->db, account, parent, name, &at);
        if (status == STATUS_NOT_FOUND)
            status = check_count(w, account);
        else
            continue;
        struct mailbox_new mailbox = {
            .account = account, .parent = parent, .name = name, .selectable = true};
        if (status == STATUS_OK)
            status = insert_mailbox(w, &mailbox, at_ms, &at);
    }
    *ret_mailbox = at;
    return status;
}

static enum status_code revive(struct writer *w, uint64_t mailbox, enum special_use special_use)
{
    struct query *q = db_query(w->db, "UPDATE mailbox SET selectable = 1, special_use = $use "
                                      "WHERE id = $id AND selectable = 0");
    query_bind_int(q, "$use", special_use);
    query_bind_int(q, "$id", (int64_t)mailbox);
    enum status_code status = query_run(q);
    return status == STATUS_OK && db_changes(w->db) == 0 ? STATUS_EXISTS : status;
}

enum status_code mailbox_create(struct writer *w, uint64_t account, struct text path,
                                enum special_use special_use, int64_t at_ms, uint64_t *ret_mailbox)
{
    struct str whole = text_peek(path), way;
    enum status_code status = check_path(whole);
    struct mailbox_new mailbox = {.account = account,
                                  .name = split_last(whole, &way),
                                  .special_use = special_use,
                                  .selectable = true};
    if (special_use > SPECIAL_TRASH)
        status = STATUS_INVALID;
    if (status == STATUS_OK)
        status = make_way(w, account, way, at_ms, &mailbox.parent);
    if (status != STATUS_OK)
        return status;
    status = read_mailbox_child(w->db, account, mailbox.parent, mailbox.name, ret_mailbox);
    if (status == STATUS_OK)
        return revive(w, *ret_mailbox, special_use);
    if (status == STATUS_NOT_FOUND)
        status = check_count(w, account);
    return status == STATUS_OK ? insert_mailbox(w, &mailbox, at_ms, ret_mailbox) : status;
}

/* ---- Removing
 * ------------------------------------------------------------------------------------- */

static enum status_code has_children(struct writer *w, const struct mailbox_access *mailbox,
                                     bool *ret_has)
{
    struct query *q = db_query(w->db, "SELECT 1 FROM mailbox WHERE account = $account "
                                      "AND parent = $id AND removed_ms IS NULL LIMIT 1");
    query_bind_int(q, "$account", (int64_t)mailbox->account);
    query_bind_int(q, "$id", (int64_t)mailbox->mailbox);
    *ret_has = query_next(q);
    return query_end(q);
}

/* What goes with a mailbox: its messages, and as many rows as they, it and its keywords are. */
struct removed {
    struct buf name;
    int64_t size;
    int64_t rows;
};

static enum status_code set_removed(struct writer *w, uint64_t mailbox, int64_t clock_ms,
                                    struct removed *r)
{
    struct query *q =
        db_query(w->db, "UPDATE mailbox SET removed_ms = $clock_ms WHERE id = $id RETURNING name, "
                        "size, messages + 1 + (SELECT count(*) FROM keyword WHERE mailbox = $id)");
    query_bind_int(q, "$clock_ms", clock_ms);
    query_bind_int(q, "$id", (int64_t)mailbox);
    if (query_next(q)) {
        buf_append_str(&r->name, query_bytes(q, 0));
        r->size = query_int(q, 1);
        r->rows = query_int(q, 2);
    }
    return query_run(q);
}

static enum status_code reparent(struct writer *w, const struct mailbox_access *from, uint64_t to)
{
    struct query *q = db_query(w->db, "UPDATE mailbox SET parent = $to WHERE account = $account "
                                      "AND parent = $from AND removed_ms IS NULL");
    query_bind_int(q, "$to", (int64_t)to);
    query_bind_int(q, "$account", (int64_t)from->account);
    query_bind_int(q, "$from", (int64_t)from->mailbox);
    return query_run(q);
}

/*
 * RFC 3501 §6.3.4: a mailbox with children leaves its name behind, as one that cannot be selected.
 * That is a new row, so the messages go with the old one, whatever their number.
 */
enum status_code mailbox_remove(struct writer *w, const struct mailbox_access *mailbox,
                                int64_t at_ms, int64_t clock_ms)
{
    bool parent = false;
    enum status_code status = has_children(w, mailbox, &parent);
    if (status != STATUS_OK)
        return status;
    if (mailbox->is_inbox)
        return STATUS_INVALID;
    if (parent && !mailbox->selectable)
        return STATUS_BUSY;
    struct removed removed = {0};
    buf_init(&removed.name, LIMIT_MAILBOX_NAME_SIZE);
    status = set_removed(w, mailbox->mailbox, clock_ms, &removed);
    struct mailbox_new left = {.account = mailbox->account, .parent = mailbox->parent};
    left.name = buf_str(&removed.name);
    uint64_t id = 0;
    if (status == STATUS_OK && parent)
        status = insert_mailbox(w, &left, at_ms, &id);
    if (status == STATUS_OK && parent)
        status = reparent(w, mailbox, id);
    if (status == STATUS_OK)
        status = account_expunged(w, mailbox->account, removed.size, removed.rows);
    buf_release(&removed.name);
    return status;
}

/* ---- Renaming
 * -------------------------------------------------------------------------------------- */

/* Is `mailbox` itself or something below it on the way up from `at`? */
static enum status_code is_below(struct writer *w, uint64_t at, uint64_t mailbox, bool *ret_below)
{
    struct query *q =
        db_query(w->db, "WITH RECURSIVE up(id, level) AS (SELECT $at, 0 UNION ALL "
                        "SELECT m.parent, up.level + 1 FROM mailbox m JOIN up ON m.id = up.id "
                        "WHERE up.level < $depth) SELECT 1 FROM up WHERE id = $mailbox");
    query_bind_int(q, "$at", (int64_t)at);
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    query_bind_int(q, "$depth", LIMIT_MAILBOX_DEPTH + 1);
    *ret_below = query_next(q);
    return query_end(q);
}

/* Levels from a mailbox down to its deepest descendant, itself counted. */
static enum status_code height(struct writer *w, const struct mailbox_access *mailbox,
                               int64_t *ret_levels)
{
    struct query *q = db_query(
        w->db, "WITH RECURSIVE down(id, level) AS (SELECT $id, 1 UNION ALL "
               "SELECT m.id, down.level + 1 FROM mailbox m JOIN down ON m.parent = down.id "
               "WHERE m.account = $account AND m.removed_ms IS NULL AND down.level < $depth) "
               "SELECT max(level) FROM down");
    query_bind_int(q, "$id", (int64_t)mailbox->mailbox);
    query_bind_int(q, "$account", (int64_t)mailbox->account);
    query_bind_int(q, "$depth", LIMIT_MAILBOX_DEPTH + 1);
    if (query_next(q))
        *ret_levels = query_int(q, 0);
    return query_end(q);
}

static size_t levels_of(struct str way)
{
    size_t levels = 0;
    struct str name;
    while (str_split(&way, '/', &name))
        levels++;
    return levels;
}

static enum status_code set_place(struct writer *w, uint64_t mailbox, uint64_t parent,
                                  struct str name, enum special_use use)
{
    struct query *q = db_query(w->db, "UPDATE mailbox SET parent = $parent, name = $name, "
                                      "special_use = CASE WHEN special_use = $inbox THEN $use "
                                      "ELSE special_use END WHERE id = $id");
    query_bind_int(q, "$parent", (int64_t)parent);
    query_bind_words(q, "$name", name);
    query_bind_int(q, "$inbox", SPECIAL_INBOX);
    query_bind_int(q, "$use", use);
    query_bind_int(q, "$id", (int64_t)mailbox);
    return query_run(q);
}

/*
 * RFC 3501 §6.3.5: the messages of INBOX go to the new name, and an empty INBOX stays, with its
 * children. So the row becomes the new mailbox, and another one becomes INBOX.
 */
static enum status_code replace_inbox(struct writer *w, const struct mailbox_access *old,
                                      int64_t at_ms)
{
    struct mailbox_new inbox = {.account = old->account,
                                .name = STR("INBOX"),
                                .special_use = SPECIAL_INBOX,
                                .selectable = true};
    uint64_t id = 0;
    enum status_code status = insert_mailbox(w, &inbox, at_ms, &id);
    if (status == STATUS_OK)
        status = reparent(w, old, id);
    if (status != STATUS_OK)
        return status;
    struct query *q = db_query(w->db, "UPDATE account SET inbox = $inbox WHERE id = $account");
    query_bind_int(q, "$inbox", (int64_t)id);
    query_bind_int(q, "$account", (int64_t)old->account);
    return query_run(q);
}

enum status_code mailbox_rename(struct writer *w, const struct mailbox_access *mailbox,
                                struct text path, int64_t at_ms)
{
    struct str whole = text_peek(path), way;
    struct str name = split_last(whole, &way);
    uint64_t parent = 0, taken = 0;
    int64_t levels = 1;
    bool below = false;
    enum status_code status = check_path(whole);
    if (status == STATUS_OK)
        status = make_way(w, mailbox->account, way, at_ms, &parent);
    if (status == STATUS_OK)
        status = is_below(w, parent, mailbox->mailbox, &below);
    if (status == STATUS_OK && !mailbox->is_inbox)
        status = height(w, mailbox, &levels);
    if (status != STATUS_OK)
        return status;
    /* INBOX leaves its children where they are, so its new name may be among them. */
    if ((below && !mailbox->is_inbox) || levels_of(way) + (size_t)levels > LIMIT_MAILBOX_DEPTH)
        return STATUS_INVALID;
    status = read_mailbox_child(w->db, mailbox->account, parent, name, &taken);
    if (status != STATUS_NOT_FOUND)
        return status == STATUS_OK ? STATUS_EXISTS : status;
    status = set_place(w, mailbox->mailbox, parent, name, SPECIAL_NONE);
    return status == STATUS_OK && mailbox->is_inbox ? replace_inbox(w, mailbox, at_ms) : status;
}

/* ---- Small things
 * ----------------------------------------------------------------------------------- */

/* What is subscribed already is no more for being subscribed again. */
static enum status_code check_subscriptions(struct writer *w, uint64_t account, struct text path)
{
    int64_t others = 0;
    struct query *q = db_query(w->db, "SELECT count(*) FROM subscription "
                                      "WHERE account = $account AND path <> $path");
    query_bind_int(q, "$account", (int64_t)account);
    query_bind_words(q, "$path", text_peek(path));
    if (query_next(q))
        others = query_int(q, 0);
    enum status_code status = query_end(q);
    return status == STATUS_OK && others >= LIMIT_MAILBOXES ? STATUS_TOO_BIG : status;
}

enum status_code subscription_set(struct writer *w, uint64_t account, struct text path,
                                  bool subscribed)
{
    enum status_code status = STATUS_OK;
    /* What was subscribed may have been made before a rule for names; it can always be dropped. */
    if (subscribed && check_path(text_peek(path)) != STATUS_OK)
        return STATUS_INVALID;
    if (subscribed)
        status = check_subscriptions(w, account, path);
    if (status != STATUS_OK)
        return status;
    struct query *q = subscribed
                          ? db_query(w->db, "INSERT INTO subscription (account, path) "
                                            "VALUES ($account, $path) ON CONFLICT DO NOTHING")
                          : db_query(w->db, "DELETE FROM subscription WHERE account = $account "
                                            "AND path = $path");
    query_bind_int(q, "$account", (int64_t)account);
    /* UTF-8 was checked where it matters: what is stored. */
    query_bind_words(q, "$path", text_peek(path));
    return query_run(q);
}

enum status_code recent_claim(struct writer *w, const struct mailbox_access *mailbox,
                              uint32_t *ret_first)
{
    *ret_first = mailbox->recent_uid;
    if (mailbox->recent_uid == mailbox->uidnext)
        return STATUS_OK;
    struct query *q = db_query(w->db, "UPDATE mailbox SET recent_uid = uidnext WHERE id = $id");
    query_bind_int(q, "$id", (int64_t)mailbox->mailbox);
    return query_run(q);
}
