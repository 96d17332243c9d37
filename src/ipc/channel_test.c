#include "ipc/channel.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/testing.h"

/* One end of a conversation within this process. */
struct end {
    struct channel *ch;
    struct buf in;
    int wakes, ends;
    enum status_code why;
    char words[200];

    /* What the handlers saw. */
    int handled;
    uint32_t held[4];
    struct channel *from;
    bool hold;
    int fd;
    char seen[100];
};

struct pair {
    struct end edge, vault;
};

static void wake(void *owner)
{
    ((struct end *)owner)->wakes++;
}

static void ended(void *owner, enum status_code why, const char *words)
{
    struct end *e = owner;
    e->ends++;
    e->why = why;
    snprintf(e->words, sizeof e->words, "%s", words);
}

static void on_accept(void *context, struct channel *from, uint32_t id,
                      const struct ipc_accept_in *in)
{
    struct end *e = context;
    e->from = from;
    e->held[e->handled++ % 4] = id;
    if (e->hold)
        return;
    assert_int_equal(in->account, 77);
    assert_int_equal(in->received_at_ms, -5);
    assert_true(str_eq(text_peek(in->reverse_path), STR("a@example.org")));
    assert_true(str_eq(in->email.signature, STR("sig\0nature")));
    assert_int_equal(in->email.chunks_count, 1);
    assert_int_equal(in->email.chunks[0].key_id, 3);
    assert_int_equal(in->recipients_count, 2);
    assert_true(str_eq(in->recipients[1].key, STR("key")));
    assert_int_equal(in->recipients[1].deliveries_count, 1);
    assert_int_equal(in->recipients[1].deliveries[0].mailbox, 9);
    const struct ipc_accept_result results[] = {{STATUS_OK, true}, {STATUS_OVER_QUOTA, false}};
    ipc_accept_reply(from, id,
                     &(struct ipc_accept_out){STATUS_OK, .results = results, .results_count = 2});
}

static void on_confirm(void *context, struct channel *from, const struct ipc_confirm_in *in)
{
    struct end *e = context;
    (void)from;
    (void)in;
    e->handled++;
}

static void on_handover(void *context, struct channel *from, uint32_t id,
                        const struct ipc_handover_in *in)
{
    struct end *e = context;
    e->fd = in->fd;
    ssize_t n = read(in->fd, e->seen, sizeof e->seen - 1);
    e->seen[n > 0 ? n : 0] = 0;
    ipc_handover_reply(from, id, &(struct ipc_handover_out){STATUS_OK});
}

static const struct ipc_handlers vault_handlers = {
    .accept = on_accept, .confirm = on_confirm, .handover = on_handover};
static const struct ipc_handlers no_handlers;

static void open_end(struct end *e, enum ipc_role self, enum ipc_role peer,
                     const struct ipc_handlers *handlers)
{
    *e = (struct end){.fd = -1};
    buf_init(&e->in, 64 * 1024 * 1024);
    e->ch = channel_open(&(struct channel_setup){.self = self,
                                                 .peer = peer,
                                                 .handlers = handlers,
                                                 .context = e,
                                                 .owner = e,
                                                 .wake = wake,
                                                 .ended = ended});
    assert_non_null(e->ch);
}

static void open_pair(struct pair *p, enum ipc_role peer)
{
    open_end(&p->edge, ROLE_EDGE, peer, &no_handlers);
    open_end(&p->vault, peer, ROLE_EDGE, &vault_handlers);
}

static void close_pair(struct pair *p)
{
    struct end *ends[] = {&p->edge, &p->vault};
    for (int i = 0; i < 2; i++) {
        if (ends[i]->ch)
            channel_close(ends[i]->ch);
        if (ends[i]->fd >= 0)
            close(ends[i]->fd);
        buf_release(&ends[i]->in);
    }
}

static void carry(struct pair *p)
{
    bool moved;
    do {
        moved = channel_carry(p->edge.ch, p->vault.ch, &p->vault.in);
        moved |= channel_carry(p->vault.ch, p->edge.ch, &p->edge.in);
    } while (moved);
}

struct replies {
    int ok, gone;
};

