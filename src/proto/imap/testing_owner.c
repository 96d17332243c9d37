#include "proto/imap/testing_owner.h"

#include <stdlib.h>

#include "base/bug.h"
#include "mail/mime.h"

#define INTERNAL_MS 1739485890000 /* 13 Feb 2025 22:31:30 UTC */

static const char plain_message[] = "From: Alice Example <alice@example.org>\r\n"
                                    "To: bob@example.org, \"B, C\" <bc@example.org>\r\n"
                                    "Subject: Hello\r\n"
                                    "Date: Thu, 13 Feb 2025 23:31:30 +0100\r\n"
                                    "Message-ID: <1@example.org>\r\n"
                                    "\r\n"
                                    "Hello Bob,\r\n"
                                    "a line.\r\n";

static const char nested_message[] = "From: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>\r\n"
                                     "Subject: two\r\n"
                                     " lines\r\n"
                                     "To: friends: a@example.org, b@example.org;\r\n"
                                     "Date: Fri, 14 Feb 2025 00:10:00 +0200\r\n"
                                     "MIME-Version: 1.0\r\n"
                                     "Content-Type: multipart/mixed; boundary=\"b1\"\r\n"
                                     "\r\n"
                                     "--b1\r\n"
                                     "Content-Type: text/plain; charset=utf-8\r\n"
                                     "\r\n"
                                     "text part\r\n"
                                     "--b1\r\n"
                                     "Content-Type: message/rfc822\r\n"
                                     "Content-Description: inner\r\n"
                                     "\r\n"
                                     "From: carol@example.org\r\n"
                                     "Subject: inside\r\n"
                                     "\r\n"
                                     "inner text\r\n"
                                     "--b1\r\n"
                                     "Content-Type: application/pdf; name=\"a b.pdf\"\r\n"
                                     "Content-Disposition: attachment; filename=\"a b.pdf\"\r\n"
                                     "Content-Transfer-Encoding: base64\r\n"
                                     "Content-ID: <x@y>\r\n"
                                     "Content-Language: en, de\r\n"
                                     "\r\n"
                                     "AAAA\r\n"
                                     "--b1--\r\n";

static const char bare_message[] = "Subject: \"quotes\" and \\\r\n\r\n";

#define PREFIX "Return-Path: <alice@example.org>\r\nDelivered-To: bob@demo.test\r\n"

/* ---- the store ---- */

struct owner_mailbox *owner_find(struct owner *o, struct str name)
{
    for (size_t i = 0; i < o->mailbox_count; i++)
        if (str_eq(name, str_from_c(o->mailboxes[i].name)))
            return &o->mailboxes[i];
    return NULL;
}

static struct owner_mailbox *add_mailbox(struct owner *o, struct str name, bool subscribed,
                                         uint8_t uses)
{
    struct owner_mailbox *m = &o->mailboxes[o->mailbox_count];
    if (o->mailbox_count == OWNER_MAILBOXES || !str_to_c(name, m->name, sizeof m->name))
        return NULL;
    m->subscribed = subscribed;
    m->uses = uses;
    m->uidnext = 1;
    m->no_select = false;
    m->count = 0;
    o->mailbox_count++;
    return m;
}

static struct owner_message *add_message(struct owner_mailbox *m, struct str body)
{
    if (m->count == OWNER_MESSAGES)
        return NULL;
    struct owner_message *message = &m->messages[m->count++];
    *message = (struct owner_message){
        .uid = m->uidnext++, .internal_ms = INTERNAL_MS, .body = body, .prefix = STR(PREFIX)};
    return message;
}

static void release_message(struct owner_message *message)
{
    if (message->is_copy) {
        union {
            const char *borrowed;
            char *owned;
        } body = {message->body.ptr};
        free(body.owned);
    }
}

static struct str copy_of(struct str s)
{
    char *copy = malloc(s.len + 1);
    invariant(copy);
    memcpy(copy, s.ptr ? s.ptr : "", s.len);
    return str_make(copy, s.len);
}

static struct owner_message *message_of(struct owner_mailbox *m, uint32_t uid)
{
    for (size_t i = 0; m && i < m->count; i++)
        if (m->messages[i].uid == uid)
            return &m->messages[i];
    return NULL;
}

