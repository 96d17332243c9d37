/*
 * Two roles and their warden in one process and one loop: the frame of a role, and the links
 * between roles.
 */
#include "roles/role.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/testing.h"
#include "io/socket.h"
#include "roles/link.h"

static const struct str config_text = STR("hostname mail.example.org\ndata /var/lib/postern\n"
                                          "listen mx 127.0.0.1:25 {\n    tls no\n}\n");

/* A role that notes what happens to it. */
struct player {
    struct role *role;
    char events[100];
    uint32_t listener;
};

static void note(struct player *p, char letter)
{
    p->events[strlen(p->events)] = letter;
}

static void *create(struct role *role)
{
    struct player *p = calloc(1, sizeof *p);
    p->role = role;
    return p;
}

static void destroy(void *state)
{
    free(state);
}

static enum status_code prepare(void *state, const struct ipc_config_in *config, struct diag *diag)
{
    (void)diag;
    assert_true(str_eq(config->text, config_text));
    note(state, 'p');
    return STATUS_OK;
}

static void reconfigure(void *state, const struct ipc_config_in *config)
{
    (void)config;
    note(state, 'c');
}

static void listener(void *state, uint32_t number, int fd)
{
    struct player *p = state;
    p->listener = number;
    close(fd);
    note(p, 'l');
}

static void peer_up(void *state, enum ipc_role peer, uint8_t index, struct channel *ch)
{
    struct player *p = state;
    note(p, 'u');
    assert_ptr_equal(role_peer(p->role, peer, index), ch);
    unsigned at = 0;
    assert_ptr_equal(role_next_peer(p->role, peer, &at), ch);
    assert_null(role_next_peer(p->role, peer, &at));
}

static void peer_down(void *state, enum ipc_role peer, uint8_t index)
{
    struct player *p = state;
    note(p, 'd');
    assert_null(role_peer(p->role, peer, index));
}

static void stop(void *state, bool now)
{
    struct player *p = state;
    note(p, now ? 'S' : 's');
    role_end(p->role);
}

static void on_metrics(void *context, struct channel *from, uint32_t id)
{
    struct player *p = context;
    metric_add(
        metrics_get(role_metrics(p->role), METRIC_COUNTER, "postern_vault_x", "X.", NULL, NULL), 1);
    role_reply_metrics(p->role, from, id);
}

static void on_body_abort(void *context, struct channel *from, const struct ipc_body_abort_in *in)
{
    (void)from;
    note(context, (char)('0' + in->body));
}

static const struct ipc_handlers edge_handlers;
static const struct ipc_handlers vault_handlers = {.metrics = on_metrics,
                                                   .body_abort = on_body_abort};

#define PLAN(who, its_handlers)                                                                    \
    {                                                                                              \
        .self = (who), .handlers = (its_handlers), .create = create, .destroy = destroy,           \
        .prepare = prepare, .reconfigure = reconfigure, .listener = listener, .peer_up = peer_up,  \
        .peer_down = peer_down, .stop = stop                                                       \
    }

static const struct role_plan edge_plan = PLAN(ROLE_EDGE, &edge_handlers);
static const struct role_plan vault_plan = PLAN(ROLE_VAULT, &vault_handlers);

/* The warden's end of a role. */
struct child {
    struct role *role;
    struct player *player;
    struct link *link;
    int readies, ends, complaints;
};

struct world {
    struct loop *loop;
    struct log log;
    struct child edge, vault;
};

static void on_ready(void *context, struct channel *from)
{
    (void)from;
    ((struct child *)context)->readies++;
}

static void on_ended(void *owner, enum status_code why, const char *words)
{
    (void)why;
    (void)words;
    ((struct child *)owner)->ends++;
}

static void on_peer_broken(void *context, struct channel *from, const struct ipc_peer_broken_in *in)
{
    struct child *c = context;
    (void)from;
    c->complaints++;
    assert_int_equal(in->role, ROLE_COURIER);
    assert_int_equal(in->index, 1);
}

static const struct ipc_handlers warden_handlers = {.ready = on_ready,
                                                    .peer_broken = on_peer_broken};

static void start(struct world *w, struct child *c, const struct role_plan *plan)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    c->role = role_new(plan, 0, w->loop, fds[0], &w->log);
    assert_non_null(c->role);
    c->player = role_state(c->role);
    c->link = link_open(&(struct link_setup){.loop = w->loop,
                                             .fd = fds[1],
                                             .self = ROLE_WARDEN,
                                             .peer = plan->self,
                                             .handlers = &warden_handlers,
                                             .context = c,
                                             .owner = c,
                                             .ended = on_ended});
    ipc_config_note(link_channel(c->link), &(struct ipc_config_in){.text = config_text});
    while (c->readies == 0)
        loop_turn(w->loop, true);
}

static void introduce(struct world *w)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    ipc_peer_note(link_channel(w->edge.link),
                  &(struct ipc_peer_in){.role = ROLE_VAULT, .fd = fds[0]});
    ipc_peer_note(link_channel(w->vault.link),
                  &(struct ipc_peer_in){.role = ROLE_EDGE, .fd = fds[1]});
}

static void turn_until(struct world *w, const struct player *p, const char *events)
{
    while (strcmp(p->events, events) != 0)
        loop_turn(w->loop, true);
}

