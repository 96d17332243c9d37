/* The courier and a name server of ours, in one loop, over loopback. */
#include "roles/courier.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/testing.h"
#include "codec/dns_answer.h"
#include "io/socket.h"
#include "roles/link.h"

struct world {
    struct loop *loop;
    struct now clock;
    struct log log;
    struct role *courier;
    struct link *warden, *edge, *vault, *operator;
    int name_server;
    struct watch asked;
    bool silent, was_asked;
    int ready, replies;
    enum status_code status;
    char name[300];
    /* The vault: what it is to say to the next lease, and what it was told. */
    enum status_code lease_status;
    int resumes, leases;
    /* What explain has said of "no answer". */
    char unanswered[300];
};

/* What the name server knows: the question's first label, and the record it gives. */
static const struct {
    const char *label;
    enum dns_type type;
    struct str data;
} zone[] = {
    /* 1.2.0.192.in-addr.arpa: a name that leads elsewhere, and one that leads back */
    {"1", DNS_PTR, STR("\5wrong\4test\0")},
    {"1", DNS_PTR, STR("\4mail\4test\0")},
    {"wrong", DNS_A, STR("\xc0\0\2\2")},
    {"mail", DNS_A, STR("\xc0\0\2\1")},
    /* 2.2.0.192.in-addr.arpa: only the name that leads elsewhere */
    {"2", DNS_PTR, STR("\4mail\4test\0")},
    /* 3.2.0.192.in-addr.arpa: no host name at all */
    {"3", DNS_PTR, STR("\7a b\r\ncd\4test\0")},
};

static void put_u16(struct buf *out, unsigned value)
{
    buf_append_byte(out, (char)(value >> 8));
    buf_append_byte(out, (char)value);
}

/* Answers with every record of the zone that fits. */
static void answer(struct str query, struct buf *out)
{
    size_t at = 12;
    struct str label = str_sub(query, at + 1, (unsigned char)query.ptr[at]);
    while (query.ptr[at])
        at += 1 + (size_t)(unsigned char)query.ptr[at];
    unsigned type = (unsigned char)query.ptr[at + 2];
    unsigned count = 0;
    struct buf records;
    buf_init(&records, 1000);
    for (size_t i = 0; i < sizeof zone / sizeof *zone; i++) {
        if (zone[i].type != type || !str_eq_nocase(label, str_from_c(zone[i].label)))
            continue;
        count++;
        buf_append_str(&records, STR("\xc0\x0c"));
        put_u16(&records, type);
        buf_append_str(&records, STR("\0\1\0\0\0\x3c"));
        put_u16(&records, (unsigned)zone[i].data.len);
        buf_append_str(&records, zone[i].data);
    }
    buf_append(out, query.ptr, 2);
    buf_append_str(out, STR("\x85\x80\0\1"));
    put_u16(out, count);
    buf_append_str(out, STR("\0\0\0\0"));
    buf_append(out, query.ptr + 12, at + 5 - 12);
    buf_append_str(out, buf_str(&records));
    buf_release(&records);
}

static void on_asked(void *context, unsigned what)
{
    struct world *w = context;
    struct socket_address from = {.len = sizeof from.storage};
    char query[1500];
    struct buf out;
    (void)what;
    ssize_t n = recvfrom(w->name_server, query, sizeof query, 0, &from.any, &from.len);
    assert_true(n > 12);
    w->was_asked = true;
    if (w->silent)
        return;
    buf_init(&out, 1500);
    answer(str_make(query, (size_t)n), &out);
    assert_int_equal(sendto(w->name_server, out.ptr, out.len, 0, &from.any, from.len), out.len);
    buf_release(&out);
}