static bool holds(struct imap_set set, uint32_t uid)
{
    for (size_t i = 0; i < set.count; i++)
        if (uid >= set.ranges[i].first && uid <= set.ranges[i].last)
            return true;
    return false;
}

static void remove_message(struct owner_mailbox *m, uint32_t uid)
{
    struct owner_message *message = message_of(m, uid);
    size_t at = (size_t)(message - m->messages);
    release_message(message);
    memmove(message, message + 1, (m->count - at - 1) * sizeof *message);
    m->count--;
}

static struct imap_set one(struct imap_range *range, uint32_t uid)
{
    *range = (struct imap_range){uid, uid};
    return (struct imap_set){range, 1};
}

void owner_deliver(struct owner *o, struct owner_mailbox *m, struct str body)
{
    struct imap_range range;
    struct owner_message *message = add_message(m, copy_of(body));
    if (!message)
        return;
    message->is_copy = true;
    if (m == o->selected)
        imap_notify_new(o->engine, one(&range, message->uid));
}

void owner_set_flags(struct owner *o, struct owner_mailbox *m, uint32_t uid, uint8_t flags)
{
    struct imap_range range;
    struct owner_message *message = message_of(m, uid);
    if (message)
        message->flags = flags;
    if (m == o->selected)
        imap_notify_flags(o->engine, one(&range, uid));
}

void owner_expunge(struct owner *o, struct owner_mailbox *m, uint32_t uid)
{
    struct imap_range range;
    if (message_of(m, uid))
        remove_message(m, uid);
    if (m == o->selected)
        imap_notify_expunged(o->engine, one(&range, uid));
}

void owner_init(struct owner *o, const struct imap_config *config)
{
    *o = (struct owner){.config = *config, .now = {1000, 1000}};
    o->mailboxes = calloc(OWNER_MAILBOXES, sizeof *o->mailboxes);
    invariant(o->mailboxes);
    arena_init(&o->arena, 16 << 20);
    buf_init(&o->appended, 1 << 20);
    struct owner_mailbox *inbox = add_mailbox(o, STR("INBOX"), true, 0);
    add_message(inbox, str_from_c(plain_message))->flags = IMAP_SEEN;
    struct owner_message *second = add_message(inbox, str_from_c(nested_message));
    memcpy(second->keywords, "work $Forwarded", sizeof "work $Forwarded");
    second->internal_ms += 86400000;
    add_message(inbox, str_from_c(bare_message))->prefix = STR("");
    add_mailbox(o, STR("Drafts"), true, IMAP_USE_DRAFTS);
    add_mailbox(o, STR("Entw\xC3\xBCrfe"), false, 0);
    add_mailbox(o, STR("Work"), false, 0)->no_select = true;
    add_mailbox(o, STR("Work/2024"), true, 0);
    o->engine = imap_server_create(config, o->now);
    invariant(o->engine);
}

void owner_release(struct owner *o)
{
    for (size_t i = 0; i < o->mailbox_count; i++)
        for (size_t k = 0; k < o->mailboxes[i].count; k++)
            release_message(&o->mailboxes[i].messages[k]);
    free(o->mailboxes);
    arena_reset(&o->arena);
    buf_release(&o->appended);
    imap_server_free(o->engine);
}

/* ---- answers ---- */

static struct str structure_of(struct owner *o, struct str body)
{
    struct mime_parser p;
    struct mime_event event;
    const struct structure *s;
    struct str copy = STR("");
    struct buf blob;
    mime_init(&p, &o->arena);
    do {
        mime_next(&p, &body, &event);
    } while (event.kind != MIME_MORE);
    while (!mime_end(&p, &event))
        continue;
    buf_init(&blob, 4 << 20);
    if (mime_structure(&p, &s) == STATUS_OK && structure_encode(s, &blob))
        (void)arena_dup(&o->arena, buf_str(&blob), &copy);
    buf_release(&blob);
    mime_release(&p);
    return copy;
}

static struct imap_message record_of(struct owner *o, const struct owner_message *m, unsigned need)
{
    struct imap_message record = {.uid = m->uid,
                                  .flags = m->flags,
                                  .keywords = str_from_c(m->keywords),
                                  .modseq = m->uid,
                                  .internal_ms = m->internal_ms,
                                  .size = m->prefix.len + m->body.len,
                                  .prefix_size = (uint32_t)m->prefix.len};
    if (need & IMAP_NEED_STRUCTURE)
        record.structure = structure_of(o, m->body);
    return record;
}