static void open_world(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->loop = loop_new();
    log_init(&w->log, open("/dev/null", O_WRONLY | O_CLOEXEC), ROLE_WARDEN);
    start(w, &w->vault, &vault_plan);
    start(w, &w->edge, &edge_plan);
    introduce(w);
    turn_until(w, w->edge.player, "pu");
    turn_until(w, w->vault.player, "pu");
}

static void end_child(struct child *c)
{
    role_free(c->role);
    link_close(c->link);
    *c = (struct child){0};
}

static void close_world(struct world *w)
{
    end_child(&w->edge);
    end_child(&w->vault);
    loop_free(w->loop);
    close(w->log.fd);
}

static void metrics_came(void *context, enum status_code status, const struct ipc_metrics_out *out)
{
    assert_int_equal(status, STATUS_OK);
    assert_true(str_find(out->text, STR("postern_vault_x_total 1\n")) >= 0);
    ++*(int *)context;
}

static void a_role_gets_its_configuration_its_peers_and_its_listeners(void **state)
{
    (void)state;
    struct world w;
    int fds[2], replies = 0;
    open_world(&w);
    assert_int_equal(pipe(fds), 0);
    close(fds[1]);
    ipc_listener_note(link_channel(w.edge.link), &(struct ipc_listener_in){4, fds[0]});
    turn_until(&w, w.edge.player, "pul");
    assert_int_equal(w.edge.player->listener, 4);
    ipc_metrics_call(role_peer(w.edge.role, ROLE_VAULT, 0), metrics_came, &replies);
    while (replies == 0)
        loop_turn(w.loop, true);
    ipc_config_note(link_channel(w.edge.link), &(struct ipc_config_in){.text = config_text});
    turn_until(&w, w.edge.player, "pulc");
    ipc_stop_note(link_channel(w.edge.link), &(struct ipc_stop_in){false});
    turn_until(&w, w.edge.player, "pulcs");
    close_world(&w);
}

static void a_peer_that_goes_is_told_and_comes_back(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    end_child(&w.vault);
    turn_until(&w, w.edge.player, "pud");
    assert_null(role_peer(w.edge.role, ROLE_VAULT, 0));
    start(&w, &w.vault, &vault_plan);
    introduce(&w);
    turn_until(&w, w.edge.player, "pudu");
    introduce(&w);
    turn_until(&w, w.edge.player, "pududu");
    close_world(&w);
}

static void a_role_that_has_ended_takes_no_peers(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    role_cut_off(w.vault.role);
    role_end(w.vault.role);
    turn_until(&w, w.edge.player, "pud");
    introduce(&w);
    turn_until(&w, w.edge.player, "pudud");
    assert_string_equal(w.vault.player->events, "pud");
    close_world(&w);
}

static void a_turn_full_of_frames_arrives_in_order(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    for (uint64_t i = 1; i <= 9; i++)
        assert_true(ipc_body_abort_note(role_peer(w.edge.role, ROLE_VAULT, 0),
                                        &(struct ipc_body_abort_in){i}));
    turn_until(&w, w.vault.player, "pu123456789");
    close_world(&w);
}

static void a_role_that_breaks_the_rules_loses_the_channel_and_the_receiver_goes_on(void **state)
{
    (void)state;
    struct world w;
    int fds[2];
    open_world(&w);
    assert_int_equal(socket_pair(fds), STATUS_OK);
    ipc_peer_note(link_channel(w.vault.link),
                  &(struct ipc_peer_in){.role = ROLE_COURIER, .index = 1, .fd = fds[0]});
    turn_until(&w, w.vault.player, "puu");
    assert_int_equal(write(fds[1], "\x09\0\0\0\1\6\0\0\0\0\0\0\0", 13), 13); /* "stop" */
    turn_until(&w, w.vault.player, "puud");
    char byte;
    assert_int_equal(read(fds[1], &byte, 1), 0);
    close(fds[1]);
    while (w.vault.complaints == 0)
        loop_turn(w.loop, true);
    assert_non_null(role_peer(w.vault.role, ROLE_EDGE, 0));
    close_world(&w);
}

static void sign_replied(void *context, enum status_code status, const struct ipc_sign_out *out)
{
    (void)out;
    assert_int_equal(status, STATUS_GONE);
    *(bool *)context = true;
}

static void a_caller_that_waits_gets_its_answer_or_the_end_of_its_patience(void **state)
{
    (void)state;
    int fds[2];
    bool done = false;
    struct child unused = {0};
    assert_int_equal(socket_pair(fds), STATUS_OK);
    struct link *link = link_open(&(struct link_setup){.fd = fds[0],
                                                       .self = ROLE_EDGE,
                                                       .peer = ROLE_KEEPER,
                                                       .handlers = &edge_handlers,
                                                       .owner = &unused,
                                                       .ended = on_ended});
    ipc_sign_call(link_channel(link), &(struct ipc_sign_in){.key = STR("id")}, sign_replied, &done);
    assert_false(link_wait(link, &done, 0));
    assert_false(done);
    close(fds[1]);
    assert_true(link_wait(link, &done, -1));
    assert_true(done);
    link_close(link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_role_gets_its_configuration_its_peers_and_its_listeners),
        cmocka_unit_test(a_peer_that_goes_is_told_and_comes_back),
        cmocka_unit_test(a_role_that_has_ended_takes_no_peers),
        cmocka_unit_test(a_turn_full_of_frames_arrives_in_order),
        cmocka_unit_test(a_role_that_breaks_the_rules_loses_the_channel_and_the_receiver_goes_on),
        cmocka_unit_test(a_caller_that_waits_gets_its_answer_or_the_end_of_its_patience),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
