/* The envelope of a message, and the replies to all of it (RFC 5321 §3.3, RFC 2920 §3.1). */

#include <stdlib.h>

#include "base/bug.h"
#include "proto/smtp/client_state.h"

/* With this much unwritten no more commands are added. */
enum { ENVELOPE_HIGH = 8 * 1024 };

enum smtp_client_verdict client_verdict(const struct smtp_client_reply *reply)
{
    if (reply->code >= 200 && reply->code < 300)
        return SMTP_CLIENT_TAKEN;
    bool refused = reply->code >= 500 || (reply->code == 0 && reply->class == 5);
    return refused ? SMTP_CLIENT_REFUSED : SMTP_CLIENT_LATER;
}

void client_settle(struct smtp_client *c, enum smtp_client_stage stage,
                   enum smtp_client_verdict verdict, struct smtp_client_reply reply)
{
    client_drop_chunk(c);
    c->message.phase = PHASE_DEAD;
    if (!c->sweep.on)
        c->sweep = (struct client_sweep){true, 0, verdict, stage, reply};
}

/* The peer refused the whole of it; its transaction is open or not, which RSET makes sure of. */
void client_settle_refused(struct smtp_client *c, enum smtp_client_stage stage)
{
    struct smtp_client_reply reply = client_reply(c);
    c->dirty = true;
    client_settle(c, stage, client_verdict(&reply), reply);
}

void client_tell_recipient(struct smtp_client *c, uint32_t index, enum smtp_client_verdict verdict,
                           enum smtp_client_stage stage, struct smtp_client_reply reply)
{
    c->message.fates[index] = FATE_TOLD;
    c->event.recipient = (struct smtp_client_result){index, verdict, stage, reply};
    client_tell(c, SMTP_CLIENT_EVENT_RECIPIENT);
}

void smtp_client_send(struct smtp_client *c, const struct smtp_client_message *message,
                      struct now now)
{
    struct smtp_client_reply reply;
    bool closed = c->state == CLIENT_CLOSED && c->event_closed;
    invariant((c->state == CLIENT_READY || closed) && !c->message.given);
    invariant(!c->event_ready && !c->event_done && message->recipient_count > 0);
    c->active_ms = now.mono_ms;
    c->message = (struct client_message){
        .given = message,
        .given_up_ms = now.mono_ms + LIMIT_SMTP_SEND_MS +
                       (int64_t)message->recipient_count * LIMIT_SMTP_SEND_RECIPIENT_MS +
                       (int64_t)(message->size / LIMIT_SMTP_SEND_RATE_MIN * 1000),
    };
    c->sweep = (struct client_sweep){0};
    c->message.fates = calloc(message->recipient_count, 1);
    if (!closed)
        client_set_state(c, CLIENT_MESSAGE);
    if (!c->message.fates)
        client_close(c, SMTP_CLIENT_CLOSE_NO_MEMORY);
    else if (closed)
        client_settle(c, SMTP_CLIENT_IDLE, SMTP_CLIENT_LATER, c->closed.reply);
    else if (client_find_fault(message, &reply))
        client_settle(c, SMTP_CLIENT_MAIL, SMTP_CLIENT_REFUSED, reply);
    else if (client_find_lack(c, message, &reply))
        client_settle(c, SMTP_CLIENT_MAIL, SMTP_CLIENT_LACKING, reply);
    else
        client_continue_message(c);
}

/* ---- Writing ------------------------------------------------------------------------------ */

bool client_is_reply_due(const struct client_message *m)
{
    return m->rset_due || m->mail_due || m->rcpt_due || m->data_due || m->chunks_due || m->end_due;
}

void client_asked(struct smtp_client *c, uint32_t *due)
{
    if (!client_is_reply_due(&c->message))
        c->asked_at = c->out_total;
    ++*due;
}

static void say_rset(struct smtp_client *c)
{
    client_say(c, STR("RSET\r\n"));
    client_asked(c, &c->message.rset_due);
    c->dirty = false;
}

static void say_mail(struct smtp_client *c)
{
    client_say_mail(c, c->message.given);
    c->message.mail_written = true;
    client_asked(c, &c->message.mail_due);
    c->messages++;
}

static void say_rcpt(struct smtp_client *c)
{
    struct client_message *m = &c->message;
    uint32_t index = m->rcpt_next++;
    const struct smtp_client_recipient *r = &m->given->recipients[index];
    struct smtp_client_reply reply;
    if (client_find_rcpt_obstacle(m->given, r, &reply)) {
        client_tell_recipient(c, index, SMTP_CLIENT_REFUSED, SMTP_CLIENT_RCPT, reply);
        return;
    }
    if (c->abilities.rcpt_max > 0 && m->rcpt_written >= c->abilities.rcpt_max)
        m->full = true;
    if (m->full || !client_take_domain(c, r->path)) {
        reply = client_own_reply(4, 5, 3, STR("the server takes no more recipients at once"));
        client_tell_recipient(c, index, SMTP_CLIENT_AGAIN, SMTP_CLIENT_RCPT, reply);
        return;
    }
    client_say_rcpt(c, m->given, r);
    m->fates[index] = FATE_SENT;
    m->rcpt_written++;
    client_asked(c, &m->rcpt_due);
}