static size_t collect(struct owner *o, struct imap_set set, unsigned need,
                      struct imap_message *records)
{
    size_t count = 0;
    for (size_t i = 0; o->selected && i < o->selected->count; i++)
        if (holds(set, o->selected->messages[i].uid))
            records[count++] = record_of(o, &o->selected->messages[i], need);
    return count;
}

static void answer_fetch(struct owner *o, const struct imap_event *q)
{
    static struct imap_message records[OWNER_MESSAGES];
    size_t count = collect(o, q->fetch.set, q->fetch.need, records);
    uint32_t through = q->fetch.set.ranges[q->fetch.set.count - 1].last;
    if (o->few && count > 1) {
        count = 1;
        through = records[0].uid;
    }
    imap_answer_messages(o->engine, q->token, records, count, through);
}

static void answer_body(struct owner *o, const struct imap_event *q)
{
    const struct owner_message *m = message_of(o->selected, q->body.uid);
    struct buf served;
    if (!m) {
        imap_answer(o->engine, q->token, IMAP_EXPUNGED);
        return;
    }
    buf_init(&served, 4 << 20);
    buf_append_str(&served, m->prefix);
    buf_append_str(&served, m->body);
    size_t size = o->few ? 1 : q->body.size;
    imap_answer_body(o->engine, q->token, str_sub(buf_str(&served), q->body.offset, size));
    buf_release(&served);
}

static void change_keywords(struct owner_message *m, enum imap_store_mode mode, struct str words)
{
    struct str rest = str_from_c(m->keywords);
    struct str word;
    struct buf out;
    if (mode == IMAP_STORE_REPLACE)
        m->keywords[0] = 0;
    buf_init(&out, sizeof m->keywords - 1);
    while (mode != IMAP_STORE_REPLACE && str_split(&rest, ' ', &word))
        if (str_find(words, word) < 0)
            buf_printf(&out, "%s%.*s", out.len ? " " : "", STR_ARG(word));
    if (mode != IMAP_STORE_REMOVE && !str_empty(words))
        buf_printf(&out, "%s%.*s", out.len ? " " : "", STR_ARG(words));
    (void)str_to_c(buf_str(&out), m->keywords, sizeof m->keywords);
    buf_release(&out);
}

static void answer_store(struct owner *o, const struct imap_event *q)
{
    static struct imap_message records[OWNER_MESSAGES];
    for (size_t i = 0; i < o->selected->count; i++) {
        struct owner_message *m = &o->selected->messages[i];
        if (!holds(q->store.set, m->uid))
            continue;
        if (q->store.mode == IMAP_STORE_ADD)
            m->flags |= q->store.flags;
        else if (q->store.mode == IMAP_STORE_REMOVE)
            m->flags &= (uint8_t)~q->store.flags;
        else
            m->flags = q->store.flags;
        change_keywords(m, q->store.mode, q->store.keywords);
    }
    size_t count = collect(o, q->store.set, IMAP_NEED_FLAGS, records);
    imap_answer_store(o->engine, q->token, records, count);
}

static void answer_copy(struct owner *o, const struct imap_event *q)
{
    static struct imap_copied copied[OWNER_MESSAGES];
    struct owner_mailbox *target = owner_find(o, q->copy.name);
    struct imap_range range;
    size_t count = 0;
    if (!target || target->no_select) {
        imap_answer(o->engine, q->token, IMAP_TRYCREATE);
        return;
    }
    size_t source_count = o->selected->count;
    for (size_t i = 0; i < source_count; i++) {
        const struct owner_message *m = &o->selected->messages[i];
        if (!holds(q->copy.set, m->uid))
            continue;
        struct owner_message *added = add_message(target, copy_of(m->body));
        if (!added)
            break;
        uint32_t uid = added->uid;
        *added = (struct owner_message){.uid = uid,
                                        .flags = m->flags,
                                        .internal_ms = m->internal_ms,
                                        .prefix = m->prefix,
                                        .body = added->body,
                                        .is_copy = true};
        copied[count++] = (struct imap_copied){m->uid, uid};
        if (target == o->selected)
            imap_notify_new(o->engine, one(&range, uid));
    }
    for (size_t i = 0; q->kind == IMAP_EVENT_MOVE && i < count; i++)
        owner_expunge(o, o->selected, copied[i].uid);
    imap_answer_copy(o->engine, q->token, 7, copied, count);
}

