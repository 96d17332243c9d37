#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "mail/address.h"
#include "mail/address_list.h"
#include "proto/smtp/server.h"
#include "roles/edge_confirm.h"
#include "roles/edge_conn.h"
#include "roles/edge_login.h"
#include "roles/edge_message.h"

/*
 * A connection that speaks SMTP or LMTP: the engine's questions are answered by asking the
 * mailroom (who may get mail), the keeper (who somebody is) and the vault (that it is kept).
 */
struct edge_smtp {
    struct edge_conn *conn;
    struct smtp_server *engine;
    struct edge_identity who;
    struct edge_login login;
    struct edge_message *message;
    bool held; /* the connection, until the message has room */

    uint64_t token; /* of the question that is open at another role, else 0 */
    struct channel *call_channel;
    uint32_t call;
    uint64_t size; /* what MAIL said with SIZE */
    struct ipc_envelope envelope;
    struct buf envid;
    struct buf asked; /* the address in question, as text */
    struct buf orcpt; /* what was said with it */
    uint8_t notify;

    struct buf helo;
    struct buf unconfirmed; /* keys of the last message, until its reply was seen */
    struct edge_message_facts facts;
};

enum { KEY_SIZE = 32 };

static const struct smtp_reply reply_temporary =
    SMTP_REPLY(451, 4, 3, 0, "Cannot do this now, try again later");
static const struct smtp_reply reply_no_room =
    SMTP_REPLY(452, 4, 3, 1, "Too much mail at once, try again later");
static const struct smtp_reply reply_full =
    SMTP_REPLY(452, 4, 3, 1, "Out of disk space, try again later");
static const struct smtp_reply reply_loop =
    SMTP_REPLY(554, 5, 4, 6, "Too many Received fields: a mail loop");
static const struct smtp_reply reply_not_yours =
    SMTP_REPLY(550, 5, 7, 1, "That sender address is not one of yours");
static const struct smtp_reply reply_no_from =
    SMTP_REPLY(550, 5, 6, 0, "A message needs one From field with an address");
static const struct smtp_reply reply_not_held =
    SMTP_REPLY(550, 5, 3, 3, "Mail to a mailbox here cannot be held");
static const struct smtp_reply reply_usual = {0};

static bool is_submission(const struct edge_smtp *s)
{
    return s->conn->kind == LISTEN_SUBMISSION || s->conn->kind == LISTEN_SUBMISSIONS;
}

/*
 * Who may send to anywhere without a login: this machine's users, and networks that the
 * configuration names.
 */
static bool is_trusted(const struct edge_smtp *s)
{
    if (s->conn->kind == LISTEN_SENDMAIL)
        return true;
    return s->conn->kind == LISTEN_MX &&
           networks_have(&s->conn->settings->config.relay_from, s->conn->address.octets);
}

/* Ends the wait for another role; the answer to the engine follows. */
static uint64_t take_token(struct edge_smtp *s)
{
    uint64_t token = s->token;
    invariant(token != 0);
    s->token = 0;
    s->call = 0;
    return token;
}

static void answer(struct edge_smtp *s, const struct smtp_reply *reply)
{
    uint64_t token = take_token(s);
    smtp_server_answer(s->engine, token, *reply, edge_conn_now(s->conn));
}

static void answer_later(struct edge_smtp *s, const struct smtp_reply *reply)
{
    answer(s, reply);
    edge_conn_run(s->conn);
}

static void let_go(struct edge_smtp *s)
{
    if (!s->held)
        return;
    s->held = false;
    edge_conn_unhold(s->conn);
}

static void drop_message(struct edge_smtp *s)
{
    edge_message_free(s->message);
    s->message = NULL;
    let_go(s);
}

/* The answer is not wanted any more. */
static void forget_call(struct edge_smtp *s)
{
    if (s->call != 0)
        channel_cancel(s->call_channel, s->call);
    s->call = 0;
}

/* A reply that another role worded: "5.1.1" becomes its three numbers. */
static struct smtp_reply reply_from(uint16_t code, struct str enhanced, struct str text)
{
    struct smtp_reply reply = {.code = code, .text = text};
    struct str part;
    uint64_t numbers[3] = {0};
    for (int i = 0; i < 3 && str_split(&enhanced, '.', &part); i++)
        if (!str_to_u64(part, 999, &numbers[i]))
            return reply;
    reply.class = (uint8_t)numbers[0];
    reply.subject = (uint16_t)numbers[1];
    reply.detail = (uint16_t)numbers[2];
    return reply;
}

