/* The courier between a vault and a next server of ours, in one loop, over loopback. */
#include "roles/courier.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/testing.h"
#include "io/socket.h"
#include "io/stream.h"
#include "proto/smtp/envelope.h"
#include "roles/link.h"
#include "store/ingest.h"

enum { DESTINATION = 7, FIRST_ROW = 100, ROWS_MAX = 8, SESSIONS_MAX = 16 };

struct session {
    struct world *world;
    struct stream stream;
    bool open, in_data;
    struct buf in;
};

struct world {
    struct loop *loop;
    struct log log;
    struct role *courier;
    struct link *warden, *vault, *mailroom, *keeper;
    int ready;

    /* The next server. */
    int listener;
    struct watch accepts;
    struct session sessions[SESSIONS_MAX];
    size_t session_count;
    bool lets_nobody_in, takes_nothing, says_nothing, reads_no_body;
    struct now clock; /* where the time is the test's */
    int messages;
    struct buf last_message;

    /* The vault. */
    const char *const *recipients; /* of the one message that it leases out */
    size_t recipient_count;
    const char *sender;              /* NULL: the null path */
    bool one_each;                   /* a message for each of them */
    bool leased, in_pieces, is_deaf; /* deaf: it answers no outcomes */
    uint32_t held;
    int resumes, told;
    uint8_t outcomes[ROWS_MAX];
    char status[ROWS_MAX][16], words[ROWS_MAX][200];
    int arrivals;
    uint8_t arrival_state;
    struct body_writer *body;
    size_t pieces;
    bool full;      /* RET=FULL */
    size_t mute_at; /* not 0: from so many pieces asked for on, none is answered */
    struct channel *muted;
    uint32_t muted_id;
    size_t report_plain; /* octets of the report that came */
    uint64_t shipped;    /* the number of the body that goes ahead of it, and its octets */
    size_t shipped_plain;
    bool went_ahead;

    /* The keeper, which is asked and takes its time. */
    struct channel *login;
    uint32_t login_id;
};

/* ---- The next server ------------------------------------------------------------------------- */

static void say(struct session *s, const char *line)
{
    size_t n;
    assert_int_equal(stream_write(&s->stream, str_from_c(line), &n), STREAM_OK);
}

static void on_line(struct session *s, struct str line)
{
    if (s->in_data) {
        if (!str_eq(line, STR("."))) {
            buf_append_str(&s->world->last_message, line);
            buf_append_byte(&s->world->last_message, '\n');
            return;
        }
        s->in_data = false;
        s->world->messages++;
        say(s, "250 2.0.0 Taken\r\n");
    } else if (str_starts(line, STR("EHLO"))) {
        say(s, "250-next.test\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 ENHANCEDSTATUSCODES\r\n");
    } else if (s->world->takes_nothing && str_starts(line, STR("MAIL"))) {
        say(s, "421 4.3.2 Not now\r\n");
    } else if (str_find(line, STR("later@")) >= 0) {
        say(s, "450 4.2.0 Later\r\n");
    } else if (str_find(line, STR("never@")) >= 0) {
        say(s, "550 5.1.1 Nobody\r\n");
    } else if (str_eq(line, STR("DATA"))) {
        s->in_data = true;
        buf_clear(&s->world->last_message);
        say(s, "354 Go\r\n");
        stream_set_reading(&s->stream, !s->world->reads_no_body);
    } else {
        say(s, str_eq(line, STR("QUIT")) ? "221 2.0.0 Bye\r\n" : "250 2.0.0 Ok\r\n");
    }
}

static void on_session(void *context)
{
    struct session *s = context;
    struct str bytes;
    ptrdiff_t end;
    enum stream_result result = STREAM_BLOCKED;
    while (s->stream.reading && (result = stream_read(&s->stream, &bytes)) == STREAM_OK) {
        buf_append_str(&s->in, bytes);
        while ((end = str_find(buf_str(&s->in), STR("\r\n"))) >= 0) {
            on_line(s, str_sub(buf_str(&s->in), 0, (size_t)end));
            buf_consume(&s->in, (size_t)end + 2);
        }
    }
    if (result == STREAM_BLOCKED || !s->stream.reading)
        return;
    stream_close(&s->stream);
    s->open = false;
}

