#include "roles/keeper_testing.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

#include "codec/base64.h"
#include "io/socket.h"
#include "io/tls.h"
#include "roles/sandbox.h"

/* ---- Tests
 * -------------------------------------------------------------------------------------------- */

static void a_right_password_brings_a_capability(void **state)
{
    (void)state;
    struct world w;
    struct capability c;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    assert_int_equal(plain(&w, "Alice@A.test", "pencil"), SUCCESS);
    assert_int_equal(w.account, 7);
    assert_true(str_eq(buf_str(&w.login), STR("alice@a.test")));
    assert_true(capability_check(&w.keys, buf_str(&w.capability), loop_now(w.loop), &c));
    assert_int_equal(c.account, 7);
    assert_int_equal(c.rights, CAPABILITY_CHANGE_MAIL);
    /* The domain may be left out; submission has no right to change mail. */
    assert_int_equal(plain_from(&w, "::1", LISTEN_SUBMISSION, "alice", "pencil"), SUCCESS);
    assert_int_equal(w.capability.len, 0);
    close_world(&w);
}

static void wrong_names_and_passwords_are_alike(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    assert_int_equal(plain(&w, "alice", "pencil2"), WRONG);
    assert_int_equal(w.account, 0);
    assert_int_equal(plain(&w, "mallory", "pencil"), WRONG);
    assert_int_equal(plain(&w, "", "pencil"), MALFORMED);
    wait_for_reply(&w, start(&w, 1, "CRAM-MD5", "10.0.0.1", LISTEN_IMAP, STR("x")));
    assert_int_equal(w.outcome, MALFORMED);
    assert_int_equal(step(&w, 99, STR("x")), MALFORMED);
    close_world(&w);
}

static void passwords_come_and_go(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    assert_int_equal(set(&w, 7, "alice@a.test", "phone", "pencil-app"), STATUS_OK);
    assert_int_equal(set(&w, 7, "alice@a.test", "phone", "pencil-app"), STATUS_EXISTS);
    assert_int_equal(set(&w, 8, "alice@a.test", NULL, "pencil"), STATUS_EXISTS);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, ""), STATUS_INVALID);
    assert_int_equal(list(&w, 7), 2);
    assert_int_equal(plain(&w, "alice", "pencil"), SUCCESS);
    assert_int_equal(plain(&w, "alice", "pencil"), SUCCESS); /* from the cache */
    assert_int_equal(plain(&w, "alice", "pencil-app"), SUCCESS);
    /* Over a restart too. */
    stop_keeper(&w);
    start_keeper(&w);
    assert_int_equal(w.keys.count, 1); /* which has the key that it had */
    assert_int_equal(plain(&w, "alice", "pencil-app"), SUCCESS);
    disable(&w, 7, true);
    assert_int_equal(plain(&w, "alice", "pencil-app"), WRONG);
    assert_int_equal(plain(&w, "alice", "pencil"), WRONG);
    disable(&w, 7, false);
    assert_int_equal(plain(&w, "alice", "pencil"), SUCCESS);
    assert_int_equal(remove_password(&w, 7, w.id), STATUS_OK);
    assert_int_equal(plain(&w, "alice", "pencil-app"), WRONG);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil-new"), STATUS_OK);
    assert_int_equal(plain(&w, "alice", "pencil"), WRONG);
    assert_int_equal(plain(&w, "alice", "pencil-new"), SUCCESS);
    assert_int_equal(remove_password(&w, 7, 0), STATUS_OK);
    assert_int_equal(plain(&w, "alice", "pencil-new"), WRONG);
    assert_int_equal(list(&w, 7), 0);
    close_world(&w);
}

/* What was right a moment ago is remembered, but not beyond a change. */
static void a_changed_password_lets_nobody_in_from_the_cache(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    assert_int_equal(plain(&w, "alice", "pencil"), SUCCESS);
    assert_int_equal(plain(&w, "alice", "pencil"), SUCCESS);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pen"), STATUS_OK);
    assert_int_equal(plain(&w, "alice", "pencil"), WRONG);
    assert_int_equal(plain(&w, "alice", "pen"), SUCCESS);
    close_world(&w);
}