/* ---- AUTH --------------------------------------------------------------------------------------
 */

static void on_login(void *context, enum edge_login_outcome outcome, struct str data)
{
    struct edge_smtp *s = context;
    struct edge_conn *conn = s->conn;
    struct now now = edge_conn_now(conn);
    uint64_t token = take_token(s);
    switch (outcome) {
    case EDGE_LOGIN_CHALLENGE:
        smtp_server_answer_challenge(s->engine, token, data, now);
        break;
    case EDGE_LOGIN_SUCCESS:
        edge_login_log(&s->login, "login");
        smtp_server_answer_auth_success(s->engine, token, now);
        break;
    default:
        edge_login_log(&s->login, "login-failed");
        smtp_server_answer_auth_failure(s->engine, token,
                                        outcome == EDGE_LOGIN_WRONG ? SMTP_AUTH_BAD_CREDENTIALS
                                        : outcome == EDGE_LOGIN_MALFORMED ? SMTP_AUTH_MALFORMED
                                                                          : SMTP_AUTH_TEMPORARY,
                                        now);
    }
    edge_conn_run(conn);
}

static void ask_login(struct edge_smtp *s, const struct smtp_event *event, struct now now)
{
    bool asked = event->kind == SMTP_EVENT_AUTH_BEGIN
                     ? edge_login_start(&s->login, event->auth.mechanism, event->auth.initial,
                                        event->auth.data)
                     : edge_login_step(&s->login, event->auth.data);
    if (!asked) {
        s->token = 0;
        smtp_server_answer_auth_failure(s->engine, event->token, SMTP_AUTH_TEMPORARY, now);
    }
}

/* ---- MAIL and RCPT ------------------------------------------------------------------------------
 */

static bool start_message(struct edge_smtp *s)
{
    drop_message(s);
    s->message =
        edge_message_new(s->conn->edge, buf_str(&s->asked), &s->envelope, edge_conn_now(s->conn));
    return s->message != NULL;
}

static void on_sender(void *context, enum status_code status, const struct ipc_sender_out *out)
{
    struct edge_smtp *s = context;
    if (status != STATUS_OK || status_is_temporary(out->status))
        answer_later(s, &reply_temporary);
    else if (out->status != STATUS_OK)
        answer_later(s, &reply_not_yours);
    else
        answer_later(s, start_message(s) ? &reply_usual : &reply_temporary);
}

/* What is borrowed from the event is copied: the answer may come later. */
static void note_envelope(struct edge_smtp *s, const struct smtp_event_sender *sender)
{
    buf_clear(&s->envid);
    buf_append_str(&s->envid, text_peek(sender->envid));
    s->envelope = (struct ipc_envelope){
        .envid = text_from(buf_str(&s->envid)),
        .ret = (uint8_t)sender->ret,
        .body = (uint8_t)sender->body,
        .utf8 = sender->utf8,
        .requiretls = sender->requiretls,
        .hold_ms = sender->hold_ms,
        .by_mode = (uint8_t)sender->by_mode,
        .by_trace = sender->by_trace,
        /* What is held is on its way from its release on. */
        .by_ms = sender->by_mode == SMTP_BY_NONE ? 0 : sender->by_ms + (int64_t)sender->hold_ms,
        .priority = sender->priority,
    };
}

/* RFC 6409 §6.1: who submits may only name himself; on port 25 anybody may be anybody. */
static void ask_sender(struct edge_smtp *s, const struct smtp_event_sender *sender)
{
    s->size = sender->size;
    note_envelope(s, sender);
    buf_clear(&s->asked);
    if (!sender->path->is_null)
        address_print(&s->asked, &sender->path->mailbox);
    if (s->asked.failed || s->envid.failed) {
        answer(s, &reply_temporary);
        return;
    }
    if (!is_submission(s) || sender->path->is_null) {
        answer(s, start_message(s) ? &reply_usual : &reply_temporary);
        return;
    }
    struct ipc_address address = {.address = text_from(buf_str(&s->asked))};
    struct ipc_sender_in in = {
        .account = s->who.account, .addresses = &address, .addresses_count = 1};
    s->call_channel = edge_mailroom(s->conn->edge, s->who.account);
    s->call = ipc_sender_call(s->call_channel, &in, on_sender, s);
    if (s->call == 0)
        answer(s, &reply_temporary);
}