static uint16_t start_name_server(struct world *w)
{
    struct socket_address a;
    assert_true(socket_address_parse(STR("127.0.0.1"), 0, &a));
    w->name_server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->name_server, &a.any, a.len), 0);
    assert_true(socket_local_address(w->name_server, &a));
    watch_init(&w->asked, w->loop, w->name_server, on_asked, w);
    watch_set(&w->asked, WATCH_READ);
    return socket_address_port(&a);
}

static void on_ready(void *context, struct channel *from)
{
    (void)from;
    ((struct world *)context)->ready++;
}

static void on_ended(void *owner, enum status_code why, const char *words)
{
    (void)owner;
    (void)why;
    (void)words;
}

static const struct ipc_handlers warden_handlers = {.ready = on_ready};
static const struct ipc_handlers edge_handlers;

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

static void open_link_to_operator(struct world *w)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->operator= open_link(w, fds[1], ROLE_OPERATOR, &edge_handlers);
    ipc_peer_note(link_channel(w->warden),
                  &(struct ipc_peer_in){.role = ROLE_OPERATOR, .fd = fds[0]});
}

static void fill_world(struct world *w)
{
    char text[1000];
    int fds[2];
    log_init(&w->log, open("/dev/null", O_WRONLY | O_CLOEXEC), ROLE_COURIER);
    snprintf(text, sizeof text,
             "hostname mail.test\ndata /nonexistent\nlisten mx 127.0.0.1:25 {\n tls no\n}\n"
             "resolver {\n forward 127.0.0.1:%u\n nodefault test 2.0.192.in-addr.arpa\n}\n",
             start_name_server(w));
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->courier = role_new(&courier_plan, 0, w->loop, fds[0], &w->log);
    w->warden = open_link(w, fds[1], ROLE_WARDEN, &warden_handlers);
    ipc_config_note(link_channel(w->warden), &(struct ipc_config_in){.text = str_from_c(text)});
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->edge = open_link(w, fds[1], ROLE_EDGE, &edge_handlers);
    ipc_peer_note(link_channel(w->warden), &(struct ipc_peer_in){.role = ROLE_EDGE, .fd = fds[0]});
    while (w->ready == 0)
        loop_turn(w->loop, true);
}

static void open_world(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->loop = loop_new();
    fill_world(w);
}

/* Where the time stands still. */
static void open_world_with_clock(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->loop = loop_new();
    w->clock = (struct now){.wall_ms = 1, .mono_ms = 1};
    loop_use_clock(w->loop, &w->clock);
    fill_world(w);
}

static void close_world(struct world *w)
{
    role_free(w->courier);
    link_close(w->edge);
    if (w->vault)
        link_close(w->vault);
    link_close(w->operator);
    link_close(w->warden);
    watch_set(&w->asked, 0);
    close(w->name_server);
    loop_free(w->loop);
    close(w->log.fd);
}

/* ---- A vault ------------------------------------------------------------------------------- */

static void on_resume(void *context, struct channel *from, uint32_t id,
                      const struct ipc_resume_in *in)
{
    struct world *w = context;
    (void)in;
    w->resumes++;
    ipc_resume_reply(from, id, &(struct ipc_resume_out){.status = STATUS_OK});
}

static void on_lease(void *context, struct channel *from, uint32_t id,
                     const struct ipc_lease_in *in)
{
    struct world *w = context;
    (void)in;
    w->leases++;
    ipc_lease_reply(from, id,
                    &(struct ipc_lease_out){.status = w->lease_status, .wait_ms = INT64_MAX});
    w->lease_status = STATUS_OK;
}

static const struct ipc_handlers vault_handlers = {.resume = on_resume, .lease = on_lease};

static void open_vault(struct world *w)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->vault = open_link(w, fds[1], ROLE_VAULT, &vault_handlers);
    ipc_peer_note(link_channel(w->warden), &(struct ipc_peer_in){.role = ROLE_VAULT, .fd = fds[0]});
}

/* A vault that could not lease has forgotten the courier, and grants it nothing until it resumes.
 */