static uint8_t scram(struct world *w, const char *user, const char *password)
{
    if (scram_proof(w, user, password) == CHALLENGE)
        step(w, 5, STR(""));
    return w->outcome;
}

static void scram_takes_any_password_of_the_account(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    assert_int_equal(set(&w, 7, "alice@a.test", "phone", "pencil-app"), STATUS_OK);
    assert_int_equal(scram(&w, "alice", "pencil"), SUCCESS);
    assert_int_equal(w.account, 7);
    assert_int_equal(w.capability.len, CAPABILITY_SIZE);
    assert_int_equal(scram(&w, "alice@a.test", "pencil-app"), SUCCESS);
    assert_int_equal(scram(&w, "alice", "pencil-x"), WRONG);
    assert_int_equal(scram(&w, "mallory", "pencil"), WRONG);
    disable(&w, 7, true);
    assert_int_equal(scram(&w, "alice", "pencil"), WRONG);
    close_world(&w);
}

/* An exchange that began with a password which is none any more at its end. */
static void what_changes_during_a_login_counts(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    /* While a hasher is at work; and nothing of it is remembered. */
    start(&w, 2, "PLAIN", "10.0.0.1", LISTEN_IMAP, STR("\0alice\0pencil"));
    disable(&w, 7, true);
    assert_int_equal(w.outcome, WRONG);
    assert_int_equal(plain(&w, "alice", "pencil"), WRONG);
    disable(&w, 7, false);
    /* While the client takes its time. */
    assert_int_equal(scram_proof(&w, "alice", "pencil"), CHALLENGE);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pen"), STATUS_OK);
    assert_int_equal(step(&w, 5, STR("")), WRONG);
    assert_int_equal(scram(&w, "alice", "pen"), SUCCESS);
    close_world(&w);
}

/* ",s=salt,i=count" of the answer to a name. */
static void hear_salt(struct world *w, const char *user, char ret_salt[static 256])
{
    struct buf message;
    buf_init(&message, 256);
    buf_printf(&message, "n,,n=%s,r=clientnonce", user);
    wait_for_reply(w, start(w, 6, "SCRAM-SHA-256", "10.0.0.1", LISTEN_IMAPS, buf_str(&message)));
    assert_int_equal(w->outcome, CHALLENGE);
    struct str data = buf_str(&w->data);
    assert_true(str_to_c(str_skip(data, (size_t)str_find(data, STR(",s="))), ret_salt, 256));
    ipc_sasl_abort_note(link_channel(w->edge), &(struct ipc_sasl_abort_in){6});
    buf_release(&message);
}

/* Somebody can leave the domain out of his name; nobody must not be known by that. */
static void nobody_has_one_salt_by_all_his_names(void **state)
{
    (void)state;
    struct world w;
    char names[2][256];
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    hear_salt(&w, "alice", names[0]);
    hear_salt(&w, "Alice@a.test", names[1]);
    assert_string_equal(names[0], names[1]);
    hear_salt(&w, "mallory", names[0]);
    hear_salt(&w, "Mallory@a.test", names[1]);
    assert_string_equal(names[0], names[1]);
    close_world(&w);
}

static void guessing_is_held_up_and_others_are_not(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    assert_int_equal(plain_from(&w, "10.9.9.9", LISTEN_IMAP, "alice", "pencil"), SUCCESS);
    for (int i = 0; i <= THROTTLE_ADDRESS_FREE; i++)
        assert_int_equal(scram(&w, "alice", "pencil-x"), WRONG);
    assert_int_equal(plain(&w, "alice", "pencil"), TEMPORARY);
    assert_int_equal(plain(&w, "mallory", "pencil"), TEMPORARY);
    /* The name waits elsewhere too, but not where its owner has been before. */
    assert_int_equal(plain_from(&w, "10.8.8.8", LISTEN_IMAP, "alice", "pencil"), TEMPORARY);
    assert_int_equal(plain_from(&w, "10.9.9.9", LISTEN_IMAP, "alice", "pencil"), SUCCESS);
    assert_int_equal(plain_from(&w, "local", LISTEN_IMAP, "alice", "pencil"), SUCCESS);
    close_world(&w);
}

