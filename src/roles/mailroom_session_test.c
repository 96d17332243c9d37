/* Sessions and their capabilities: a mailroom and a vault, with all others this test. */
#include "roles/mailroom_session.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/testing.h"
#include "io/socket.h"
#include "roles/keeper_capability.h"
#include "roles/link.h"
#include "roles/vault.h"

enum { TURNS_MAX = 1000, MINUTE_MS = 60 * 1000, PASSWORD = 5, OTHER_PASSWORD = 6 };

struct world {
    char folder[64];
    char config[512];
    struct loop *loop;
    struct now clock;
    struct log log;
    struct role *vault, *mailroom;
    struct link *vault_warden, *mailroom_warden, *edge, *keeper, *operator;
    int ready, gone;
    uint64_t account;
    enum status_code status;
    struct capability_key key;
};

static void on_ready(void *context, struct channel *from)
{
    (void)from;
    ((struct world *)context)->ready++;
}

static void on_ended(void *owner, enum status_code why, const char *words)
{
    (void)why;
    (void)words;
    ((struct world *)owner)->gone++;
}

static const struct ipc_handlers handlers = {.ready = on_ready};

static struct link *connect_to(struct world *w, int fd, enum ipc_role self, enum ipc_role peer)
{
    return link_open(&(struct link_setup){.loop = w->loop,
                                          .fd = fd,
                                          .self = self,
                                          .peer = peer,
                                          .handlers = &handlers,
                                          .context = w,
                                          .owner = w,
                                          .ended = on_ended});
}

static void turn(struct world *w)
{
    for (int left = TURNS_MAX; loop_turn(w->loop, false); left--)
        assert_int_not_equal(left, 0);
}

static struct role *start(struct world *w, const struct role_plan *plan, struct link **ret_warden)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    struct role *role = role_new(plan, 0, w->loop, fds[0], &w->log);
    assert_non_null(role);
    *ret_warden = connect_to(w, fds[1], ROLE_WARDEN, plan->self);
    int before = w->ready;
    ipc_config_note(link_channel(*ret_warden),
                    &(struct ipc_config_in){.text = str_from_c(w->config)});
    turn(w);
    assert_int_equal(w->ready, before + 1);
    return role;
}

/* A channel to the role for somebody that is the test. */
static struct link *introduce(struct world *w, struct link *warden, enum ipc_role self,
                              enum ipc_role peer)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    ipc_peer_note(link_channel(warden), &(struct ipc_peer_in){.role = self, .fd = fds[0]});
    return connect_to(w, fds[1], self, peer);
}

static void tell_key(struct world *w)
{
    ipc_capability_key_note(
        link_channel(w->keeper),
        &(struct ipc_capability_key_in){.key = str_make(w->key.octets, CAPABILITY_KEY_SIZE)});
    turn(w);
}

static void start_vault(struct world *w)
{
    int fds[2];
    w->vault = start(w, &vault_plan, &w->vault_warden);
    w->keeper = introduce(w, w->vault_warden, ROLE_KEEPER, ROLE_VAULT);
    w->operator= introduce(w, w->vault_warden, ROLE_OPERATOR, ROLE_VAULT);
    assert_int_equal(socket_pair(fds), STATUS_OK);
    ipc_peer_note(link_channel(w->vault_warden),
                  &(struct ipc_peer_in){.role = ROLE_MAILROOM, .fd = fds[0]});
    if (!w->mailroom)
        w->mailroom = start(w, &mailroom_plan, &w->mailroom_warden);
    ipc_peer_note(link_channel(w->mailroom_warden),
                  &(struct ipc_peer_in){.role = ROLE_VAULT, .fd = fds[1]});
    turn(w);
}

static void stop_vault(struct world *w)
{
    role_free(w->vault);
    link_close(w->vault_warden);
    link_close(w->keeper);
    link_close(w->operator);
    turn(w);
}