static void on_accept(void *context, unsigned what)
{
    struct world *w = context;
    struct socket_address peer;
    int fd;
    (void)what;
    if (socket_accept(w->listener, &fd, &peer) != STATUS_OK)
        return;
    assert_true(w->session_count < SESSIONS_MAX);
    struct session *s = &w->sessions[w->session_count++];
    *s = (struct session){.world = w, .open = true};
    buf_init(&s->in, 1 << 20);
    stream_open(&s->stream, w->loop, fd, on_session, s);
    if (!w->says_nothing)
        say(s, w->lets_nobody_in ? "554 5.7.1 No\r\n" : "220 next.test\r\n");
}

static uint16_t start_next_server(struct world *w)
{
    struct socket_address a;
    struct diag diag = {0};
    assert_true(socket_address_parse(STR("127.0.0.1"), 0, &a));
    assert_int_equal(socket_listen(&a, &w->listener, &diag), STATUS_OK);
    assert_true(socket_local_address(w->listener, &a));
    watch_init(&w->accepts, w->loop, w->listener, on_accept, w);
    watch_set(&w->accepts, WATCH_READ);
    buf_init(&w->last_message, 1 << 20);
    return socket_address_port(&a);
}

/* ---- The vault ---------------------------------------------------------------------------------
 */

static struct ipc_chunk chunk_of(const struct body_chunk *c)
{
    return (struct ipc_chunk){c->codec, c->key_id, c->plain_size, c->hash, c->data};
}

static void on_lease(void *context, struct channel *from, uint32_t id,
                     const struct ipc_lease_in *in)
{
    struct world *w = context;
    struct ipc_begun begun = {.destination = DESTINATION, .name = STR("route:next")};
    struct ipc_job_recipient rows[ROWS_MAX] = {0};
    size_t chunks;
    const struct body_chunk *body = body_writer_ready(w->body, &chunks);
    struct ipc_chunk chunk = chunk_of(&body[0]);
    if (w->leased || in->fresh == 0 || w->recipient_count == 0) {
        ipc_lease_reply(from, id, &(struct ipc_lease_out){.wait_ms = INT64_MAX});
        return;
    }
    w->leased = true;
    for (size_t i = 0; i < w->recipient_count; i++)
        rows[i] = (struct ipc_job_recipient){.id = FIRST_ROW + i,
                                             .recipient = text_from(str_from_c(w->recipients[i])),
                                             .remaining_ms = 1000000};
    struct ipc_job job = {.message = 1,
                          .destination = DESTINATION,
                          .trace_id = STR("trace"),
                          .sender = text_from(w->sender ? str_from_c(w->sender) : STR("")),
                          .size = body_writer_size(w->body),
                          .envelope = {.ret = w->full ? SMTP_RET_FULL : SMTP_RET_UNSAID},
                          .prefix = STR("Received: by us\r\n"),
                          .recipients = rows,
                          .recipients_count = w->recipient_count,
                          .chunk_count = (uint32_t)chunks,
                          .chunks = &chunk,
                          .chunks_count = w->in_pieces ? 0 : 1};
    struct ipc_job jobs[ROWS_MAX];
    for (size_t i = 0; i < ROWS_MAX; i++) {
        jobs[i] = job;
        jobs[i].recipients = w->one_each ? &rows[i] : rows;
        jobs[i].recipients_count = w->one_each ? 1 : w->recipient_count;
    }
    ipc_lease_reply(from, id,
                    &(struct ipc_lease_out){.begun = &begun,
                                            .begun_count = 1,
                                            .jobs = jobs,
                                            .jobs_count = w->one_each ? w->recipient_count : 1,
                                            .wait_ms = INT64_MAX});
}

static void on_chunks(void *context, struct channel *from, uint32_t id,
                      const struct ipc_outgoing_chunks_in *in)
{
    struct world *w = context;
    size_t chunks;
    const struct body_chunk *body = body_writer_ready(w->body, &chunks);
    assert_int_equal(in->message, 1);
    assert_true(in->first < chunks);
    struct ipc_chunk chunk = chunk_of(&body[in->first]);
    w->pieces++;
    if (w->mute_at > 0 && w->pieces >= w->mute_at) {
        w->muted = from;
        w->muted_id = id;
        return;
    }
    ipc_outgoing_chunks_reply(
        from, id, &(struct ipc_outgoing_chunks_out){.chunks = &chunk, .chunks_count = 1});
}