static void an_exchange_can_be_given_up_at_any_time(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    wait_for_reply(&w, start(&w, 1, "LOGIN", "10.0.0.1", LISTEN_IMAP, STR("")));
    assert_int_equal(w.outcome, CHALLENGE);
    assert_true(str_eq(buf_str(&w.data), STR("Username:")));
    ipc_sasl_abort_note(link_channel(w.edge), &(struct ipc_sasl_abort_in){1});
    assert_int_equal(step(&w, 1, STR("alice")), MALFORMED);
    /* While a hasher is at work. */
    uint32_t call = start(&w, 2, "PLAIN", "10.0.0.1", LISTEN_IMAP, STR("\0alice\0pencil"));
    ipc_sasl_abort_note(link_channel(w.edge), &(struct ipc_sasl_abort_in){2});
    wait_for_reply(&w, call);
    assert_int_equal(w.outcome, ABORTED);
    /* By the edge's end. */
    call = start(&w, 3, "PLAIN", "10.0.0.1", LISTEN_IMAP, STR("\0alice\0pencil"));
    loop_turn(w.loop, true);
    link_close(w.edge);
    assert_int_equal(w.status, STATUS_GONE);
    w.edge = introduce(&w, ROLE_EDGE);
    assert_int_equal(plain(&w, "alice", "pencil"), SUCCESS);
    /* By the keeper's. */
    start(&w, 4, "PLAIN", "10.0.0.1", LISTEN_IMAP, STR("\0alice\0pencil-x"));
    loop_turn(w.loop, true);
    close_world(&w);
}

/* Strangers that begin to log in and wait. */
static void exchanges_without_end_keep_nobody_out(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    for (uint64_t session = 100; session < 5100; session++) {
        start(&w, session, "LOGIN", "10.0.0.2", LISTEN_IMAP, STR(""));
        if (session % 500 == 0)
            wait_for_reply(&w, 1);
    }
    wait_for_reply(&w, 1);
    assert_int_equal(w.outcome, CHALLENGE);
    assert_int_equal(plain(&w, "alice", "pencil"), SUCCESS);
    /* The oldest have given way. */
    assert_int_equal(step(&w, 100, STR("alice")), MALFORMED);
    assert_int_equal(step(&w, 5099, STR("alice")), CHALLENGE);
    close_world(&w);
}

static void on_tickets(void *context, enum status_code status,
                       const struct ipc_ticket_keys_out *out)
{
    struct world *w = context;
    w->waiting--;
    assert_int_equal(status, STATUS_OK);
    w->count = out->keys.len;
    set_buf(&w->data, out->keys);
}

static void on_metrics(void *context, enum status_code status, const struct ipc_metrics_out *out)
{
    struct world *w = context;
    w->waiting--;
    assert_int_equal(status, STATUS_OK);
    set_buf(&w->text, out->text);
}

static void gone_unanswered(void *context, enum status_code status,
                            const struct ipc_sasl_start_out *out)
{
    (void)context;
    (void)out;
    assert_int_equal(status, STATUS_GONE);
}

