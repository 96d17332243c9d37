/* A message from its first octet to the reply to its last dot. */

#include <stdlib.h>

#include "base/limits.h"
#include "mail/address.h"
#include "mail/address_list.h"
#include "roles/edge_confirm.h"
#include "roles/edge_smtp.h"
#include "store/queue.h"

static const struct smtp_reply reply_full =
    SMTP_REPLY(452, 4, 3, 1, "Out of disk space, try again later");
static const struct smtp_reply reply_loop =
    SMTP_REPLY(554, 5, 4, 6, "Too many Received fields: a mail loop");
static const struct smtp_reply reply_long_header =
    SMTP_REPLY(552, 5, 3, 4, "The header of the message is too large");
static const struct smtp_reply reply_no_from =
    SMTP_REPLY(550, 5, 6, 0, "A message needs one From field with an address");

/* ---- The body -----------------------------------------------------------------------------------
 */

static void on_room(void *context)
{
    edge_smtp_let_go(context);
}

static bool put_received(struct edge_smtp *s, const struct smtp_event_body_start *start,
                         struct buf *out, struct now now)
{
    struct edge_conn *conn = s->conn;
    struct mailbox_address only;
    struct str first = edge_message_recipient(s->message, 0);
    bool one = start->recipients == 1 && address_parse_mailbox(first, &only) == ADDRESS_OK;
    struct tls_facts tls = {0};
    if (edge_conn_has_tls(conn))
        tls = tls_facts(stream_tls(&conn->stream));
    struct received_facts facts = {
        .helo = start->helo,
        .rdns = text_from(buf_str(&conn->rdns)),
        .peer = conn->is_local ? STR("") : str_from_c(conn->peer),
        .uid = conn->is_local ? &conn->uid : NULL,
        .host = conn->settings->config.hostname,
        .protocol = start->with,
        .id = str_from_c(edge_message_id(s->message)),
        .tls = str_from_c(tls.version),
        .cipher = str_from_c(tls.cipher),
        .recipient = one ? &only : NULL,
        .wall_ms = now.wall_ms,
    };
    return header_put_received(out, &facts);
}

void edge_smtp_begin_body(struct edge_smtp *s, const struct smtp_event_body_start *start,
                          struct now now)
{
    struct buf received;
    buf_init(&received, 8192);
    buf_clear(&s->helo);
    buf_append_str(&s->helo, text_peek(start->helo));
    s->facts = (struct edge_message_facts){0};
    bool begun = put_received(s, start, &received, now) &&
                 edge_message_begin(s->message, buf_str(&received), s->conn->settings,
                                    edge_smtp_is_submission(s) || s->conn->is_local, now);
    buf_release(&received);
    if (begun)
        edge_message_on_room(s->message, on_room, s);
    edge_smtp_answer(s, begun ? &edge_smtp_reply_usual : &edge_smtp_reply_no_room);
}

void edge_smtp_take_body(struct edge_smtp *s, struct str octets)
{
    edge_message_write(s->message, octets);
    if (s->held || !edge_message_is_full(s->message))
        return;
    s->held = true;
    edge_conn_hold(s->conn);
}

/* ---- The final dot ------------------------------------------------------------------------------
 */

static const struct smtp_reply *reply_to_status(enum status_code status)
{
    static const struct smtp_reply over_quota =
        SMTP_REPLY(452, 4, 2, 2, "The mailbox is full, try again later");
    static const struct smtp_reply refused = SMTP_REPLY(554, 5, 3, 0, "Cannot be delivered");
    switch (status) {
    case STATUS_OK:
        return &edge_smtp_reply_usual;
    case STATUS_NO_MEMORY:
        return &edge_smtp_reply_no_room;
    case STATUS_DISK_FULL:
        return &reply_full;
    case STATUS_OVER_QUOTA:
        return &over_quota;
    case STATUS_NOT_FOUND: /* the account went away between RCPT and now */
        return &edge_smtp_reply_temporary;
    default:
        return status_is_temporary(status) ? &edge_smtp_reply_temporary : &refused;
    }
}

