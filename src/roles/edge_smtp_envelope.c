/* MAIL and RCPT: who may send, and where it goes. */

#include <stdlib.h>

#include "mail/address.h"
#include "policy/route.h"
#include "roles/edge_smtp.h"

static const struct smtp_reply reply_not_held =
    SMTP_REPLY(550, 5, 3, 3, "Without an mx listener mail to a mailbox here cannot be held");

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

/*
 * Whose share of the budget for bodies it is: the account's, wherever it comes from and however
 * many share its address; else the address's, where those are counted.
 */
static uint64_t payer_of(const struct edge_smtp *s)
{
    const struct edge_counts *counts = s->conn->edge->counts;
    if (s->who.account != 0)
        return edge_admit_account_key(counts, s->who.account);
    return s->conn->counted ? edge_admit_key(counts, s->conn->address) : 0;
}

static bool start_message(struct edge_smtp *s)
{
    edge_smtp_drop_message(s);
    s->message = edge_message_new(s->conn->edge, payer_of(s), buf_str(&s->asked), &s->envelope,
                                  edge_conn_now(s->conn));
    return s->message != NULL;
}

static void on_sender(void *context, enum status_code status, const struct ipc_sender_out *out)
{
    struct edge_smtp *s = context;
    if (status != STATUS_OK || status_is_temporary(out->status))
        edge_smtp_answer_later(s, &edge_smtp_reply_temporary);
    else if (out->status != STATUS_OK)
        edge_smtp_answer_later(s, &edge_smtp_reply_not_yours);
    else
        edge_smtp_answer_later(s, start_message(s) ? &edge_smtp_reply_usual
                                                   : &edge_smtp_reply_temporary);
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
void edge_smtp_ask_sender(struct edge_smtp *s, const struct smtp_event_sender *sender)
{
    s->size = sender->size;
    note_envelope(s, sender);
    buf_clear(&s->asked);
    if (!sender->path->is_null)
        address_print(&s->asked, &sender->path->mailbox);
    if (s->asked.failed || s->envid.failed) {
        edge_smtp_answer(s, &edge_smtp_reply_temporary);
        return;
    }
    if (!edge_smtp_is_submission(s) || sender->path->is_null) {
        edge_smtp_answer(s, start_message(s) ? &edge_smtp_reply_usual : &edge_smtp_reply_temporary);
        return;
    }
    struct ipc_address address = {.address = text_from(buf_str(&s->asked))};
    struct ipc_sender_in in = {
        .account = s->who.account, .addresses = &address, .addresses_count = 1};
    s->call_channel = edge_mailroom(s->conn->edge, s->who.account);
    s->call = ipc_sender_call(s->call_channel, &in, on_sender, s);
    if (s->call == 0)
        edge_smtp_answer(s, &edge_smtp_reply_temporary);
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

static bool has_mx_listener(const struct edge_smtp *s)
{
    const struct config *config = &s->conn->settings->config;
    for (size_t i = 0; i < config->listener_count; i++)
        if (config->listeners[i].kind == LISTEN_MX)
            return true;
    return false;
}

/*
 * Accepting is delivering: what is to be held (RFC 4865) would be in its mailbox too early. So it
 * waits in the queue, for each mailbox under its own address, and comes in again at its time.
 */
static bool add_held(struct edge_smtp *s, struct edge_recipient *r)
{
    size_t count = r->relay_count + r->target_count;
    struct ipc_relay *relays = calloc(count, sizeof *relays);
    if (!relays)
        return false;
    for (size_t i = 0; i < r->relay_count; i++)
        relays[i] = r->relays[i];
    for (size_t i = 0; i < r->target_count; i++)
        relays[r->relay_count + i] =
            (struct ipc_relay){.address = text_from(r->targets[i].delivered_to),
                               .destination = STR(ROUTE_DESTINATION_HERE)};
    r->relays = relays;
    r->relay_count = count;
    r->target_count = 0;
    bool kept = edge_message_add_recipient(s->message, r);
    free(relays);
    return kept;
}

static void on_recipient(void *context, enum status_code status,
                         const struct ipc_recipient_out *out)
{
    struct edge_smtp *s = context;
    if (status != STATUS_OK) {
        edge_smtp_answer_later(s, &edge_smtp_reply_temporary);
        return;
    }
    struct smtp_reply reply = reply_from(out->code, out->enhanced, out->text);
    bool is_held = out->targets_count > 0 && s->envelope.hold_ms > 0;
    if (out->code == 250 && is_held && !has_mx_listener(s))
        reply = reply_not_held;
    if (reply.code != 250) {
        log_refusal(s, reply.code);
        edge_smtp_answer_later(s, &reply);
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
    bool kept =
        is_held ? add_held(s, &recipient) : edge_message_add_recipient(s->message, &recipient);
    edge_smtp_answer_later(s, kept ? &edge_smtp_reply_usual : &edge_smtp_reply_no_room);
}

void edge_smtp_ask_recipient(struct edge_smtp *s, const struct smtp_event_recipient *recipient)
{
    buf_clear(&s->asked);
    address_print(&s->asked, &recipient->path->mailbox);
    s->notify = recipient->notify;
    buf_clear(&s->orcpt);
    buf_append_str(&s->orcpt, text_peek(recipient->orcpt));
    struct ipc_recipient_in in = {
        .listener_kind = (uint8_t)s->conn->kind,
        .account = s->who.account,
        .trusted = edge_smtp_is_trusted(s),
        .reverse_path = text_from(edge_message_reverse_path(s->message)),
        .recipient = text_from(buf_str(&s->asked)),
        .size = s->size,
    };
    s->call_channel = edge_mailroom(s->conn->edge, s->who.account);
    if (!s->asked.failed && !s->orcpt.failed)
        s->call = ipc_recipient_call(s->call_channel, &in, on_recipient, s);
    if (s->call == 0)
        edge_smtp_answer(s, &edge_smtp_reply_temporary);
}