static void answer_expunge(struct owner *o, const struct imap_event *q)
{
    for (size_t i = o->selected->count; i-- > 0;) {
        const struct owner_message *m = &o->selected->messages[i];
        if ((m->flags & IMAP_DELETED) && (q->expunge.all || holds(q->expunge.set, m->uid)))
            owner_expunge(o, o->selected, m->uid);
    }
    imap_answer(o->engine, q->token, IMAP_OK);
}

static void answer_search(struct owner *o, const struct imap_event *q)
{
    static uint32_t uids[OWNER_MESSAGES];
    size_t count = 0;
    for (size_t i = 0; i < o->selected->count; i++) {
        const struct owner_message *m = &o->selected->messages[i];
        if (holds(q->search.set, m->uid) && str_find(m->body, q->search.key->needle) >= 0)
            uids[count++] = m->uid;
    }
    imap_answer_search(o->engine, q->token, uids, count);
}

static void answer_select(struct owner *o, const struct imap_event *q)
{
    struct owner_mailbox *m = owner_find(o, q->select.name);
    struct imap_selection s = {.uidvalidity = 7, .keywords = STR("work")};
    if (!m || m->no_select) {
        imap_answer(o->engine, q->token, IMAP_NONEXISTENT);
        return;
    }
    o->selected = m;
    s.uidnext = m->uidnext;
    s.recent_from = m->uidnext > 1 ? m->uidnext - 1 : 1;
    for (size_t i = 0; i < m->count; i++) {
        if (!s.first_unseen_uid && !(m->messages[i].flags & IMAP_SEEN))
            s.first_unseen_uid = m->messages[i].uid;
        if (!imap_answer_select_uids(o->engine, q->token, &m->messages[i].uid, 1))
            return;
    }
    imap_answer_select(o->engine, q->token, &s);
}

static void answer_status(struct owner *o, const struct imap_event *q)
{
    const struct owner_mailbox *m = owner_find(o, q->status.name);
    if (!m) {
        imap_answer(o->engine, q->token, IMAP_NONEXISTENT);
        return;
    }
    struct imap_status status = {(uint32_t)m->count, 1, m->uidnext, 7, 2};
    imap_answer_status(o->engine, q->token, &status);
}

static bool has_below(const struct owner *o, const struct owner_mailbox *m, bool subscribed_only)
{
    struct str name = str_from_c(m->name);
    for (size_t i = 0; i < o->mailbox_count; i++) {
        struct str other = str_from_c(o->mailboxes[i].name);
        if (str_starts(other, name) && other.len > name.len && other.ptr[name.len] == '/' &&
            (o->mailboxes[i].subscribed || !subscribed_only))
            return true;
    }
    return false;
}

static void answer_list(struct owner *o, const struct imap_event *q)
{
    struct imap_list_row rows[OWNER_MAILBOXES];
    size_t rows_max = o->few ? 1 : q->list.rows_max;
    size_t count = 0;
    size_t i = 0;
    if (!str_empty(q->list.after)) {
        struct owner_mailbox *after = owner_find(o, q->list.after);
        i = after ? (size_t)(after - o->mailboxes) + 1 : o->mailbox_count;
    }
    for (; i < o->mailbox_count && count < rows_max; i++) {
        const struct owner_mailbox *m = &o->mailboxes[i];
        if (m->name[0] == '\0') /* was removed */
            continue;
        rows[count++] = (struct imap_list_row){.name = str_from_c(m->name),
                                               .no_select = m->no_select,
                                               .subscribed = m->subscribed,
                                               .uses = m->uses,
                                               .has_children = has_below(o, m, false),
                                               .child_subscribed = has_below(o, m, true)};
    }
    imap_answer_list(o->engine, q->token, rows, count, i == o->mailbox_count);
}

