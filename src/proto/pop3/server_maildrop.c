#include <inttypes.h>

#include "base/limits.h"
#include "proto/pop3/server_state.h"

/* The TRANSACTION and UPDATE states (RFC 1939 §5, §6), but for RETR and TOP. */

enum { LISTING_HIGH = 4096 };

struct pop3_message *maildrop_find(struct pop3_server *e, uint64_t number)
{
    struct pop3_message *m = NULL;
    if (number >= 1 && number <= e->maildrop.count)
        m = &e->maildrop.messages[number - 1];
    if (!m || m->deleted)
        pop3_server_reply(e, REPLY_MESSAGE, "no such message");
    return m && !m->deleted ? m : NULL;
}

static uint32_t count_deleted(const struct pop3_maildrop *maildrop)
{
    uint32_t deleted = 0;
    for (uint32_t i = 0; i < maildrop->count; i++)
        deleted += maildrop->messages[i].deleted;
    return deleted;
}

static uint64_t count_octets(const struct pop3_maildrop *maildrop)
{
    uint64_t octets = 0;
    for (uint32_t i = 0; i < maildrop->count; i++)
        octets += maildrop->messages[i].deleted ? 0 : maildrop->messages[i].octets;
    return octets;
}

void command_stat(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    (void)args;
    (void)now;
    pop3_server_reply(e, REPLY_OK, "%" PRIu32 " %" PRIu64,
                      e->maildrop.count - count_deleted(&e->maildrop), count_octets(&e->maildrop));
}

static void start_listing(struct pop3_server *e, enum job job)
{
    pop3_server_reply(e, REPLY_OK, "%" PRIu32 " messages",
                      e->maildrop.count - count_deleted(&e->maildrop));
    e->job = job;
    e->job_next = 0;
}

void listing_pump(struct pop3_server *e)
{
    const struct pop3_maildrop *maildrop = &e->maildrop;
    for (; e->job_next < maildrop->count; e->job_next++) {
        const struct pop3_message *m = &maildrop->messages[e->job_next];
        if (server_unsent(e) >= LISTING_HIGH)
            return;
        if (m->deleted)
            continue;
        if (e->job == JOB_LIST)
            buf_printf(&e->out, "%" PRIu32 " %" PRIu64 "\r\n", e->job_next + 1, m->octets);
        else
            buf_printf(&e->out, "%" PRIu32 " %" PRIu32 ".%" PRIu32 "\r\n", e->job_next + 1,
                       maildrop->uid_validity, m->uid);
    }
    buf_append_str(&e->out, STR(".\r\n"));
    e->job = JOB_NONE;
}

void command_list(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    (void)now;
    if (args->count == 0) {
        start_listing(e, JOB_LIST);
        return;
    }
    const struct pop3_message *m = maildrop_find(e, args->numbers[0]);
    if (m)
        pop3_server_reply(e, REPLY_OK, "%" PRIu64 " %" PRIu64, args->numbers[0], m->octets);
}

/* RFC 1939 §7: 1 to 70 characters that no other message of this maildrop ever has. */
void command_uidl(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    (void)now;
    if (args->count == 0) {
        start_listing(e, JOB_UIDL);
        return;
    }
    const struct pop3_message *m = maildrop_find(e, args->numbers[0]);
    if (m)
        pop3_server_reply(e, REPLY_OK, "%" PRIu64 " %" PRIu32 ".%" PRIu32, args->numbers[0],
                          e->maildrop.uid_validity, m->uid);
}

void command_dele(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    struct pop3_message *m = maildrop_find(e, args->numbers[0]);
    (void)now;
    if (!m)
        return;
    m->deleted = true;
    pop3_server_reply(e, REPLY_OK, "marked");
}

void command_rset(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    (void)args;
    (void)now;
    for (uint32_t i = 0; i < e->maildrop.count; i++)
        e->maildrop.messages[i].deleted = false;
    pop3_server_reply(e, REPLY_OK, "nothing is marked");
}

void command_noop(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    (void)args;
    (void)now;
    pop3_server_reply(e, REPLY_OK, "still here");
}

/* RFC 1939 §6: only here are the marked messages removed. */
void command_quit(struct pop3_server *e, const struct arguments_given *args, struct now now)
{
    uint32_t deleted = count_deleted(&e->maildrop);
    (void)args;
    (void)now;
    if (deleted == 0) {
        pop3_server_reply(e, REPLY_OK, "bye");
        pop3_server_close(e, POP3_CLOSE_QUIT);
        return;
    }
    pop3_server_ask(e, (struct pop3_event){.type = POP3_UPDATE,
                                           .messages = e->maildrop.messages,
                                           .count = e->maildrop.count,
                                           .deleted = deleted});
}

void pop3_answer_update(struct pop3_server *e, uint64_t token, enum status_code status,
                        struct now now)
{
    (void)now;
    if (!server_take_answer(e, token))
        return;
    if (status == STATUS_OK)
        pop3_server_reply(e, REPLY_OK, "the marked messages are removed");
    else
        pop3_server_reply(e, REPLY_TEMPORARY, "the marked messages could not be removed");
    pop3_server_close(e, POP3_CLOSE_QUIT);
}