static void accept_replied(void *context, enum status_code status, const struct ipc_accept_out *out)
{
    struct replies *r = context;
    if (status != STATUS_OK) {
        assert_int_equal(status, STATUS_GONE);
        assert_null(out);
        r->gone++;
        return;
    }
    r->ok++;
    if (out->results_count == 0)
        return;
    assert_int_equal(out->results_count, 2);
    assert_true(out->results[0].again);
    assert_int_equal(out->results[1].status, STATUS_OVER_QUOTA);
}

static uint32_t call_accept(struct channel *ch, struct replies *r)
{
    const struct ipc_delivery targets[] = {{1, 9, STR("x@y")}};
    const struct ipc_chunk chunks[] = {{1, 3, 10, STR("hash"), STR("data")}};
    const struct ipc_accept_recipient recipients[] = {
        {.recipient = text_from(STR("b@example.org"))},
        {text_from(STR("c@example.org")), STR("key"), targets, 1}};
    struct ipc_accept_in in = {
        .received_at_ms = -5,
        .account = 77,
        .reverse_path = text_from(STR("a@example.org")),
        .email = {.chunks = chunks, .chunks_count = 1, .signature = STR("sig\0nature")},
        .recipients = recipients,
        .recipients_count = 2};
    return ipc_accept_call(ch, &in, accept_replied, r);
}

static void a_call_brings_its_fields_over_and_its_reply_back(void **state)
{
    (void)state;
    struct pair p;
    struct replies r = {0};
    open_pair(&p, ROLE_VAULT);
    assert_int_not_equal(call_accept(p.edge.ch, &r), 0);
    assert_int_equal(p.edge.wakes, 1);
    assert_int_equal(r.ok, 0);
    carry(&p);
    assert_int_equal(r.ok, 1);
    assert_int_equal(channel_pending(p.edge.ch), 0);
    close_pair(&p);
}

static void frames_may_come_one_byte_at_a_time(void **state)
{
    (void)state;
    struct pair p;
    struct replies r = {0};
    open_pair(&p, ROLE_VAULT);
    call_accept(p.edge.ch, &r);
    struct str bytes;
    int fd;
    while (channel_output(p.edge.ch, &bytes, &fd)) {
        assert_true(buf_append(&p.vault.in, bytes.ptr, 1));
        channel_input(p.vault.ch, &p.vault.in);
        channel_output_done(p.edge.ch, 1);
    }
    carry(&p);
    assert_int_equal(r.ok, 1);
    close_pair(&p);
}

static void replies_may_come_late_and_in_any_order(void **state)
{
    (void)state;
    struct pair p;
    struct replies r[4] = {0};
    open_pair(&p, ROLE_VAULT);
    p.vault.hold = true;
    for (int i = 0; i < 4; i++)
        call_accept(p.edge.ch, &r[i]);
    carry(&p);
    assert_int_equal(p.vault.handled, 4);
    for (int i = 3; i >= 0; i--) {
        ipc_accept_reply(p.vault.from, p.vault.held[i], &(struct ipc_accept_out){STATUS_OK});
        carry(&p);
        assert_int_equal(r[i].ok, 1);
    }
    close_pair(&p);
}

static void every_pending_call_is_told_once_that_the_channel_ended(void **state)
{
    (void)state;
    struct pair p;
    struct replies r = {0};
    open_pair(&p, ROLE_VAULT);
    p.vault.hold = true;
    for (int i = 0; i < 100; i++)
        call_accept(p.edge.ch, &r);
    uint32_t unwanted = call_accept(p.edge.ch, &r);
    channel_cancel(p.edge.ch, unwanted);
    channel_gone(p.edge.ch, STATUS_GONE, "the other end closed");
    assert_int_equal(r.gone, 0);
    channel_settle(p.edge.ch);
    channel_settle(p.edge.ch);
    assert_int_equal(r.gone, 100);
    assert_int_equal(p.edge.ends, 1);
    assert_int_equal(call_accept(p.edge.ch, &r), 0);
    assert_int_equal(call_accept(NULL, &r), 0);
    close_pair(&p);
    assert_int_equal(r.gone, 100);
}