static void on_added(void *context, enum status_code status, const struct ipc_account_add_out *out)
{
    struct world *w = context;
    assert_int_equal(status, STATUS_OK);
    assert_int_equal(out->status, STATUS_OK);
    w->account = out->account;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    char path[96];
    snprintf(w->folder, sizeof w->folder, "%s/postern-session-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(w->folder));
    snprintf(path, sizeof path, "%s/store", w->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(w->config, sizeof w->config,
             "hostname mail.a.test\ndata %s\nlisten mx 127.0.0.1:25 {\n    tls no\n}\n", w->folder);
    w->loop = loop_new();
    w->clock = (struct now){.mono_ms = 1000, .wall_ms = 1700000000000};
    loop_use_clock(w->loop, &w->clock);
    log_init(&w->log, open("/dev/null", O_WRONLY | O_CLOEXEC), ROLE_MAILROOM);
    start_vault(w);
    w->edge = introduce(w, w->mailroom_warden, ROLE_EDGE, ROLE_MAILROOM);
    ipc_account_add_call(link_channel(w->operator),
                         &(struct ipc_account_add_in){.at_ms = 1, .name = STR("alice")}, on_added,
                         w);
    turn(w);
    assert_int_not_equal(w->account, 0);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"/postern.db", "/postern.db-wal", "/postern.db-shm",
                                        "/lock", ""};
    struct world *w = *state;
    char path[96];
    link_close(w->edge);
    role_free(w->mailroom);
    link_close(w->mailroom_warden);
    stop_vault(w);
    loop_free(w->loop);
    close(w->log.fd);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/store%s", w->folder, names[i]);
        remove(path);
    }
    assert_int_equal(rmdir(w->folder), 0);
    free(w);
    return 0;
}

static void on_handover(void *context, enum status_code status, const struct ipc_handover_out *out)
{
    struct world *w = context;
    w->status = status == STATUS_OK ? out->status : status;
}

/* The client's end of a session of the account; w->status says whether it was taken. */
static int hand_over(struct world *w, uint64_t account, uint64_t credential, uint8_t protocol)
{
    uint8_t octets[CAPABILITY_SIZE];
    int fds[2];
    const struct capability c = {.account = w->account,
                                 .credential = credential,
                                 .rights = CAPABILITY_CHANGE_MAIL,
                                 .issued_ms = w->clock.mono_ms,
                                 .expires_ms = w->clock.mono_ms + CAPABILITY_LIFE_MS};
    assert_true(capability_mint(&c, &w->key, octets));
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->status = STATUS_COUNT;
    ipc_handover_call(link_channel(w->edge),
                      &(struct ipc_handover_in){.protocol = protocol,
                                                .account = account,
                                                .login = STR("alice"),
                                                .capability = str_make(octets, sizeof octets),
                                                .trace_id = STR("t1"),
                                                .fd = fds[1]},
                      on_handover, w);
    turn(w);
    return fds[0];
}

static int open_session(struct world *w, uint64_t credential)
{
    int client = hand_over(w, w->account, credential, LISTEN_IMAP);
    assert_int_equal(w->status, STATUS_OK);
    return client;
}

/* What the session says to this; "" where it is closed. */
static const char *said(struct world *w, int client, const char *line)
{
    static char heard[4096];
    size_t size = 0;
    if (line[0])
        assert_int_equal(send(client, line, strlen(line), MSG_NOSIGNAL), strlen(line));
    turn(w);
    ssize_t got = recv(client, heard, sizeof heard - 1, MSG_DONTWAIT);
    size = got > 0 ? (size_t)got : 0;
    heard[size] = 0;
    return heard;
}

static bool is_closed(int client)
{
    char octet;
    return recv(client, &octet, 1, MSG_DONTWAIT) == 0;
}

#define ASSERT_SAYS(w, client, line, words)                                                        \
    assert_true(str_find(str_from_c(said(w, client, line)), STR(words)) >= 0)

/* IMAP ends sessions that say nothing for half an hour, so this one talks now and then. */
static void live_on(struct world *w, int client, int64_t until_ms)
{
    while (w->clock.mono_ms < until_ms) {
        w->clock.mono_ms += 20 * MINUTE_MS;
        ASSERT_SAYS(w, client, "n NOOP\r\n", "n OK");
    }
}

static void a_session_outlives_its_capability_while_its_login_is_good(void **state)
{
    struct world *w = *state;
    tell_key(w);
    int client = open_session(w, PASSWORD);
    live_on(w, client, w->clock.mono_ms + 3 * CAPABILITY_LIFE_MS);
    ASSERT_SAYS(w, client, "a CREATE Later\r\n", "a OK");
    close(client);
}

