#include "io/resolver.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/testing.h"
#include "io/socket.h"

/* A resolver and the only name server it knows, in one loop. */
struct world {
    struct loop *loop;
    struct resolver *resolver;
    int server;
    struct watch asked;
    struct resolver_question question;
    int queries, answers;
    struct resolver_answer answer;
    size_t packet_len;
};

enum { TYPE_A = 1, TYPE_MX = 15, HEAD_SIZE = 12, QUESTION_TAIL_SIZE = 5 };

/* What the question's first label asks for: "good" an address, "none", "fail", "silent". */
static void on_asked(void *context, unsigned what)
{
    struct world *w = context;
    struct socket_address from = {.len = sizeof from.storage};
    unsigned char query[1500];
    struct buf out;
    (void)what;
    ssize_t n = recvfrom(w->server, query, sizeof query, 0, &from.any, &from.len);
    assert_true(n > HEAD_SIZE);
    struct str label = str_make(query + HEAD_SIZE + 1, query[HEAD_SIZE]);
    if (str_eq(label, STR("silent")))
        return;
    w->queries++;
    size_t at = HEAD_SIZE;
    while (query[at])
        at += 1 + (size_t)query[at];
    bool good = str_eq(label, STR("good"));
    char rcode = good ? 0 : str_eq(label, STR("none")) ? 3 : 2;
    buf_init(&out, sizeof query);
    buf_append(&out, query, 2);
    buf_append(&out, (char[]){(char)0x85, (char)(0x80 | rcode), 0, 1, 0, good, 0, 0, 0, 0}, 10);
    buf_append(&out, query + HEAD_SIZE, at + QUESTION_TAIL_SIZE - HEAD_SIZE);
    if (good)
        buf_append_str(&out, STR("\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"));
    assert_int_equal(sendto(w->server, out.ptr, out.len, 0, &from.any, from.len), out.len);
    buf_release(&out);
}

static void on_answer(void *context, const struct resolver_answer *answer)
{
    struct world *w = context;
    w->answers++;
    w->answer = *answer;
    w->packet_len = answer->packet.len;
}

static void open_world(struct world *w)
{
    struct socket_address a;
    const struct str zone = STR("test");
    memset(w, 0, sizeof *w);
    w->loop = loop_new();
    assert_true(socket_address_parse(STR("127.0.0.1"), 0, &a));
    w->server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->server, &a.any, a.len), 0);
    assert_true(socket_local_address(w->server, &a));
    watch_init(&w->asked, w->loop, w->server, on_asked, w);
    watch_set(&w->asked, WATCH_READ);
    const struct resolver_server server = {STR("127.0.0.1"), socket_address_port(&a)};
    w->resolver = resolver_new(w->loop, &(struct resolver_settings){.forward = &server,
                                                                    .forward_count = 1,
                                                                    .nodefault = &zone,
                                                                    .nodefault_count = 1});
    assert_non_null(w->resolver);
    resolver_question_init(&w->question, on_answer, w);
}

static void close_world(struct world *w)
{
    resolver_free(w->resolver);
    watch_set(&w->asked, 0);
    close(w->server);
    loop_free(w->loop);
}

static void ask(struct world *w, struct str name, int64_t deadline_ms)
{
    int before = w->answers;
    resolver_ask(w->resolver, &w->question, name, TYPE_A, deadline_ms);
    assert_int_equal(w->answers, before);
    while (w->answers == before)
        loop_turn(w->loop, true);
    assert_false(resolver_is_asking(&w->question));
}

static void answers_come_later_and_from_the_cache_too(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    for (int i = 0; i < 2; i++) {
        ask(&w, STR("good.test"), NEVER_MS);
        assert_int_equal(w.answer.status, STATUS_OK);
        assert_int_equal(w.answer.rcode, 0);
        assert_false(w.answer.secure);
        assert_true(w.packet_len > 0);
    }
    assert_int_equal(w.queries, 1);
    close_world(&w);
}

static void no_such_name_is_an_answer_and_a_failure_is_none(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    ask(&w, STR("none.test"), NEVER_MS);
    assert_true(resolver_no_such_name(&w.answer));
    ask(&w, STR("fail.test"), NEVER_MS);
    assert_int_equal(w.answer.status, STATUS_IO);
    assert_int_equal(w.packet_len, 0);
    ask(&w, STR("a\0b"), NEVER_MS);
    assert_int_equal(w.answer.status, STATUS_INVALID);
    close_world(&w);
}

static void the_deadline_ends_a_question(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    ask(&w, STR("silent.test"), loop_now(w.loop).mono_ms + 20);
    assert_int_equal(w.answer.status, STATUS_TIMEOUT);
    close_world(&w);
}

static void what_is_cancelled_is_not_answered_and_the_rest_is_at_the_end(void **state)
{
    (void)state;
    struct world w;
    struct resolver_question other;
    open_world(&w);
    resolver_question_init(&other, on_answer, &w);
    resolver_ask(w.resolver, &w.question, STR("silent.test"), TYPE_A, NEVER_MS);
    resolver_ask(w.resolver, &other, STR("silent.test"), TYPE_A, NEVER_MS);
    resolver_cancel(&w.question);
    resolver_free(w.resolver);
    w.resolver = NULL;
    assert_int_equal(w.answers, 1);
    assert_int_equal(w.answer.status, STATUS_GONE);
    close_world(&w);
}

/* Keys of a zone of one's own make it validated: without signatures it is then bogus. */
static void an_anchor_of_a_private_zone_counts(void **state)
{
    (void)state;
    struct world w;
    const struct str zone = STR("test");
    const struct str anchor =
        STR("; a comment\n\ntest. IN DS 12345 13 2 "
            "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF\n");
    open_world(&w);
    resolver_free(w.resolver);
    struct socket_address a;
    assert_true(socket_local_address(w.server, &a));
    const struct resolver_server server = {STR("127.0.0.1"), socket_address_port(&a)};
    w.resolver = resolver_new(w.loop, &(struct resolver_settings){.forward = &server,
                                                                  .forward_count = 1,
                                                                  .nodefault = &zone,
                                                                  .nodefault_count = 1,
                                                                  .anchors = &anchor,
                                                                  .anchor_count = 1});
    assert_non_null(w.resolver);
    ask(&w, STR("good.test"), NEVER_MS);
    assert_int_not_equal(w.answer.status, STATUS_OK);
    assert_null(resolver_new(
        w.loop, &(struct resolver_settings){.anchors = &(struct str){"nonsense here", 13},
                                            .anchor_count = 1}));
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_later_and_from_the_cache_too),
        cmocka_unit_test(no_such_name_is_an_answer_and_a_failure_is_none),
        cmocka_unit_test(the_deadline_ends_a_question),
        cmocka_unit_test(what_is_cancelled_is_not_answered_and_the_rest_is_at_the_end),
        cmocka_unit_test(an_anchor_of_a_private_zone_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