static void on_outcomes(void *context, struct channel *from, uint32_t id,
                        const struct ipc_outcomes_in *in)
{
    struct world *w = context;
    for (size_t i = 0; i < in->outcomes_count; i++) {
        size_t row = in->outcomes[i].recipient - FIRST_ROW;
        assert_true(row < ROWS_MAX);
        w->outcomes[row] = in->outcomes[i].outcome;
        str_to_c(in->outcomes[i].status, w->status[row], sizeof w->status[row]);
        str_to_c(text_peek(in->outcomes[i].words), w->words[row], sizeof w->words[row]);
        w->told++;
    }
    for (size_t i = 0; i < in->reports_count; i++) {
        w->report_plain += in->reports[i].email.size;
        w->went_ahead = in->reports[i].email.body != 0;
        if (w->went_ahead) {
            assert_int_equal(in->reports[i].email.body, w->shipped);
            assert_int_equal(in->reports[i].email.size, w->shipped_plain);
            assert_int_equal(in->reports[i].email.chunks_count, 0);
        }
    }
    for (size_t i = 0; i < in->arrivals_count; i++) {
        assert_int_equal(in->arrivals[i].destination, DESTINATION);
        w->arrivals++;
        w->arrival_state = in->arrivals[i].state;
    }
    ipc_outcomes_reply(from, id, &(struct ipc_outcomes_out){.status = STATUS_OK});
}

static void on_body_chunk(void *context, struct channel *from, uint32_t id,
                          const struct ipc_body_chunk_in *in)
{
    struct world *w = context;
    if (in->body != w->shipped)
        w->shipped_plain = 0;
    w->shipped = in->body;
    for (size_t i = 0; i < in->chunks_count; i++)
        w->shipped_plain += in->chunks[i].plain_size;
    ipc_body_chunk_reply(from, id, &(struct ipc_body_chunk_out){.status = STATUS_OK});
}

/* What it was told it has never heard: its channel ends with the call unanswered. */
static void on_outcomes_deaf(void *context, struct channel *from, uint32_t id,
                             const struct ipc_outcomes_in *in)
{
    struct world *w = context;
    if (!w->is_deaf) {
        on_outcomes(context, from, id, in);
        return;
    }
    w->told += (int)in->outcomes_count;
    ipc_outcomes_reply(from, id, &(struct ipc_outcomes_out){.status = STATUS_DISK_FULL});
}

static void on_resume(void *context, struct channel *from, uint32_t id,
                      const struct ipc_resume_in *in)
{
    struct world *w = context;
    w->resumes++;
    w->held = (uint32_t)in->held_count;
    ipc_resume_reply(from, id, &(struct ipc_resume_out){.status = STATUS_OK});
}

static const struct ipc_handlers vault_handlers = {.lease = on_lease,
                                                   .outgoing_chunks = on_chunks,
                                                   .body_chunk = on_body_chunk,
                                                   .outcomes = on_outcomes_deaf,
                                                   .resume = on_resume};

/* ---- The mailroom ----------------------------------------------------------------------------
 */

static void on_recipient(void *context, struct channel *from, uint32_t id,
                         const struct ipc_recipient_in *in)
{
    (void)context;
    struct ipc_target target = {.account = 3, .mailbox = 4};
    target.delivered_to = text_peek(in->recipient);
    ipc_recipient_reply(
        from, id, &(struct ipc_recipient_out){.code = 250, .targets = &target, .targets_count = 1});
}

static const struct ipc_handlers mailroom_handlers = {.recipient = on_recipient};

/* ---- The keeper ------------------------------------------------------------------------------
 */

static void on_login(void *context, struct channel *from, uint32_t id,
                     const struct ipc_sasl_client_start_in *in)
{
    struct world *w = context;
    assert_true(str_eq(in->mechanisms, STR("PLAIN")));
    w->login = from;
    w->login_id = id;
}

static const struct ipc_handlers keeper_handlers = {.sasl_client_start = on_login};

/* ---- The world
 * ----------------------------------------------------------------------------------- */

static void on_ready(void *context, struct channel *from)
{
    (void)from;
    ((struct world *)context)->ready++;
}

static void on_ended(void *owner, enum status_code why, const char *words)
{
    (void)owner, (void)why, (void)words;
}

static const struct ipc_handlers warden_handlers = {.ready = on_ready};