static enum imap_code change_mailbox(struct owner *o, const struct imap_event *q)
{
    struct owner_mailbox *m = owner_find(o, q->mailbox.name);
    switch (q->kind) {
    case IMAP_EVENT_CREATE:
        if (m)
            return IMAP_ALREADYEXISTS;
        return add_mailbox(o, q->mailbox.name, false, q->mailbox.uses) ? IMAP_OK : IMAP_OVERQUOTA;
    case IMAP_EVENT_DELETE:
        if (!m)
            return IMAP_NONEXISTENT;
        m->name[0] = 0;
        if (m == o->selected)
            imap_notify_mailbox_gone(o->engine);
        return IMAP_OK;
    case IMAP_EVENT_RENAME:
        if (!m || owner_find(o, q->mailbox.new_name))
            return m ? IMAP_ALREADYEXISTS : IMAP_NONEXISTENT;
        return str_to_c(q->mailbox.new_name, m->name, sizeof m->name) ? IMAP_OK : IMAP_CANNOT;
    default:
        if (!m)
            return IMAP_NONEXISTENT;
        m->subscribed = q->kind == IMAP_EVENT_SUBSCRIBE;
        return IMAP_OK;
    }
}

/* ---- login ---- */

static void answer_auth(struct owner *o, const struct imap_event *q)
{
    bool is_login = q->kind == IMAP_EVENT_LOGIN;
    bool good =
        is_login ? str_eq(q->login.user, STR("alice")) && str_eq(q->login.password, STR("se\"cret"))
                 : str_eq(q->auth.data, STR("Z29vZA=="));
    if (!is_login && q->kind == IMAP_EVENT_AUTH_START && !q->auth.has_data)
        imap_answer_auth_challenge(o->engine, q->token, STR(""));
    else if (!is_login && str_eq(q->auth.data, STR("c2NyYW0=")))
        imap_answer_auth(o->engine, q->token, IMAP_OK, STR("dj1maW5hbA=="));
    else
        imap_answer_auth(o->engine, q->token, good ? IMAP_OK : IMAP_AUTHENTICATIONFAILED, STR(""));
}

/* ---- APPEND ---- */

static void begin_append(struct owner *o, const struct imap_event *q)
{
    struct owner_mailbox *m = owner_find(o, q->append.name);
    o->append = *q;
    buf_clear(&o->appended);
    if (!m || m->no_select || !str_to_c(q->append.name, o->append_name, sizeof o->append_name) ||
        !str_to_c(q->append.keywords, o->append_keywords, sizeof o->append_keywords)) {
        imap_answer(o->engine, q->token, IMAP_TRYCREATE);
        return;
    }
    imap_answer(o->engine, q->token, IMAP_OK);
}

static void end_append(struct owner *o, const struct imap_event *q)
{
    struct imap_range range;
    struct owner_mailbox *m = owner_find(o, str_from_c(o->append_name));
    invariant(o->appended.len == o->append.append.size || o->appended.failed);
    struct owner_message *message = m ? add_message(m, copy_of(buf_str(&o->appended))) : NULL;
    if (!message) {
        imap_answer(o->engine, q->token, IMAP_OVERQUOTA);
        return;
    }
    message->is_copy = true;
    message->prefix = STR("");
    message->flags = o->append.append.flags;
    memcpy(message->keywords, o->append_keywords, sizeof message->keywords);
    if (o->append.append.has_date)
        message->internal_ms = o->append.append.internal_ms;
    if (m == o->selected)
        imap_notify_new(o->engine, one(&range, message->uid));
    imap_answer_append(o->engine, q->token, 7, message->uid);
}

/* ---- events ---- */

static const struct {
    const char *name;
    void (*answer)(struct owner *o, const struct imap_event *q);
} answers[IMAP_EVENT_COUNT] = {
    [IMAP_EVENT_LOGIN] = {"LOGIN", answer_auth},
    [IMAP_EVENT_AUTH_START] = {"AUTH_START", answer_auth},
    [IMAP_EVENT_AUTH_RESPONSE] = {"AUTH_RESPONSE", answer_auth},
    [IMAP_EVENT_LIST] = {"LIST", answer_list},
    [IMAP_EVENT_STATUS] = {"STATUS", answer_status},
    [IMAP_EVENT_SELECT] = {"SELECT", answer_select},
    [IMAP_EVENT_CREATE] = {"CREATE", NULL},
    [IMAP_EVENT_DELETE] = {"DELETE", NULL},
    [IMAP_EVENT_RENAME] = {"RENAME", NULL},
    [IMAP_EVENT_SUBSCRIBE] = {"SUBSCRIBE", NULL},
    [IMAP_EVENT_UNSUBSCRIBE] = {"UNSUBSCRIBE", NULL},
    [IMAP_EVENT_APPEND] = {"APPEND", begin_append},
    [IMAP_EVENT_APPEND_DATA] = {"APPEND_DATA", NULL},
    [IMAP_EVENT_APPEND_END] = {"APPEND_END", end_append},
    [IMAP_EVENT_FETCH] = {"FETCH", answer_fetch},
    [IMAP_EVENT_BODY] = {"BODY", answer_body},
    [IMAP_EVENT_STORE] = {"STORE", answer_store},
    [IMAP_EVENT_COPY] = {"COPY", answer_copy},
    [IMAP_EVENT_MOVE] = {"MOVE", answer_copy},
    [IMAP_EVENT_EXPUNGE] = {"EXPUNGE", answer_expunge},
    [IMAP_EVENT_SEARCH_TEXT] = {"SEARCH_TEXT", answer_search},
};