/* Each edge has a password looked at by a hasher when the next one takes its place. */
static void let_edges_die(struct world *w, int deaths)
{
    const struct keeper *k = role_state(w->keeper);
    for (int i = 0; i < deaths; i++) {
        ipc_sasl_start_call(link_channel(w->edge),
                            &(struct ipc_sasl_start_in){.session = 1,
                                                        .protocol = LISTEN_IMAP,
                                                        .mechanism = STR("PLAIN"),
                                                        .has_initial = true,
                                                        .initial = str_make("\0nobody\0pencil", 14),
                                                        .peer = STR("")},
                            gone_unanswered, w);
        while (k->exchange_count == 0)
            loop_turn(w->loop, true);
        struct link *next = introduce(w, ROLE_EDGE);
        while (k->exchange_count > 0)
            loop_turn(w->loop, true);
        link_close(w->edge);
        w->edge = next;
    }
}

static void edges_that_die_in_the_middle_of_a_login_leave_nothing(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    let_edges_die(&w, 100);
    size_t before = mallinfo2().uordblks;
    let_edges_die(&w, 2000);
    size_t after = mallinfo2().uordblks;
    assert_true(after < before + 64 * 1024);
    close_world(&w);
}

static void an_edge_gets_ticket_keys_and_metrics(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    w.waiting++;
    wait_for_reply(&w, ipc_ticket_keys_call(link_channel(w.edge), on_tickets, &w));
    assert_int_equal(w.count, TLS_TICKET_KEY_SIZE);
    assert_int_equal(plain(&w, "alice", "pencil"), WRONG);
    w.waiting++;
    wait_for_reply(&w, ipc_metrics_call(link_channel(w.edge), on_metrics, &w));
    assert_true(
        str_find(buf_str(&w.text), STR("postern_keeper_logins_total{outcome=\"wrong\"} 1\n")) >= 0);
    close_world(&w);
}

/* Sessions of some hours can be resumed, and what a key was stolen for ends within a day. */
static void ticket_keys_make_way_for_new_ones(void **state)
{
    (void)state;
    enum { HOURS_6_MS = 6 * 60 * 60 * 1000 };
    struct world w;
    struct buf before;
    open_world(&w);
    buf_init(&before, 1024);
    w.waiting++;
    wait_for_reply(&w, ipc_ticket_keys_call(link_channel(w.edge), on_tickets, &w));
    for (int i = 1; i <= TLS_TICKET_KEYS_MAX; i++) {
        size_t kept = i < TLS_TICKET_KEYS_MAX ? (size_t)i : TLS_TICKET_KEYS_MAX - 1;
        set_buf(&before, buf_str(&w.data));
        w.clock.mono_ms += HOURS_6_MS;
        while (w.rotated < i)
            loop_turn(w.loop, false);
        struct str keys = buf_str(&w.data), first = str_sub(keys, 0, TLS_TICKET_KEY_SIZE);
        assert_int_equal(keys.len, (kept + 1) * TLS_TICKET_KEY_SIZE);
        assert_true(str_find(buf_str(&before), first) < 0);
        assert_true(str_eq(str_skip(keys, TLS_TICKET_KEY_SIZE),
                           str_sub(buf_str(&before), 0, kept * TLS_TICKET_KEY_SIZE)));
    }
    buf_release(&before);
    close_world(&w);
}

static void on_signed(void *context, enum status_code status, const struct ipc_sign_out *out)
{
    struct world *w = context;
    w->waiting--;
    w->status = status == STATUS_OK ? out->status : status;
    w->count = status == STATUS_OK ? out->signature.len : 0;
}

static int key_file(unsigned char ret_id[TLS_KEY_ID_SIZE])
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_true(tls_key_id(key, ret_id));
    int fd = memfd_create("key", MFD_CLOEXEC);
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    long size = BIO_get_mem_data(bio, &pem);
    assert_int_equal(write(fd, pem, (size_t)size), size);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    BIO_free(bio);
    EVP_PKEY_free(key);
    return fd;
}