/* why: empty where it is kept. */
static void log_result(struct edge_smtp *s, struct str why, bool again)
{
    struct log_line line;
    bool kept = str_empty(why);
    edge_count(s->conn->edge, "postern_edge_messages", "Messages to their last dot.", "outcome",
               kept ? "accepted" : "refused");
    edge_conn_log(s->conn, &line, kept ? LOG_INFO : LOG_WARN, kept ? "accepted" : "not-accepted",
                  edge_message_id(s->message));
    log_words(&line, "conn", s->conn->id);
    log_text(&line, "helo", text_from(buf_str(&s->helo)));
    log_text(&line, "from", text_from(edge_message_reverse_path(s->message)));
    log_text(&line, "to", text_from(edge_message_recipient(s->message, 0)));
    log_number(&line, "recipients", (int64_t)edge_message_recipient_count(s->message));
    if (s->facts.size > 0)
        log_number(&line, "size", (int64_t)s->facts.size);
    if (!kept)
        log_str(&line, "why", why);
    if (again)
        log_bool(&line, "retransmission", true);
    log_end(&line);
}

void edge_smtp_note_refused(struct edge_smtp *s, struct str why)
{
    if (s->message)
        log_result(s, why, false);
}

/* The last dot, or BDAT LAST, and nothing is kept. */
static void refuse(struct edge_smtp *s, const struct smtp_reply *reply, const char *why)
{
    log_result(s, str_from_c(why), false);
    edge_smtp_answer(s, reply);
    edge_smtp_drop_message(s);
}

/* LMTP answers for each recipient (RFC 2033 §4.2). */
static void answer_each(struct edge_smtp *s, const struct ipc_accept_result *results, size_t count,
                        const struct smtp_reply *kept)
{
    struct smtp_reply *replies = calloc(count, sizeof *replies);
    for (size_t i = 0; replies && i < count; i++)
        replies[i] = results[i].status == STATUS_OK ? *kept : *reply_to_status(results[i].status);
    if (replies)
        smtp_server_answer_each(s->engine, edge_smtp_take_token(s), replies, count,
                                edge_conn_now(s->conn));
    else
        edge_smtp_answer(s, &edge_smtp_reply_temporary);
    free(replies);
}

/* SMTP says 250 only when it holds for all of them. */
static void answer_results(struct edge_smtp *s, const struct ipc_accept_result *results,
                           size_t count)
{
    enum status_code worst = STATUS_OK;
    bool again = true;
    for (size_t i = 0; i < count; i++) {
        if (results[i].status != STATUS_OK)
            worst = results[i].status;
        again = again && results[i].again;
    }
    log_result(s, worst == STATUS_OK ? STR("") : str_from_c(status_name(worst)), again);
    struct buf words;
    buf_init(&words, 100);
    buf_printf(&words, "Ok, kept as %s", edge_message_id(s->message));
    struct smtp_reply kept = {250, 2, 0, 0, buf_str(&words)};
    if (s->conn->kind == LISTEN_LMTP)
        answer_each(s, results, count, &kept);
    else
        edge_smtp_answer(s, worst == STATUS_OK ? &kept : reply_to_status(worst));
    buf_release(&words);
}

static void remember_keys(struct edge_smtp *s)
{
    size_t count;
    const struct ipc_key *keys = edge_message_keys(s->message, &count);
    if (s->unconfirmed.len + count * EDGE_SMTP_KEY_SIZE > s->unconfirmed.max)
        buf_clear(&s->unconfirmed);
    for (size_t i = 0; i < count; i++)
        buf_append_str(&s->unconfirmed, keys[i].key);
}

static void on_accepted(void *context, enum status_code status,
                        const struct ipc_accept_result *results, size_t count)
{
    struct edge_smtp *s = context;
    if (status == STATUS_OK) {
        remember_keys(s);
        answer_results(s, results, count);
        edge_smtp_drop_message(s);
    } else {
        refuse(s, reply_to_status(status), status_name(status));
    }
    /* Whatever else was pipelined: what is kept is said to be kept at once. */
    edge_conn_flush(s->conn);
    edge_conn_run(s->conn);
}

/*
 * A client that goes on in the same session has lost no reply: equal octets are a second message,
 * even where they were pipelined so early that they prove nothing.
 */
static void confirm_repeated(struct edge_smtp *s)
{
    size_t count;
    const struct ipc_key *keys = edge_message_keys(s->message, &count);
    for (size_t i = 0; i < count; i++)
        for (struct str old = buf_str(&s->unconfirmed); old.len > 0;
             old = str_skip(old, EDGE_SMTP_KEY_SIZE))
            if (str_eq(str_sub(old, 0, EDGE_SMTP_KEY_SIZE), keys[i].key))
                edge_confirm(s->conn->edge->confirmations, keys[i].key);
}

/* The superuser could lift the limit as well; relay-from is for servers, which have many users. */
static int64_t counted(const struct edge_smtp *s)
{
    if (!s->conn->is_local)
        return (int64_t)s->who.account;
    return s->conn->uid == 0 ? 0 : sent_by_user(s->conn->uid);
}