static struct link *open_link(struct world *w, int fd, enum ipc_role self,
                              const struct ipc_handlers *handlers)
{
    return link_open(&(struct link_setup){.loop = w->loop,
                                          .fd = fd,
                                          .self = self,
                                          .peer = ROLE_COURIER,
                                          .handlers = handlers,
                                          .context = w,
                                          .owner = w,
                                          .ended = on_ended});
}

static void open_vault(struct world *w)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->vault = open_link(w, fds[1], ROLE_VAULT, &vault_handlers);
    ipc_peer_note(link_channel(w->warden), &(struct ipc_peer_in){.role = ROLE_VAULT, .fd = fds[0]});
}

static void open_mailroom(struct world *w)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->mailroom = open_link(w, fds[1], ROLE_MAILROOM, &mailroom_handlers);
    ipc_peer_note(link_channel(w->warden),
                  &(struct ipc_peer_in){.role = ROLE_MAILROOM, .fd = fds[0]});
}

static void open_keeper(struct world *w)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->keeper = open_link(w, fds[1], ROLE_KEEPER, &keeper_handlers);
    ipc_peer_note(link_channel(w->warden),
                  &(struct ipc_peer_in){.role = ROLE_KEEPER, .fd = fds[0]});
}

/* The next server as a route of so many addresses, with `more` directives. */
static void open_world_with(struct world *w, const char *const *recipients, size_t count,
                            size_t addresses, bool own_clock, const char *more)
{
    char text[1000], to[500] = "";
    int fds[2];
    memset(w, 0, sizeof *w);
    w->loop = loop_new();
    w->clock = (struct now){.mono_ms = 1000, .wall_ms = 1000};
    if (own_clock)
        loop_use_clock(w->loop, &w->clock);
    w->recipients = recipients;
    w->recipient_count = count;
    w->body = body_writer_new();
    log_init(&w->log, open("/dev/null", O_WRONLY | O_CLOEXEC), ROLE_COURIER);
    uint16_t port = start_next_server(w);
    for (size_t i = 0, len = 0; i < addresses; i++)
        len += (size_t)snprintf(to + len, sizeof to - len, " 127.0.0.1:%u", port);
    snprintf(text, sizeof text,
             "hostname mail.test\ndata /nonexistent\nlisten mx 127.0.0.1:25 {\n tls no\n}\n"
             "route next {\n domains *\n to%s\n%s}\nresolver {\n forward 127.0.0.1:9\n}\n",
             to, more);
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->courier = role_new(&courier_plan, 0, w->loop, fds[0], &w->log);
    w->warden = open_link(w, fds[1], ROLE_WARDEN, &warden_handlers);
    ipc_config_note(link_channel(w->warden), &(struct ipc_config_in){.text = str_from_c(text)});
    while (w->ready == 0)
        loop_turn(w->loop, true);
}

static void open_world(struct world *w, const char *const *recipients, size_t count)
{
    open_world_with(w, recipients, count, 1, false, "");
}

static void write_body(struct world *w, size_t lines)
{
    body_writer_write(w->body, STR("Subject: hello\r\n\r\n"));
    for (size_t i = 0; i < lines; i++) {
        char line[64];
        snprintf(line, sizeof line, "line %zu of a message that is long\r\n", i);
        body_writer_write(w->body, str_from_c(line));
    }
    assert_true(body_writer_finish(w->body));
}

static void close_world(struct world *w)
{
    role_free(w->courier);
    link_close(w->vault);
    link_close(w->mailroom);
    link_close(w->keeper);
    link_close(w->warden);
    for (size_t i = 0; i < w->session_count; i++) {
        if (w->sessions[i].open)
            stream_close(&w->sessions[i].stream);
        buf_release(&w->sessions[i].in);
    }
    watch_set(&w->accepts, 0);
    close(w->listener);
    buf_release(&w->last_message);
    body_writer_free(w->body);
    loop_free(w->loop);
    close(w->log.fd);
}

static void run_until_told(struct world *w, int outcomes)
{
    while (w->told < outcomes)
        loop_turn(w->loop, true);
}

/* ---- Tests
 * --------------------------------------------------------------------------------------- */