static void log_refusal(struct edge_smtp *s, uint16_t code)
{
    struct log_line line;
    edge_count(s->conn->edge, "postern_edge_recipients_refused", "Recipients refused.", "class",
               code < 500 ? "4" : "5");
    edge_conn_log(s->conn, &line, LOG_INFO, "recipient-refused", edge_message_id(s->message));
    log_words(&line, "conn", s->conn->id);
    log_text(&line, "from", text_from(edge_message_reverse_path(s->message)));
    log_text(&line, "to", text_from(buf_str(&s->asked)));
    log_number(&line, "code", code);
    log_end(&line);
}

static void on_recipient(void *context, enum status_code status,
                         const struct ipc_recipient_out *out)
{
    struct edge_smtp *s = context;
    if (status != STATUS_OK) {
        answer_later(s, &reply_temporary);
        return;
    }
    struct smtp_reply reply = reply_from(out->code, out->enhanced, out->text);
    /* Accepting is delivering: what is held would be in its mailbox too early (RFC 4865). */
    if (out->code == 250 && out->targets_count > 0 && s->envelope.hold_ms > 0)
        reply = reply_not_held;
    if (reply.code != 250) {
        log_refusal(s, reply.code);
        answer_later(s, &reply);
        return;
    }
    struct edge_recipient recipient = {
        .address = buf_str(&s->asked),
        .notify = s->notify,
        .orcpt = text_from(buf_str(&s->orcpt)),
        .targets = out->targets,
        .target_count = out->targets_count,
        .relays = out->relays,
        .relay_count = out->relays_count,
    };
    bool kept = edge_message_add_recipient(s->message, &recipient);
    answer_later(s, kept ? &reply_usual : &reply_temporary);
}

static void ask_recipient(struct edge_smtp *s, const struct smtp_event_recipient *recipient)
{
    buf_clear(&s->asked);
    address_print(&s->asked, &recipient->path->mailbox);
    s->notify = recipient->notify;
    buf_clear(&s->orcpt);
    buf_append_str(&s->orcpt, text_peek(recipient->orcpt));
    struct ipc_recipient_in in = {
        .listener_kind = (uint8_t)s->conn->kind,
        .account = s->who.account,
        .trusted = is_trusted(s),
        .reverse_path = text_from(edge_message_reverse_path(s->message)),
        .recipient = text_from(buf_str(&s->asked)),
        .size = s->size,
    };
    s->call_channel = edge_mailroom(s->conn->edge, s->who.account);
    if (!s->asked.failed && !s->orcpt.failed)
        s->call = ipc_recipient_call(s->call_channel, &in, on_recipient, s);
    if (s->call == 0)
        answer(s, &reply_temporary);
}

/* ---- The body -----------------------------------------------------------------------------------
 */

static void on_room(void *context)
{
    let_go(context);
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

static void begin_body(struct edge_smtp *s, const struct smtp_event_body_start *start,
                       struct now now)
{
    struct buf received;
    buf_init(&received, 8192);
    buf_clear(&s->helo);
    buf_append_str(&s->helo, text_peek(start->helo));
    bool begun = put_received(s, start, &received, now) &&
                 edge_message_begin(s->message, buf_str(&received), s->conn->settings,
                                    is_submission(s) || s->conn->is_local, now);
    buf_release(&received);
    if (begun)
        edge_message_on_room(s->message, on_room, s);
    answer(s, begun ? &reply_usual : &reply_no_room);
}

static void take_body(struct edge_smtp *s, struct str octets)
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
        return &reply_usual;
    case STATUS_DISK_FULL:
        return &reply_full;
    case STATUS_OVER_QUOTA:
        return &over_quota;
    case STATUS_NOT_FOUND: /* the account went away between RCPT and now */
        return &reply_temporary;
    default:
        return status_is_temporary(status) ? &reply_temporary : &refused;
    }
}

static void log_result(struct edge_smtp *s, enum status_code status, bool again)
{
    struct log_line line;
    bool kept = status == STATUS_OK;
    edge_count(s->conn->edge, "postern_edge_messages", "Messages to their last dot.", "outcome",
               kept ? "accepted" : "refused");
    edge_conn_log(s->conn, &line, kept ? LOG_INFO : LOG_WARN, kept ? "accepted" : "not-accepted",
                  edge_message_id(s->message));
    log_words(&line, "conn", s->conn->id);
    log_text(&line, "helo", text_from(buf_str(&s->helo)));
    log_text(&line, "from", text_from(edge_message_reverse_path(s->message)));
    log_text(&line, "to", text_from(edge_message_recipient(s->message, 0)));
    log_number(&line, "recipients", (int64_t)edge_message_recipient_count(s->message));
    log_number(&line, "size", (int64_t)s->facts.size);
    if (!kept)
        log_words(&line, "why", status_name(status));
    if (again)
        log_bool(&line, "retransmission", true);
    log_end(&line);
}