static void it_signs_on_the_signing_channel(void **state)
{
    (void)state;
    struct world w;
    int fds[2];
    unsigned char id[TLS_KEY_ID_SIZE];
    int key = key_file(id);
    struct ipc_sign_in in = {.key = str_make(id, sizeof id),
                             .algorithm = SIGN_ECDSA,
                             .digest = STR("0123456789abcdef0123456789abcdef")};
    open_world(&w);
    assert_int_equal(socket_pair(fds), STATUS_OK);
    ipc_key_file_note(link_channel(w.warden), &(struct ipc_key_file_in){2, key});
    ipc_sign_channel_note(link_channel(w.warden), &(struct ipc_sign_channel_in){0, fds[0]});
    struct link *signing = connect_to(&w, fds[1], ROLE_EDGE);
    w.waiting++;
    wait_for_reply(&w, ipc_sign_call(link_channel(signing), &in, on_signed, &w));
    assert_int_equal(w.status, STATUS_OK);
    assert_true(w.count > 60);
    in.key = STR("another");
    w.waiting++;
    wait_for_reply(&w, ipc_sign_call(link_channel(signing), &in, on_signed, &w));
    assert_int_equal(w.status, STATUS_NOT_FOUND);
    link_close(signing);
    loop_turn(w.loop, false);
    close_world(&w);
}

/* ---- The client's side, for couriers -------------------------------------------------------- */

static const struct str exporter = {"exporter-octets-exporter-octets-", 32};