static void each_recipient_has_its_own_end(void **state)
{
    (void)state;
    static const char *const recipients[] = {"ann@a.test", "later@a.test", "never@a.test"};
    struct world w;
    open_world(&w, recipients, 3);
    write_body(&w, 2);
    open_vault(&w);
    run_until_told(&w, 3);
    assert_int_equal(w.outcomes[0], 0);
    assert_int_equal(w.outcomes[1], 2);
    assert_string_equal(w.words[1], "450 4.2.0 Later");
    assert_int_equal(w.outcomes[2], 1);
    assert_string_equal(w.status[2], "5.1.1");
    assert_int_equal(w.messages, 1);
    assert_true(
        str_starts(buf_str(&w.last_message), STR("Received: by us\nSubject: hello\n\nline")));
    close_world(&w);
}

/* No mailroom answers here, so no report is ever made. */
static void what_was_delivered_waits_for_nobodys_report(void **state)
{
    (void)state;
    static const char *const recipients[] = {"never@a.test", "ann@a.test", "later@a.test"};
    struct world w;
    open_world(&w, recipients, 3);
    write_body(&w, 2);
    w.sender = "sue@mail.test";
    memset(w.outcomes, 0xff, sizeof w.outcomes);
    open_vault(&w);
    run_until_told(&w, 2);
    assert_int_equal(w.outcomes[0], 0xff);
    assert_int_equal(w.outcomes[1], 0);
    assert_int_equal(w.outcomes[2], 2);
    assert_string_equal(w.words[2], "450 4.2.0 Later");
    /* The bounce is still held. */
    link_close(w.vault);
    open_vault(&w);
    while (w.resumes < 2)
        loop_turn(w.loop, true);
    assert_int_equal(w.held, 1);
    close_world(&w);
}

static void a_large_body_is_pulled_piece_by_piece(void **state)
{
    (void)state;
    static const char *const recipients[] = {"ann@a.test"};
    struct world w;
    open_world(&w, recipients, 1);
    write_body(&w, 6000);
    w.in_pieces = true;
    open_vault(&w);
    run_until_told(&w, 1);
    assert_int_equal(w.outcomes[0], 0);
    assert_true(w.pieces > 2);
    assert_true(str_find(buf_str(&w.last_message), STR("\nline 5999 of")) > 0);
    close_world(&w);
}

/* Whoever still writes learns of it by a write that fails: the reply lies behind that. */
static void what_a_server_says_before_it_hangs_up_counts(void **state)
{
    (void)state;
    static const char *const recipients[] = {"ann@a.test"};
    struct world w;
    open_world(&w, recipients, 1);
    write_body(&w, 200000); /* more than sockets hold */
    w.in_pieces = w.reads_no_body = true;
    open_vault(&w);
    while (w.pieces < 2)
        loop_turn(w.loop, true);
    for (int idle = 0; idle < 1000; idle++)
        if (loop_turn(w.loop, false))
            idle = 0;
    say(&w.sessions[0], "552 5.3.4 Too large\r\n");
    stream_close(&w.sessions[0].stream);
    w.sessions[0].open = false;
    run_until_told(&w, 1);
    assert_int_equal(w.outcomes[0], 1);
    assert_string_equal(w.words[0], "552 5.3.4 Too large");
    close_world(&w);
}

static void a_server_that_talks_while_the_keeper_thinks_costs_nothing(void **state)
{
    (void)state;
    static const char *const recipients[] = {"ann@a.test"};
    struct world w;
    open_world_with(&w, recipients, 1, 1, false, " tls no\n auth user /nonexistent\n");
    write_body(&w, 2);
    open_keeper(&w);
    open_vault(&w);
    while (!w.login)
        loop_turn(w.loop, true);
    say(&w.sessions[0], "250 2.0.0 Who asked?\r\n");
    loop_turn(w.loop, true);
    for (int turns = 0; loop_turn(w.loop, false); turns++)
        assert_true(turns < 100);
    ipc_sasl_client_start_reply(w.login, w.login_id,
                                &(struct ipc_sasl_client_start_out){.status = STATUS_DENIED});
    run_until_told(&w, 1);
    assert_int_equal(w.outcomes[0], 2);
    close_world(&w);
}

static void outcomes_are_told_until_somebody_keeps_them(void **state)
{
    (void)state;
    static const char *const recipients[] = {"ann@a.test", "never@a.test"};
    struct world w;
    open_world(&w, recipients, 2);
    write_body(&w, 2);
    w.is_deaf = true;
    open_vault(&w);
    run_until_told(&w, 2);
    /* A new vault hears first what is held, and then the same again. */
    link_close(w.vault);
    w.is_deaf = false;
    w.told = 0;
    open_vault(&w);
    run_until_told(&w, 2);
    assert_int_equal(w.resumes, 2);
    assert_int_equal(w.held, 2);
    assert_int_equal(w.outcomes[1], 1);
    assert_int_equal(w.messages, 1);
    close_world(&w);
}