static void a_request_may_be_answered_after_its_channel_was_closed(void **state)
{
    (void)state;
    struct pair p;
    struct replies r = {0};
    open_pair(&p, ROLE_VAULT);
    p.vault.hold = true;
    call_accept(p.edge.ch, &r);
    carry(&p);
    channel_close(p.vault.ch);
    p.vault.ch = NULL;
    ipc_accept_reply(p.vault.from, p.vault.held[0], &(struct ipc_accept_out){STATUS_OK});
    close_pair(&p);
    assert_int_equal(r.gone, 1);
}

static void descriptors_arrive_with_their_frames(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, ROLE_MAILROOM);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "the session", 11), 11);
    close(ends[1]);
    struct ipc_handover_in in = {.account = 1, .fd = ends[0]};
    assert_int_not_equal(ipc_handover_call(p.edge.ch, &in, NULL, NULL), 0);
    carry(&p);
    assert_string_equal(p.vault.seen, "the session");
    assert_int_equal(fcntl(ends[0], F_GETFD), p.vault.fd == ends[0] ? FD_CLOEXEC : -1);
    assert_int_equal(p.edge.ends + p.vault.ends, 0);
    close_pair(&p);
}

static void feed(struct end *e, struct str bytes)
{
    buf_append_str(&e->in, bytes);
    channel_input(e->ch, &e->in);
}

static void what_a_peer_may_not_send_ends_its_channel(void **state)
{
    (void)state;
    static const struct {
        enum ipc_role self, peer;
        struct str bytes;
        enum status_code why;
    } cases[] = {
        /* a note only the warden may send */
        {ROLE_VAULT, ROLE_EDGE, STR("\x09\0\0\0\3\6\0\0\0\0\0\0\0"), STATUS_DENIED},
        /* the same, from the warden, but with a bool of 2 */
        {ROLE_VAULT, ROLE_WARDEN, STR("\x09\0\0\0\3\6\0\0\0\0\0\0\2"), STATUS_CORRUPT},
        /* another version */
        {ROLE_VAULT, ROLE_WARDEN, STR("\x09\0\0\0\xee\6\0\0\0\0\0\0\0"), STATUS_UNSUPPORTED},
        /* no such message */
        {ROLE_VAULT, ROLE_EDGE, STR("\x08\0\0\0\3\xff\0\0\0\0\0\0"), STATUS_CORRUPT},
        /* unknown flags, and the byte that is zero */
        {ROLE_VAULT, ROLE_WARDEN, STR("\x09\0\0\0\3\6\2\0\0\0\0\0\0"), STATUS_CORRUPT},
        {ROLE_VAULT, ROLE_WARDEN, STR("\x09\0\0\0\3\6\0\1\0\0\0\0\0"), STATUS_CORRUPT},
        /* a reply to nothing */
        {ROLE_EDGE, ROLE_VAULT, STR("\x0d\0\0\0\3\x32\1\0\1\0\0\0\0\0\0\0\0"), STATUS_CORRUPT},
        /* too short, too long */
        {ROLE_VAULT, ROLE_EDGE, STR("\7\0\0\0"), STATUS_CORRUPT},
        {ROLE_VAULT, ROLE_EDGE, STR("\1\0\x20\0"), STATUS_CORRUPT},
        /* a call without an id, a note with one */
        {ROLE_VAULT, ROLE_EDGE, STR("\x08\0\0\0\3\x18\0\0\0\0\0\0"), STATUS_CORRUPT},
        {ROLE_VAULT, ROLE_WARDEN, STR("\x09\0\0\0\3\6\0\0\1\0\0\0\0"), STATUS_CORRUPT},
        /* a descriptor that did not come */
        {ROLE_VAULT, ROLE_WARDEN, STR("\x0a\0\0\0\3\2\0\0\0\0\0\0\1\0"), STATUS_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct end e;
        open_end(&e, cases[i].self, cases[i].peer, &no_handlers);
        feed(&e, cases[i].bytes);
        assert_int_equal(e.ends, 1);
        assert_int_equal(e.why, cases[i].why);
        assert_true(e.words[0] != 0);
        channel_close(e.ch);
        buf_release(&e.in);
    }
}

static void a_full_channel_refuses_requests_and_goes_on_when_it_is_read(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, ROLE_VAULT);
    size_t size = LIMIT_IPC_FRAME_SIZE - 100;
    char *bytes = calloc(1, size);
    const struct ipc_key key = {str_make(bytes, size)};
    struct ipc_confirm_in in = {.keys = &key, .keys_count = 1};
    int sent = 0;
    while (ipc_confirm_note(p.edge.ch, &in))
        sent++;
    assert_in_range(channel_queued(p.edge.ch), LIMIT_IPC_QUEUE_SIZE,
                    LIMIT_IPC_QUEUE_SIZE + LIMIT_IPC_FRAME_SIZE);
    carry(&p);
    assert_int_equal(p.vault.handled, sent);
    assert_true(ipc_confirm_note(p.edge.ch, &in));
    free(bytes);
    close_pair(&p);
}