static int secret_file(struct str content)
{
    int fd = memfd_create("secret", MFD_CLOEXEC);
    assert_int_equal(write(fd, content.ptr, content.len), content.len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void route_secret(struct world *w, const char *route, const char *login, int fd)
{
    ipc_route_secret_note(link_channel(w->warden),
                          &(struct ipc_route_secret_in){str_from_c(route), str_from_c(login), fd});
    while (loop_turn(w->loop, false))
        ;
}

static void on_client_start(void *context, enum status_code status,
                            const struct ipc_sasl_client_start_out *out)
{
    struct world *w = context;
    w->waiting--;
    w->status = status == STATUS_OK ? out->status : status;
    if (w->status != STATUS_OK)
        return;
    set_buf(&w->mechanism, out->mechanism);
    set_buf(&w->data, out->initial);
    w->has_initial = out->has_initial;
    w->done = out->done;
}

static enum status_code client_start(struct world *w, uint64_t session, const char *mechanisms,
                                     bool tls)
{
    struct ipc_sasl_client_start_in in = {.session = session,
                                          .route = STR("smart"),
                                          .mechanisms = str_from_c(mechanisms),
                                          .tls = tls,
                                          .tls_exporter = tls ? exporter : STR("")};
    w->waiting++;
    wait_for_reply(w,
                   ipc_sasl_client_start_call(link_channel(w->courier), &in, on_client_start, w));
    return w->status;
}

static void on_client_step(void *context, enum status_code status,
                           const struct ipc_sasl_client_step_out *out)
{
    struct world *w = context;
    w->waiting--;
    w->status = status == STATUS_OK ? out->status : status;
    if (w->status != STATUS_OK)
        return;
    set_buf(&w->data, out->response);
    w->done = out->done;
}

static enum status_code client_step(struct world *w, uint64_t session, struct str challenge)
{
    struct buf copy;
    buf_init(&copy, 4096);
    buf_append_str(&copy, challenge);
    w->waiting++;
    wait_for_reply(
        w, ipc_sasl_client_step_call(link_channel(w->courier),
                                     &(struct ipc_sasl_client_step_in){session, buf_str(&copy)},
                                     on_client_step, w));
    buf_release(&copy);
    return w->status;
}

static void client_end(struct world *w, uint64_t session)
{
    ipc_sasl_client_end_note(link_channel(w->courier), &(struct ipc_sasl_client_end_in){session});
}

static void begin_as_server(struct world *w)
{
    struct buf initial;
    buf_init(&initial, 4096);
    buf_append_str(&initial, buf_str(&w->data));
    w->waiting++;
    wait_for_reply(
        w, ipc_sasl_start_call(link_channel(w->edge),
                               &(struct ipc_sasl_start_in){.session = 5,
                                                           .protocol = LISTEN_IMAP,
                                                           .mechanism = buf_str(&w->mechanism),
                                                           .has_initial = w->has_initial,
                                                           .initial = buf_str(&initial),
                                                           .peer = STR("10.0.0.9"),
                                                           .tls = true,
                                                           .tls_exporter = exporter,
                                                           .trace_id = STR("t2")},
                               on_start, w));
    buf_release(&initial);
}

/* The keeper is both: the client for a courier, and the server for an edge. */
static uint8_t meet_itself(struct world *w, const char *mechanisms)
{
    struct buf response;
    buf_init(&response, 4096);
    assert_int_equal(client_start(w, 3, mechanisms, true), STATUS_OK);
    assert_true(str_eq(buf_str(&w->mechanism), str_from_c(mechanisms)));
    begin_as_server(w);
    while (w->outcome == CHALLENGE) {
        assert_false(w->done);
        assert_int_equal(client_step(w, 3, buf_str(&w->data)), STATUS_OK);
        set_buf(&response, buf_str(&w->data));
        step(w, 5, buf_str(&response));
    }
    assert_true(w->done || w->outcome != SUCCESS);
    client_end(w, 3);
    buf_release(&response);
    return w->outcome;
}

static void a_courier_logs_in_by_the_password_of_a_route(void **state)
{
    (void)state;
    static const char *const mechanisms[] = {"SCRAM-SHA-256-PLUS", "PLAIN", "LOGIN"};
    struct world w;
    open_world(&w);
    assert_int_equal(set(&w, 7, "alice@a.test", NULL, "pencil"), STATUS_OK);
    route_secret(&w, "smart", "alice@a.test", secret_file(STR("pencil\r\nnot this\n")));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(meet_itself(&w, mechanisms[i]), SUCCESS);
    route_secret(&w, "smart", "alice@a.test", secret_file(STR("pencils")));
    assert_int_equal(meet_itself(&w, "PLAIN"), WRONG);
    close_world(&w);
}

static void a_password_leaves_only_where_it_may(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(client_start(&w, 1, "PLAIN", true), STATUS_NOT_FOUND);
    route_secret(&w, "smart", "alice@a.test", secret_file(STR("pencil")));
    assert_int_equal(client_start(&w, 1, "PLAIN LOGIN", false), STATUS_NOT_FOUND);
    assert_int_equal(client_start(&w, 1, "CRAM-MD5", true), STATUS_NOT_FOUND);
    assert_int_equal(client_start(&w, 1, "PLAIN SCRAM-SHA-256", false), STATUS_OK);
    assert_true(str_eq(buf_str(&w.mechanism), STR("SCRAM-SHA-256")));
    assert_int_equal(client_start(&w, 1, "PLAIN", true), STATUS_INVALID); /* session in use */
    assert_int_equal(client_step(&w, 1, STR("r=lies,s=c2FsdA==,i=4096")), STATUS_DENIED);
    assert_int_equal(client_step(&w, 1, STR("")), STATUS_NOT_FOUND);
    assert_int_equal(client_start(&w, 1, "PLAIN", true), STATUS_OK);
    close_world(&w);
}

static void a_bad_password_file_takes_the_place_of_a_good_one(void **state)
{
    (void)state;
    static char long_line[2000];
    memset(long_line, 'x', sizeof long_line);
    const struct str bad[] = {STR(""), STR("\npencil\n"), STR("a\0b\n"),
                              str_make(long_line, sizeof long_line)};
    struct world w;
    open_world(&w);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        route_secret(&w, "smart", "alice@a.test", secret_file(STR("pencil")));
        assert_int_equal(client_start(&w, i, "PLAIN", true), STATUS_OK);
        route_secret(&w, "smart", "alice@a.test", secret_file(bad[i]));
        assert_int_equal(client_start(&w, 100, "PLAIN", true), STATUS_NOT_FOUND);
    }
    close_world(&w);
}

static void a_password_is_forgotten_with_its_route(void **state)
{
    (void)state;
    struct world w;
    char *route;
    open_world(&w);
    route_secret(&w, "smart", "alice@a.test", secret_file(STR("pencil")));
    route_secret(&w, "other", "alice@a.test", secret_file(STR("pencil")));
    assert_int_equal(client_start(&w, 1, "PLAIN", true), STATUS_OK);
    route = strstr(w.config, "route smart");
    memcpy(route + 6, "smert", 5);
    w.ready = 0;
    ipc_config_note(link_channel(w.warden), &(struct ipc_config_in){.text = str_from_c(w.config)});
    while (w.ready == 0)
        loop_turn(w.loop, true);
    assert_int_equal(client_start(&w, 2, "PLAIN", true), STATUS_NOT_FOUND);
    close_world(&w);
}

/*
 * What libraries load lazily must have been loaded, and what SQLite does must be allowed: the same
 * in a process that is shut in as the keeper's is.
 */
static void all_of_it_works_inside_the_sandbox(void **state)
{
    (void)state;
    struct world w;
    struct diag diag = {{0}};
    char folder[128];
    int status;
    open_world(&w);
    stop_keeper(&w);
    snprintf(folder, sizeof folder, "%s/keeper", w.folder);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        w.loop = loop_new();
        log_init(&w.log, open("/dev/null", O_WRONLY | O_CLOEXEC), ROLE_KEEPER);
        start_keeper(&w);
        int secret = secret_file(STR("pencil"));
        if (sandbox_enter(ROLE_KEEPER, folder, false, &diag) != STATUS_OK)
            _exit(2);
        int failed = set(&w, 7, "alice@a.test", NULL, "pencil") != STATUS_OK;
        failed |= set(&w, 7, "alice@a.test", "phone", "p\xC3\xA4ncil") != STATUS_OK;
        failed |= plain(&w, "alice", "pencil") != SUCCESS;
        failed |= plain(&w, "alice", "pa\xCC\x88ncil") != SUCCESS;
        failed |= scram(&w, "alice", "pencil") != SUCCESS;
        route_secret(&w, "smart", "alice@a.test", secret);
        failed |= meet_itself(&w, "SCRAM-SHA-256-PLUS") != SUCCESS;
        for (int i = 0; i < 50; i++)
            disable(&w, 7, i % 2 == 0);
        failed |= remove_password(&w, 7, 0) != STATUS_OK;
        _exit(failed);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    start_keeper(&w);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_password_brings_a_capability),
        cmocka_unit_test(wrong_names_and_passwords_are_alike),
        cmocka_unit_test(passwords_come_and_go),
        cmocka_unit_test(a_changed_password_lets_nobody_in_from_the_cache),
        cmocka_unit_test(scram_takes_any_password_of_the_account),
        cmocka_unit_test(what_changes_during_a_login_counts),
        cmocka_unit_test(nobody_has_one_salt_by_all_his_names),
        cmocka_unit_test(guessing_is_held_up_and_others_are_not),
        cmocka_unit_test(an_exchange_can_be_given_up_at_any_time),
        cmocka_unit_test(exchanges_without_end_keep_nobody_out),
        cmocka_unit_test(edges_that_die_in_the_middle_of_a_login_leave_nothing),
        cmocka_unit_test(an_edge_gets_ticket_keys_and_metrics),
        cmocka_unit_test(ticket_keys_make_way_for_new_ones),
        cmocka_unit_test(it_signs_on_the_signing_channel),
        cmocka_unit_test(a_courier_logs_in_by_the_password_of_a_route),
        cmocka_unit_test(a_password_leaves_only_where_it_may),
        cmocka_unit_test(a_bad_password_file_takes_the_place_of_a_good_one),
        cmocka_unit_test(a_password_is_forgotten_with_its_route),
        cmocka_unit_test(all_of_it_works_inside_the_sandbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