static void an_original_that_is_lost_with_the_vault_is_asked_of_the_next(void **state)
{
    (void)state;
    enum { LINES = 3000 };
    static const char *const recipients[] = {"never@a.test"};
    struct world w;
    open_world(&w, recipients, 1);
    write_body(&w, LINES);
    w.sender = "sue@mail.test";
    w.in_pieces = w.full = true;
    w.mute_at = 3; /* one for the next server, one for the report, and then it hangs */
    open_vault(&w);
    open_mailroom(&w);
    while (w.pieces < w.mute_at)
        loop_turn(w.loop, true);
    assert_int_equal(w.told, 0);
    link_close(w.vault);
    ipc_outgoing_chunks_reply(w.muted, w.muted_id,
                              &(struct ipc_outgoing_chunks_out){0}); /* to nobody */
    w.mute_at = 0;
    open_vault(&w);
    run_until_told(&w, 1);
    assert_int_equal(w.resumes, 2);
    assert_int_equal(w.outcomes[0], 1);
    assert_true(w.report_plain > body_writer_size(w.body));
    close_world(&w);
}

/* RET=FULL: all of it, ahead of the outcome, and again to the next vault. */
static void a_large_original_goes_ahead_of_its_report(void **state)
{
    (void)state;
    enum { LINES = 40000, GONE_AT = 500 * 1024 };
    static const char *const recipients[] = {"never@a.test"};
    struct world w;
    open_world(&w, recipients, 1);
    write_body(&w, LINES);
    assert_true(body_writer_size(w.body) > 1024 * 1024);
    w.sender = "sue@mail.test";
    w.in_pieces = w.full = true;
    open_vault(&w);
    open_mailroom(&w);
    while (w.shipped_plain < GONE_AT)
        loop_turn(w.loop, true);
    uint64_t first = w.shipped;
    link_close(w.vault);
    open_vault(&w);
    run_until_told(&w, 1);
    assert_true(w.shipped != first);
    assert_int_equal(w.outcomes[0], 1);
    assert_true(w.went_ahead && w.report_plain > body_writer_size(w.body));
    close_world(&w);
}

/* What went ahead is the vault's that has it: one that could not keep the outcome has it no more.
 */
static void a_large_original_goes_ahead_again_where_the_outcome_was_not_kept(void **state)
{
    (void)state;
    static const char *const recipients[] = {"never@a.test"};
    struct world w;
    open_world(&w, recipients, 1);
    write_body(&w, 20000);
    w.sender = "sue@mail.test";
    w.in_pieces = w.full = w.is_deaf = true;
    open_vault(&w);
    open_mailroom(&w);
    run_until_told(&w, 1);
    uint64_t first = w.shipped;
    w.is_deaf = false;
    w.told = 0;
    run_until_told(&w, 1);
    assert_true(w.shipped != first);
    assert_true(w.went_ahead && w.report_plain > body_writer_size(w.body));
    close_world(&w);
}

static void a_server_that_nobody_reaches_is_left_alone(void **state)
{
    (void)state;
    static const char *const recipients[] = {"ann@a.test", "bob@a.test"};
    struct world w;
    open_world(&w, recipients, 2);
    write_body(&w, 2);
    watch_set(&w.accepts, 0);
    assert_int_equal(shutdown(w.listener, SHUT_RDWR), 0);
    open_vault(&w);
    run_until_told(&w, 2);
    assert_int_equal(w.outcomes[0], 2);
    assert_int_equal(w.outcomes[1], 2);
    assert_string_equal(w.status[0], "4.4.1");
    assert_int_equal(w.arrivals, 1);
    assert_int_equal(w.arrival_state, 1);
    close_world(&w);
}

static void a_search_for_a_server_ends_before_all_addresses_do(void **state)
{
    (void)state;
    static const char *const recipients[] = {"ann@a.test"};
    struct world w;
    open_world_with(&w, recipients, 1, LIMIT_OUTBOUND_SEARCH_ADDRESSES + 2, false, "");
    write_body(&w, 2);
    w.lets_nobody_in = true;
    open_vault(&w);
    run_until_told(&w, 1);
    assert_int_equal(w.outcomes[0], 2);
    assert_string_equal(w.words[0], "554 5.7.1 No");
    assert_int_equal(w.session_count, LIMIT_OUTBOUND_SEARCH_ADDRESSES);
    while (w.arrivals == 0)
        loop_turn(w.loop, true);
    assert_int_equal(w.arrival_state, 1);
    close_world(&w);
}