static void commit(struct edge_smtp *s, struct now now)
{
    if (s->login_ended) {
        refuse(s, &edge_smtp_reply_login_ended, "the login has ended");
        return;
    }
    confirm_repeated(s);
    struct buf tls;
    buf_init(&tls, 128);
    edge_conn_tls_words(s->conn, &tls);
    struct edge_message_origin origin = {
        .listener_kind = (uint8_t)s->conn->kind,
        .account = s->who.account,
        .counted = counted(s),
        .helo = text_from(buf_str(&s->helo)),
        .peer = str_from_c(s->conn->peer),
        .tls = buf_str(&tls),
    };
    if (!edge_message_accept(s->message, &origin, now, on_accepted, s))
        refuse(s, &edge_smtp_reply_temporary, status_name(STATUS_GONE));
    buf_release(&tls);
}

static void on_from(void *context, enum status_code status, const struct ipc_sender_out *out)
{
    struct edge_smtp *s = context;
    s->call = 0;
    if (status == STATUS_OK && out->status == STATUS_OK) {
        commit(s, edge_conn_now(s->conn));
    } else if (status != STATUS_OK || status_is_temporary(out->status)) {
        refuse(s, &edge_smtp_reply_temporary,
               status_name(status != STATUS_OK ? status : out->status));
    } else {
        refuse(s, &edge_smtp_reply_not_yours, "From is not the sender's own");
    }
    edge_conn_run(s->conn);
}

enum { FROM_ADDRESSES_MAX = 20 };

/* Every address of From belongs to whoever submits. False: From is not there or not readable. */
static bool ask_from(struct edge_smtp *s, const struct header_facts *header)
{
    struct ipc_address addresses[FROM_ADDRESSES_MAX];
    struct buf words[FROM_ADDRESSES_MAX];
    size_t count = 0;
    struct address_list list;
    struct address_item item;
    bool good = header->from_count == 1;
    address_list_init(&list, header->from);
    while (good && address_list_next(&list, &item)) {
        if (item.kind != ADDRESS_ITEM_MAILBOX)
            continue;
        good = count < FROM_ADDRESSES_MAX && !str_empty(item.mailbox) && !str_empty(item.host);
        if (!good)
            break;
        buf_init(&words[count], 2 * LIMIT_PATH_SIZE);
        address_print_parts(&words[count], item.mailbox, item.host);
        addresses[count].address = text_from(buf_str(&words[count]));
        count++;
    }
    address_list_release(&list);
    if (good && count > 0) {
        struct ipc_sender_in in = {
            .account = s->who.account, .addresses = addresses, .addresses_count = count};
        s->call_channel = edge_mailroom(s->conn->edge, s->who.account);
        s->call = ipc_sender_call(s->call_channel, &in, on_from, s);
    }
    bool asked = s->call != 0;
    for (size_t i = 0; i < count; i++)
        buf_release(&words[i]);
    if (!asked && good && count > 0)
        refuse(s, &edge_smtp_reply_temporary, status_name(STATUS_GONE));
    else if (!asked)
        refuse(s, &reply_no_from, "no From");
    return asked;
}

/* Fields behind what was looked at could name somebody else in a second From. */
static bool is_header_cut(const struct edge_message_facts *facts)
{
    return !facts->header.has_end && facts->size >= LIMIT_HEADER_SIZE;
}

void edge_smtp_end_body(struct edge_smtp *s, struct now now)
{
    enum status_code status = edge_message_finish(s->message, &s->facts);
    if (status != STATUS_OK) {
        refuse(s, reply_to_status(status), status_name(status));
    } else if (s->facts.header.received_count > s->conn->settings->config.limits.received_count) {
        refuse(s, &reply_loop, "a mail loop");
    } else if (edge_smtp_is_submission(s) && is_header_cut(&s->facts)) {
        refuse(s, &reply_long_header, "a header too large");
    } else if (edge_smtp_is_submission(s)) {
        ask_from(s, &s->facts.header);
    } else {
        commit(s, now);
    }
}

void edge_smtp_confirm(struct edge_smtp *s)
{
    for (struct str all = buf_str(&s->unconfirmed); all.len > 0;
         all = str_skip(all, EDGE_SMTP_KEY_SIZE))
        edge_confirm(s->conn->edge->confirmations, str_sub(all, 0, EDGE_SMTP_KEY_SIZE));
    buf_release(&s->unconfirmed);
}