/* LMTP answers for each recipient (RFC 2033 §4.2). */
static void answer_each(struct edge_smtp *s, const struct ipc_accept_result *results, size_t count)
{
    struct smtp_reply *replies = calloc(count, sizeof *replies);
    for (size_t i = 0; replies && i < count; i++)
        replies[i] = *reply_to_status(results[i].status);
    if (replies)
        smtp_server_answer_each(s->engine, take_token(s), replies, count, edge_conn_now(s->conn));
    else
        answer(s, &reply_temporary);
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
    log_result(s, worst, again);
    if (s->conn->kind == LISTEN_LMTP) {
        answer_each(s, results, count);
        return;
    }
    struct smtp_reply reply = *reply_to_status(worst);
    struct buf words;
    buf_init(&words, 100);
    buf_printf(&words, "Ok, kept as %s", edge_message_id(s->message));
    if (worst == STATUS_OK)
        reply = (struct smtp_reply){250, 2, 0, 0, buf_str(&words)};
    answer(s, &reply);
    buf_release(&words);
}

static void remember_keys(struct edge_smtp *s)
{
    size_t count;
    const struct ipc_key *keys = edge_message_keys(s->message, &count);
    if (s->unconfirmed.len + count * KEY_SIZE > s->unconfirmed.max)
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
    } else {
        log_result(s, status, false);
        answer(s, reply_to_status(status));
    }
    drop_message(s);
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
        for (struct str old = buf_str(&s->unconfirmed); old.len > 0; old = str_skip(old, KEY_SIZE))
            if (str_eq(str_sub(old, 0, KEY_SIZE), keys[i].key))
                edge_confirm(s->conn->edge->confirmations, keys[i].key);
}

static void commit(struct edge_smtp *s, struct now now)
{
    confirm_repeated(s);
    struct buf tls;
    buf_init(&tls, 128);
    edge_conn_tls_words(s->conn, &tls);
    struct edge_message_origin origin = {
        .listener_kind = (uint8_t)s->conn->kind,
        .account = s->who.account,
        .helo = text_from(buf_str(&s->helo)),
        .peer = str_from_c(s->conn->peer),
        .tls = buf_str(&tls),
    };
    if (!edge_message_accept(s->message, &origin, now, on_accepted, s)) {
        answer(s, &reply_temporary);
        drop_message(s);
    }
    buf_release(&tls);
}