static void a_renewal_does_not_outlive_the_password(void **state)
{
    struct world *w = *state;
    tell_key(w);
    int64_t began_ms = w->clock.mono_ms;
    int client = open_session(w, PASSWORD), other = open_session(w, OTHER_PASSWORD);
    for (int i = 0; i < 600; i++) {
        w->clock.mono_ms += 20 * MINUTE_MS;
        ASSERT_SAYS(w, client, "n NOOP\r\n", "n OK");
        ASSERT_SAYS(w, other, "n NOOP\r\n", "n OK");
    }
    /* The end came as late as it can, between a renewal and its reply. */
    const struct ipc_login_end end = {w->account, PASSWORD, began_ms};
    ipc_logins_ended_note(link_channel(w->keeper),
                          &(struct ipc_logins_ended_in){.ends = &end, .ends_count = 1});
    ASSERT_SAYS(w, client, "", "* BYE This login has ended");
    assert_true(is_closed(client));
    ASSERT_SAYS(w, other, "a CREATE Kept\r\n", "a OK");
    close(client);
    close(other);
}

static void a_session_that_nobody_renews_ends_with_a_word(void **state)
{
    struct world *w = *state;
    tell_key(w);
    int client = open_session(w, PASSWORD);
    int64_t over_ms = w->clock.mono_ms + CAPABILITY_LIFE_MS;
    stop_vault(w);
    live_on(w, client, over_ms - 20 * MINUTE_MS);
    w->clock.mono_ms = over_ms;
    ASSERT_SAYS(w, client, "", "* BYE Your login is too old");
    assert_true(is_closed(client));
    close(client);
    start_vault(w);
}

static void a_new_vault_ends_no_session_before_it_knows_better(void **state)
{
    struct world *w = *state;
    tell_key(w);
    int client = open_session(w, PASSWORD), other = open_session(w, OTHER_PASSWORD);
    stop_vault(w);
    start_vault(w);
    ASSERT_SAYS(w, client, "a NOOP\r\n", "a OK");
    close(hand_over(w, w->account, PASSWORD, LISTEN_IMAP));
    assert_int_equal(w->status, STATUS_GONE); /* not "denied": try again */
    const struct ipc_login_end end = {w->account, PASSWORD, w->clock.mono_ms};
    ipc_logins_ended_note(link_channel(w->keeper),
                          &(struct ipc_logins_ended_in){.ends = &end, .ends_count = 1});
    tell_key(w);
    ASSERT_SAYS(w, other, "b CREATE Kept\r\n", "b OK");
    /* It was asked in vain, and has heard of the end meanwhile. */
    ASSERT_SAYS(w, client, "", "* BYE This login has ended");
    close(client);
    close(other);
}

static void everybody_can_be_shown_out(void **state)
{
    struct world *w = *state;
    tell_key(w);
    int client = open_session(w, PASSWORD);
    const struct ipc_login_end end = {.issued_ms = w->clock.mono_ms};
    ipc_logins_ended_note(link_channel(w->keeper),
                          &(struct ipc_logins_ended_in){.ends = &end, .ends_count = 1});
    ASSERT_SAYS(w, client, "", "* BYE This login has ended");
    w->clock.mono_ms++;
    close(open_session(w, PASSWORD));
    close(client);
}

/* What an edge that was taken over could try. */
static void a_session_is_its_capabilitys_and_no_others(void **state)
{
    struct world *w = *state;
    tell_key(w);
    close(hand_over(w, w->account + 1, PASSWORD, LISTEN_IMAP));
    assert_int_equal(w->status, STATUS_DENIED);
    close(hand_over(w, w->account, PASSWORD, LISTEN_SUBMISSION)); /* no such session */
    assert_int_not_equal(w->status, STATUS_OK);
    w->key.octets[0] ^= 1;
    close(hand_over(w, w->account, PASSWORD, LISTEN_IMAP));
    assert_int_equal(w->status, STATUS_DENIED);
    w->key.octets[0] ^= 1;
    int old = open_session(w, PASSWORD);
    const struct ipc_login_end end = {w->account, 0, w->clock.mono_ms};
    ipc_logins_ended_note(link_channel(w->keeper),
                          &(struct ipc_logins_ended_in){.ends = &end, .ends_count = 1});
    turn(w);
    close(hand_over(w, w->account, PASSWORD, LISTEN_POP3)); /* kept from before: of no use now */
    assert_int_equal(w->status, STATUS_DENIED);
    close(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_session_outlives_its_capability_while_its_login_is_good,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_renewal_does_not_outlive_the_password, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_session_that_nobody_renews_ends_with_a_word, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_new_vault_ends_no_session_before_it_knows_better, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(everybody_can_be_shown_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_session_is_its_capabilitys_and_no_others, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
