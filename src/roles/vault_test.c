/* The vault as a role, with a warden and edges that are this test. */
#include "roles/vault.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/testing.h"
#include "io/socket.h"
#include "roles/link.h"
#include "store/body.h"

struct world {
    char folder[64];
    struct loop *loop;
    struct log log;
    struct role *vault;
    struct link *warden;
    int ready, gone, unanswered;
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

static struct link *connect_to(struct world *w, int fd, enum ipc_role self)
{
    return link_open(&(struct link_setup){.loop = w->loop,
                                          .fd = fd,
                                          .self = self,
                                          .peer = ROLE_VAULT,
                                          .handlers = &handlers,
                                          .context = w,
                                          .owner = w,
                                          .ended = on_ended});
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    char text[256], path[96];
    int fds[2];
    /* Where a sync costs nothing: each death has a commit of its own. */
    snprintf(w->folder, sizeof w->folder, "%s/postern-vault-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(w->folder));
    snprintf(path, sizeof path, "%s/store", w->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    w->loop = loop_new();
    log_init(&w->log, open("/dev/null", O_WRONLY | O_CLOEXEC), ROLE_VAULT);
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->vault = role_new(&vault_plan, 0, w->loop, fds[0], &w->log);
    assert_non_null(w->vault);
    w->warden = connect_to(w, fds[1], ROLE_WARDEN);
    snprintf(text, sizeof text,
             "hostname mail.a.test\ndata %s\nlisten mx 127.0.0.1:25 {\n    tls no\n}\n", w->folder);
    ipc_config_note(link_channel(w->warden), &(struct ipc_config_in){.text = str_from_c(text)});
    while (w->ready == 0)
        loop_turn(w->loop, true);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"/postern.db", "/postern.db-wal", "/postern.db-shm",
                                        "/lock", ""};
    struct world *w = *state;
    char path[96];
    role_free(w->vault);
    link_close(w->warden);
    loop_free(w->loop);
    close(w->log.fd);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/store%s", w->folder, names[i]);
        assert_int_equal(remove(path) != 0 && i > 2, 0);
    }
    assert_int_equal(rmdir(w->folder), 0);
    free(w);
    return 0;
}

static void on_chunk(void *context, enum status_code status, const struct ipc_body_chunk_out *out)
{
    (void)out;
    ((struct world *)context)->unanswered += status == STATUS_GONE;
}

static void on_accept(void *context, enum status_code status, const struct ipc_accept_out *out)
{
    (void)out;
    ((struct world *)context)->unanswered += status == STATUS_GONE;
}

static struct link *introduce(struct world *w)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    ipc_peer_note(link_channel(w->warden), &(struct ipc_peer_in){.role = ROLE_EDGE, .fd = fds[0]});
    return connect_to(w, fds[1], ROLE_EDGE);
}

/* What needs a commit before it is answered. */
static void ask(struct world *w, struct link *edge)
{
    const struct ipc_chunk chunk = {
        .codec = CHUNK_PLAIN,
        .plain_size = LIMIT_CHUNK_SIZE,
        .hash = STR("0123456789abcdef0123456789abcdef"),
        .data = STR("x"),
    };
    struct channel *ch = link_channel(edge);
    assert_int_not_equal(
        ipc_body_chunk_call(
            ch, &(struct ipc_body_chunk_in){.body = 1, .chunks = &chunk, .chunks_count = 1},
            on_chunk, w),
        0);
    assert_int_not_equal(ipc_accept_call(ch, &(struct ipc_accept_in){0}, on_accept, w), 0);
}

/*
 * In one turn the edge asks and the next takes its place: what it asked is answered to nobody, but
 * where the vault had to commit at once.
 */
static void let_die(struct world *w, int deaths)
{
    struct link *edge = introduce(w);
    for (int i = 0; i < deaths; i++) {
        ask(w, edge);
        struct link *next = introduce(w);
        w->gone = 0;
        while (w->gone == 0)
            loop_turn(w->loop, true);
        link_close(edge);
        edge = next;
    }
    link_close(edge);
    unsigned index = 0;
    while (role_next_peer(w->vault, ROLE_EDGE, &index)) {
        loop_turn(w->loop, true);
        index = 0;
    }
}

static void peers_that_die_with_requests_open_leave_nothing(void **state)
{
    struct world *w = *state;
    let_die(w, 100);
    size_t before = mallinfo2().uordblks;
    let_die(w, 10000);
    size_t after = mallinfo2().uordblks;
    assert_true(w->unanswered > 10000);
    assert_true(after < before + 64 * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(peers_that_die_with_requests_open_leave_nothing, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