static void a_courier_that_got_no_lease_says_again_what_it_holds(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    w.lease_status = STATUS_NO_MEMORY;
    open_vault(&w);
    while (w.leases == 0)
        loop_turn(w.loop, true);
    assert_int_equal(w.resumes, 1);
    while (w.leases == 1)
        loop_turn(w.loop, true);
    assert_int_equal(w.resumes, 2);
    close_world(&w);
}

static void replied(void *context, enum status_code status, const struct ipc_reverse_name_out *out)
{
    struct world *w = context;
    w->replies++;
    w->status = status == STATUS_OK ? out->status : status;
    w->name[0] = 0;
    if (out)
        str_to_c(text_peek(out->name), w->name, sizeof w->name);
}

static void ask(struct world *w, struct str address)
{
    int before = w->replies;
    assert_true(ipc_reverse_name_call(link_channel(w->edge), &(struct ipc_reverse_name_in){address},
                                      replied, w) != 0);
    while (w->replies == before)
        loop_turn(w->loop, true);
}

static void a_name_counts_only_where_it_leads_back(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    ask(&w, STR("\xc0\0\2\1"));
    assert_int_equal(w.status, STATUS_OK);
    assert_string_equal(w.name, "mail.test");
    ask(&w, STR("\xc0\0\2\2"));
    assert_int_equal(w.status, STATUS_OK);
    assert_string_equal(w.name, "");
    ask(&w, STR("\xc0\0\2\3"));
    assert_string_equal(w.name, "");
    ask(&w, STR("\xc0\0\2\4"));
    assert_int_equal(w.status, STATUS_OK);
    assert_string_equal(w.name, "");
    ask(&w, STR("12"));
    assert_int_equal(w.status, STATUS_INVALID);
    close_world(&w);
}

static void who_still_waits_at_the_end_is_told(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    w.silent = true;
    for (int i = 0; i < 3; i++)
        assert_true(ipc_reverse_name_call(link_channel(w.edge),
                                          &(struct ipc_reverse_name_in){STR("\xc0\0\2\1")}, replied,
                                          &w) != 0);
    for (int i = 0; i < 3; i++)
        loop_turn(w.loop, true);
    role_free(w.courier);
    w.courier = NULL;
    while (w.replies < 3)
        loop_turn(w.loop, true);
    assert_int_equal(w.status, STATUS_GONE);
    close_world(&w);
}

static void explained(void *context, enum status_code status, const struct ipc_explain_out *out)
{
    struct world *w = context;
    w->replies++;
    w->status = status == STATUS_OK ? out->status : status;
    for (size_t i = 0; out && i < out->lines_count; i++)
        if (str_eq(out->lines[i].topic, STR("no answer")))
            str_to_c(text_peek(out->lines[i].words), w->unanswered, sizeof w->unanswered);
}

static void who_asks_for_an_explanation_does_not_wait_for_dead_name_servers(void **state)
{
    (void)state;
    struct world w;
    const struct ipc_explain_in question = {.address = text_from(STR("bob@dead.test"))};
    open_world_with_clock(&w);
    open_link_to_operator(&w);
    w.silent = true;
    assert_true(ipc_explain_call(link_channel(w.operator), &question, explained, &w) != 0);
    while (!w.was_asked)
        loop_turn(w.loop, true);
    assert_int_equal(w.replies, 0);
    w.clock.mono_ms += LIMIT_EXPLAIN_MS;
    while (w.replies == 0)
        loop_turn(w.loop, true);
    assert_int_equal(w.status, STATUS_OK);
    assert_string_equal(w.unanswered, "within 10 s: MX of dead.test");
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_counts_only_where_it_leads_back),
        cmocka_unit_test(who_asks_for_an_explanation_does_not_wait_for_dead_name_servers),
        cmocka_unit_test(who_still_waits_at_the_end_is_told),
        cmocka_unit_test(a_courier_that_got_no_lease_says_again_what_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