static void answer_question(struct owner *o, const struct imap_event *q)
{
    o->asked++;
    if (q->kind == o->fail_kind) {
        o->fail_kind = 0;
        imap_answer(o->engine, q->token, o->fail_code);
    } else if (answers[q->kind].answer) {
        answers[q->kind].answer(o, q);
    } else if (q->kind == IMAP_EVENT_APPEND_DATA) {
        buf_append_str(&o->appended, q->data);
        imap_answer(o->engine, q->token, IMAP_OK);
    } else {
        imap_answer(o->engine, q->token, change_mailbox(o, q));
    }
    arena_reset(&o->arena);
}

void owner_pump(struct owner *o)
{
    struct imap_event event;
    while (imap_server_next(o->engine, &event)) {
        if (event.token)
            answer_question(o, &event);
        else if (event.kind == IMAP_EVENT_CLOSE)
            o->closed = true;
        else if (event.kind == IMAP_EVENT_STARTTLS)
            o->tls_wanted = true;
        else if (event.kind == IMAP_EVENT_UNSELECTED)
            o->selected = NULL;
        else if (event.kind == IMAP_EVENT_APPEND_ABORT)
            o->aborted++;
    }
}

enum imap_event_kind owner_kind_of(struct str name)
{
    for (int kind = 0; kind < IMAP_EVENT_COUNT; kind++)
        if (str_eq(name, str_from_c(answers[kind].name)) && answers[kind].name)
            return (enum imap_event_kind)kind;
    return 0;
}

enum imap_code owner_code_of(struct str name)
{
    static const char *const names[IMAP_CODE_COUNT] = {
        [IMAP_OK] = "OK",
        [IMAP_NO] = "NO",
        [IMAP_NONEXISTENT] = "NONEXISTENT",
        [IMAP_TRYCREATE] = "TRYCREATE",
        [IMAP_ALREADYEXISTS] = "ALREADYEXISTS",
        [IMAP_HASCHILDREN] = "HASCHILDREN",
        [IMAP_CANNOT] = "CANNOT",
        [IMAP_NOPERM] = "NOPERM",
        [IMAP_OVERQUOTA] = "OVERQUOTA",
        [IMAP_LIMIT] = "LIMIT",
        [IMAP_INUSE] = "INUSE",
        [IMAP_EXPUNGED] = "EXPUNGED",
        [IMAP_UNAVAILABLE] = "UNAVAILABLE",
        [IMAP_SERVERBUG] = "SERVERBUG",
        [IMAP_TOOBIG] = "TOOBIG",
        [IMAP_BADMESSAGE] = "BADMESSAGE",
        [IMAP_AUTHENTICATIONFAILED] = "AUTHENTICATIONFAILED",
        [IMAP_AUTHORIZATIONFAILED] = "AUTHORIZATIONFAILED",
        [IMAP_EXPIRED] = "EXPIRED",
        [IMAP_USEATTR] = "USEATTR",
        [IMAP_BADMECHANISM] = "BADMECHANISM",
        [IMAP_BADSASL] = "BADSASL",
        [IMAP_PRIVACYREQUIRED] = "PRIVACYREQUIRED",
        [IMAP_BADCHARSET] = "BADCHARSET",
        [IMAP_READ_ONLY] = "READ_ONLY",
        [IMAP_BAD] = "BAD",
    };
    for (int code = 0; code < IMAP_CODE_COUNT; code++)
        if (str_eq(name, str_from_c(names[code])))
            return (enum imap_code)code;
    return IMAP_CODE_COUNT;
}