static void on_from(void *context, enum status_code status, const struct ipc_sender_out *out)
{
    struct edge_smtp *s = context;
    s->call = 0;
    if (status == STATUS_OK && out->status == STATUS_OK) {
        commit(s, edge_conn_now(s->conn));
    } else {
        bool temporary = status != STATUS_OK || status_is_temporary(out->status);
        answer(s, temporary ? &reply_temporary : &reply_not_yours);
        drop_message(s);
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
    if (!asked) {
        answer(s, good && count > 0 ? &reply_temporary : &reply_no_from);
        drop_message(s);
    }
    return asked;
}

static void end_body(struct edge_smtp *s, struct now now)
{
    if (!edge_message_finish(s->message, &s->facts)) {
        answer(s, edge_message_found_no_room(s->message) ? &reply_no_room : &reply_temporary);
        drop_message(s);
    } else if (s->facts.header.received_count > s->conn->settings->config.limits.received_count) {
        answer(s, &reply_loop);
        drop_message(s);
    } else if (is_submission(s)) {
        ask_from(s, &s->facts.header);
    } else {
        commit(s, now);
    }
}

static void confirm(struct edge_smtp *s)
{
    for (struct str all = buf_str(&s->unconfirmed); all.len > 0; all = str_skip(all, KEY_SIZE))
        edge_confirm(s->conn->edge->confirmations, str_sub(all, 0, KEY_SIZE));
    buf_release(&s->unconfirmed);
}

/* ---- The protocol's verbs -----------------------------------------------------------------------
 */

static bool smtp_open(struct edge_conn *conn, struct now now)
{
    struct edge_smtp *s = calloc(1, sizeof *s);
    if (!s)
        return false;
    s->conn = conn;
    s->engine = smtp_server_new(&edge_conn_service(conn)->smtp, edge_conn_has_tls(conn), now);
    buf_init(&s->asked, 2 * LIMIT_PATH_SIZE);
    buf_init(&s->orcpt, LIMIT_SMTP_COMMAND_SIZE);
    buf_init(&s->envid, LIMIT_SMTP_COMMAND_SIZE);
    buf_init(&s->helo, LIMIT_SMTP_COMMAND_SIZE);
    buf_init(&s->unconfirmed, KEY_SIZE * conn->settings->config.limits.recipients);
    edge_identity_init(&s->who);
    edge_login_init(&s->login, conn, &s->who, on_login, s);
    conn->session = s;
    if (s->engine && is_trusted(s))
        smtp_server_trust(s->engine);
    return s->engine != NULL;
}

static void smtp_free(struct edge_conn *conn)
{
    struct edge_smtp *s = conn->session;
    if (!s)
        return;
    forget_call(s);
    edge_login_abort(&s->login);
    edge_message_free(s->message);
    edge_identity_release(&s->who);
    smtp_server_free(s->engine);
    buf_release(&s->asked);
    buf_release(&s->orcpt);
    buf_release(&s->envid);
    buf_release(&s->helo);
    buf_release(&s->unconfirmed);
    free(s);
    conn->session = NULL;
}

static bool smtp_act(struct edge_conn *conn, struct now now)
{
    struct edge_smtp *s = conn->session;
    struct smtp_event event;
    if (!smtp_server_next(s->engine, &event))
        return false;
    if (event.token != 0)
        s->token = event.token;
    switch (event.kind) {
    case SMTP_EVENT_START_TLS:
        edge_conn_start_tls(conn);
        break;
    case SMTP_EVENT_AUTH_BEGIN:
    case SMTP_EVENT_AUTH_RESPONSE:
        ask_login(s, &event, now);
        break;
    case SMTP_EVENT_AUTH_CANCEL:
        edge_login_abort(&s->login);
        break;
    case SMTP_EVENT_SENDER:
        ask_sender(s, &event.sender);
        break;
    case SMTP_EVENT_RECIPIENT:
        ask_recipient(s, &event.recipient);
        break;
    case SMTP_EVENT_BODY_START:
        begin_body(s, &event.body_start, now);
        break;
    case SMTP_EVENT_BODY:
        take_body(s, event.body);
        break;
    case SMTP_EVENT_BODY_END:
        end_body(s, now);
        break;
    case SMTP_EVENT_ABORT:
        forget_call(s); /* it was about this message */
        drop_message(s);
        break;
    case SMTP_EVENT_REPLY_SEEN:
        confirm(s);
        break;
    case SMTP_EVENT_CLOSE:
        edge_conn_close(conn, smtp_close_reason_name(event.close));
        break;
    }
    return true;
}

static size_t smtp_input(struct edge_conn *conn, struct str bytes, struct now now)
{
    struct edge_smtp *s = conn->session;
    return smtp_server_input(s->engine, bytes, conn->acked, now);
}

static struct str smtp_output(struct edge_conn *conn)
{
    return smtp_server_output(((struct edge_smtp *)conn->session)->engine);
}

static void smtp_output_done(struct edge_conn *conn, size_t n)
{
    smtp_server_output_done(((struct edge_smtp *)conn->session)->engine, n);
}

static bool smtp_asking(const struct edge_conn *conn)
{
    return ((const struct edge_smtp *)conn->session)->token != 0;
}

static int64_t smtp_deadline(struct edge_conn *conn)
{
    return smtp_server_deadline(((struct edge_smtp *)conn->session)->engine);
}

static void smtp_tick(struct edge_conn *conn, struct now now)
{
    smtp_server_tick(((struct edge_smtp *)conn->session)->engine, now);
}

static void smtp_tls_started(struct edge_conn *conn, struct now now)
{
    smtp_server_tls_started(((struct edge_smtp *)conn->session)->engine, now);
}

static void smtp_peer_gone(struct edge_conn *conn, struct now now)
{
    (void)now;
    smtp_server_peer_gone(((struct edge_smtp *)conn->session)->engine);
}

static void smtp_shutdown(struct edge_conn *conn, struct now now)
{
    smtp_server_shutdown(((struct edge_smtp *)conn->session)->engine, now);
}

const struct edge_protocol edge_protocol_smtp = {
    .name = "smtp",
    .busy = {"421 4.7.0 Too many connections, try again later\r\n", 49},
    .open = smtp_open,
    .free = smtp_free,
    .input = smtp_input,
    .output = smtp_output,
    .output_done = smtp_output_done,
    .act = smtp_act,
    .asking = smtp_asking,
    .deadline = smtp_deadline,
    .tick = smtp_tick,
    .tls_started = smtp_tls_started,
    .peer_gone = smtp_peer_gone,
    .shutdown = smtp_shutdown,
};