static void a_message_over_the_frame_limit_is_not_sent_and_harms_nothing(void **state)
{
    (void)state;
    struct pair p;
    struct replies r = {0};
    open_pair(&p, ROLE_VAULT);
    char *bytes = calloc(1, LIMIT_IPC_FRAME_SIZE);
    struct ipc_accept_in in = {.helo = text_from(str_make(bytes, LIMIT_IPC_FRAME_SIZE))};
    assert_int_equal(ipc_accept_call(p.edge.ch, &in, accept_replied, &r), 0);
    assert_int_equal(channel_queued(p.edge.ch), 0);
    call_accept(p.edge.ch, &r);
    carry(&p);
    assert_int_equal(r.ok, 1);
    free(bytes);
    close_pair(&p);
}

static void a_peer_with_too_much_unanswered_is_not_read(void **state)
{
    (void)state;
    struct pair p;
    struct replies r = {0};
    open_pair(&p, ROLE_VAULT);
    p.vault.hold = true;
    for (int i = 0; i < LIMIT_IPC_CALLS; i++) {
        assert_int_not_equal(
            ipc_accept_call(p.edge.ch, &(struct ipc_accept_in){0}, accept_replied, &r), 0);
        carry(&p);
    }
    assert_int_equal(call_accept(p.edge.ch, &r), 0);
    assert_false(channel_wants_input(p.vault.ch));
    int wakes = p.vault.wakes;
    ipc_accept_reply(p.vault.from, 1, &(struct ipc_accept_out){STATUS_OK});
    assert_true(p.vault.wakes > wakes);
    assert_true(channel_wants_input(p.vault.ch));
    carry(&p);
    assert_int_equal(r.ok, 1);
    for (uint32_t id = 2; id <= LIMIT_IPC_CALLS; id++)
        ipc_accept_reply(p.vault.from, id, &(struct ipc_accept_out){STATUS_OK});
    carry(&p);
    assert_int_equal(r.ok, LIMIT_IPC_CALLS);
    close_pair(&p);
}

static void only_who_tells_secrets_pays_for_them(void **state)
{
    (void)state;
    assert_true(channel_has_secrets(ROLE_EDGE, ROLE_KEEPER));
    assert_true(channel_has_secrets(ROLE_VAULT, ROLE_KEEPER));
    assert_true(channel_has_secrets(ROLE_COURIER, ROLE_KEEPER));
    assert_true(channel_has_secrets(ROLE_KEEPER, ROLE_OPERATOR));
    assert_false(channel_has_secrets(ROLE_EDGE, ROLE_VAULT));
    assert_false(channel_has_secrets(ROLE_MAILROOM, ROLE_VAULT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_who_tells_secrets_pays_for_them),
        cmocka_unit_test(a_call_brings_its_fields_over_and_its_reply_back),
        cmocka_unit_test(frames_may_come_one_byte_at_a_time),
        cmocka_unit_test(replies_may_come_late_and_in_any_order),
        cmocka_unit_test(every_pending_call_is_told_once_that_the_channel_ended),
        cmocka_unit_test(a_request_may_be_answered_after_its_channel_was_closed),
        cmocka_unit_test(descriptors_arrive_with_their_frames),
        cmocka_unit_test(what_a_peer_may_not_send_ends_its_channel),
        cmocka_unit_test(a_full_channel_refuses_requests_and_goes_on_when_it_is_read),
        cmocka_unit_test(a_message_over_the_frame_limit_is_not_sent_and_harms_nothing),
        cmocka_unit_test(a_peer_with_too_much_unanswered_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