/* Servers that say nothing may each do so for five minutes, but not all of them. */
static void a_search_for_a_server_ends_after_half_an_hour(void **state)
{
    (void)state;
    static const char *const recipients[] = {"ann@a.test"};
    enum { MINUTE_MS = 60 * 1000, TURNS = 50 };
    struct world w;
    open_world_with(&w, recipients, 1, LIMIT_OUTBOUND_SEARCH_ADDRESSES + 2, true, "");
    write_body(&w, 2);
    w.says_nothing = true;
    open_vault(&w);
    int64_t began_ms = 0;
    while (w.told == 0) {
        for (int i = 0; i < TURNS; i++)
            loop_turn(w.loop, false);
        if (w.session_count > 0 && began_ms == 0)
            began_ms = w.clock.mono_ms;
        w.clock.mono_ms += began_ms > 0 ? MINUTE_MS / 2 : 0;
    }
    int64_t took_ms = w.clock.mono_ms - began_ms;
    assert_in_range(took_ms, LIMIT_OUTBOUND_SEARCH_MS, LIMIT_OUTBOUND_SEARCH_MS + 2 * MINUTE_MS);
    assert_in_range(w.session_count, 6, 7);
    assert_int_equal(w.outcomes[0], 2);
    close_world(&w);
}

static void a_server_that_takes_no_first_message_is_left_alone(void **state)
{
    (void)state;
    static const char *const recipients[ROWS_MAX] = {"a@a.test", "b@a.test", "c@a.test",
                                                     "d@a.test", "e@a.test", "f@a.test",
                                                     "g@a.test", "h@a.test"};
    struct world w;
    open_world(&w, recipients, ROWS_MAX);
    write_body(&w, 2);
    w.one_each = w.takes_nothing = true;
    open_vault(&w);
    run_until_told(&w, ROWS_MAX);
    for (size_t i = 0; i < ROWS_MAX; i++) {
        assert_int_equal(w.outcomes[i], 2);
        assert_string_equal(w.words[i], "421 4.3.2 Not now");
    }
    assert_true(w.session_count < ROWS_MAX / 2);
    while (w.arrivals == 0)
        loop_turn(w.loop, true);
    assert_int_equal(w.arrival_state, 1);
    close_world(&w);
}

static void a_courier_that_stops_says_goodbye_first(void **state)
{
    (void)state;
    static const char *const recipients[] = {"ann@a.test"};
    struct world w;
    open_world(&w, recipients, 1);
    write_body(&w, 2);
    open_vault(&w);
    run_until_told(&w, 1);
    ipc_stop_note(link_channel(w.warden), &(struct ipc_stop_in){.now = false});
    while (!role_has_ended(w.courier))
        loop_turn(w.loop, true);
    assert_int_equal(w.arrivals, 1);
    assert_int_equal(w.arrival_state, 0);
    assert_false(w.sessions[0].open);
    close_world(&w);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_recipient_has_its_own_end),
        cmocka_unit_test(what_was_delivered_waits_for_nobodys_report),
        cmocka_unit_test(a_large_body_is_pulled_piece_by_piece),
        cmocka_unit_test(what_a_server_says_before_it_hangs_up_counts),
        cmocka_unit_test(a_server_that_talks_while_the_keeper_thinks_costs_nothing),
        cmocka_unit_test(outcomes_are_told_until_somebody_keeps_them),
        cmocka_unit_test(an_original_that_is_lost_with_the_vault_is_asked_of_the_next),
        cmocka_unit_test(a_large_original_goes_ahead_of_its_report),
        cmocka_unit_test(a_large_original_goes_ahead_again_where_the_outcome_was_not_kept),
        cmocka_unit_test(a_server_that_nobody_reaches_is_left_alone),
        cmocka_unit_test(a_search_for_a_server_ends_before_all_addresses_do),
        cmocka_unit_test(a_search_for_a_server_ends_after_half_an_hour),
        cmocka_unit_test(a_server_that_takes_no_first_message_is_left_alone),
        cmocka_unit_test(a_courier_that_stops_says_goodbye_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