/* Nobody is left to have the message: the owner knows of everyone, and MAIL may stand open. */
static void give_up_if_unwanted(struct smtp_client *c)
{
    struct client_message *m = &c->message;
    if (m->rcpt_next < m->given->recipient_count || m->rcpt_due > 0 || m->accepted > 0)
        return;
    c->dirty = c->dirty || m->mail_written;
    m->phase = PHASE_DEAD;
}

static void continue_envelope(struct smtp_client *c)
{
    struct client_message *m = &c->message;
    while (m->phase == PHASE_ENVELOPE && !c->event_ready && c->state == CLIENT_MESSAGE) {
        bool waits = client_is_reply_due(m) && !c->abilities.pipelining;
        bool sent = m->rcpt_next == m->given->recipient_count;
        if (waits || c->out.len > ENVELOPE_HIGH)
            return;
        if (c->dirty)
            say_rset(c);
        else if (!m->mail_written)
            say_mail(c);
        else if (!sent)
            say_rcpt(c);
        else if (!client_is_reply_due(m) && m->accepted == 0)
            give_up_if_unwanted(c);
        else if (!client_is_reply_due(m) || client_may_pipeline_data(c))
            client_begin_body(c);
        else
            return;
    }
}

static void end_message(struct smtp_client *c)
{
    free(c->message.fates);
    c->message = (struct client_message){0};
    c->sweep.on = false;
    c->event_done = true;
    if (c->state == CLIENT_MESSAGE)
        client_set_state(c, CLIENT_READY);
}

void client_continue_message(struct smtp_client *c)
{
    continue_envelope(c);
    client_continue_body(c);
    bool over = c->state == CLIENT_CLOSED || !client_is_reply_due(&c->message);
    bool told = !c->sweep.on || c->sweep.next == c->message.given->recipient_count;
    if (c->message.phase == PHASE_DEAD && over && told && !c->event_ready)
        end_message(c);
}

/* ---- Replies ------------------------------------------------------------------------------ */

static bool is_positive(const struct smtp_client *c)
{
    return c->reader.code < 300;
}

static void hear_rset(struct smtp_client *c)
{
    if (is_positive(c))
        c->message.rset_due = 0;
    else
        client_refused(c, client_reply(c));
}

static void hear_mail(struct smtp_client *c)
{
    c->message.mail_due = 0;
    if (!is_positive(c) && c->message.phase != PHASE_DEAD)
        client_settle_refused(c, SMTP_CLIENT_MAIL);
}

/* RFC 5321 §4.5.3.1.10: 452, and 552 of old, where it is the number and not the mailbox. */
static bool is_too_many(const struct smtp_client *c)
{
    const struct smtp_reply_reader *r = &c->reader;
    bool code = r->code == 452 || r->code == 552;
    bool unsaid = r->class == 0 || (r->subject == 0 && r->detail == 0);
    return code && c->message.accepted > 0 && (unsaid || (r->subject == 5 && r->detail == 3));
}

static void hear_rcpt(struct smtp_client *c)
{
    struct client_message *m = &c->message;
    m->rcpt_due--;
    if (m->phase == PHASE_DEAD)
        return;
    while (m->fates[m->rcpt_heard] != FATE_SENT)
        m->rcpt_heard++;
    uint32_t index = m->rcpt_heard++;
    struct smtp_client_reply reply = client_reply(c);
    if (is_positive(c)) {
        m->fates[index] = FATE_ACCEPTED;
        m->accepted++;
        return;
    }
    m->full = m->full || is_too_many(c);
    enum smtp_client_verdict verdict = is_too_many(c) ? SMTP_CLIENT_AGAIN : client_verdict(&reply);
    client_tell_recipient(c, index, verdict, SMTP_CLIENT_RCPT, reply);
    if (m->phase != PHASE_DATA) /* its 354 wants an answer in any case */
        give_up_if_unwanted(c);
}

void client_hear_message(struct smtp_client *c)
{
    struct client_message *m = &c->message;
    bool data = m->rset_due == 0 && m->mail_due == 0 && m->rcpt_due == 0 && m->data_due > 0;
    if (c->reader.code / 100 == 3 && !data)
        client_close(c, SMTP_CLIENT_CLOSE_GARBAGE);
    else if (m->rset_due > 0)
        hear_rset(c);
    else if (m->mail_due > 0)
        hear_mail(c);
    else if (m->rcpt_due > 0)
        hear_rcpt(c);
    else if (m->data_due > 0)
        client_hear_data(c);
    else if (m->chunks_due > 0)
        client_hear_chunk(c);
    else if (m->end_due > 0)
        client_hear_end(c);
    else
        client_hear_early(c);
}
