#include "io/fetch.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/testing.h"
#include "io/stream.h"
#include "io/testing_tls.h"

/* An HTTPS server that gives one answer to everybody, and the fetcher, in one loop. */
struct world {
    struct loop *loop;
    struct tls_server *server;
    struct testing_certificate certificate;
    struct fetcher *fetcher;
    struct socket_address address;
    int listener;
    struct watch accepts;
    struct stream stream;
    bool open;
    struct buf response;
    size_t sent;
    int calls;
    enum status_code status;
    long code;
    char type[50];
    size_t body_len;
};

static void close_stream(struct world *w)
{
    if (w->open)
        stream_close(&w->stream);
    w->open = false;
}

static void on_stream(void *context)
{
    struct world *w = context;
    struct str bytes;
    size_t n;
    enum stream_result result;
    while ((result = stream_read(&w->stream, &bytes)) == STREAM_OK)
        continue;
    while (result == STREAM_BLOCKED && w->sent < w->response.len &&
           stream_write(&w->stream, str_skip(buf_str(&w->response), w->sent), &n) == STREAM_OK)
        w->sent += n;
    if (result != STREAM_BLOCKED)
        close_stream(w);
    else if (w->sent == w->response.len && !stream_handshaking(&w->stream))
        stream_finish(&w->stream);
}

static void on_accept(void *context, unsigned what)
{
    struct world *w = context;
    struct socket_address peer;
    int fd;
    (void)what;
    if (socket_accept(w->listener, &fd, &peer) != STATUS_OK)
        return;
    close_stream(w);
    w->open = true;
    w->sent = 0;
    stream_open(&w->stream, w->loop, fd, on_stream, w);
    assert_true(stream_start_tls(&w->stream, w->server));
}

static void open_world(struct world *w, const char *name)
{
    struct diag diag = {0};
    memset(w, 0, sizeof *w);
    w->loop = loop_new();
    testing_certificate_make(&w->certificate, name, NULL, 3600);
    w->server = tls_server_new();
    assert_int_equal(
        tls_server_add(w->server, buf_str(&w->certificate.pem), w->certificate.key, &diag),
        STATUS_OK);
    assert_true(socket_address_parse(STR("127.0.0.1"), 0, &w->address));
    assert_int_equal(socket_listen(&w->address, &w->listener, &diag), STATUS_OK);
    assert_true(socket_local_address(w->listener, &w->address));
    watch_init(&w->accepts, w->loop, w->listener, on_accept, w);
    watch_set(&w->accepts, WATCH_READ);
    buf_init(&w->response, 200000);
    w->fetcher = fetcher_new(w->loop, buf_str(&w->certificate.pem));
    assert_non_null(w->fetcher);
}

static void close_world(struct world *w)
{
    fetcher_free(w->fetcher);
    close_stream(w);
    watch_set(&w->accepts, 0);
    close(w->listener);
    buf_release(&w->response);
    tls_server_free(w->server);
    testing_certificate_release(&w->certificate);
    loop_free(w->loop);
}

static void on_done(void *context, const struct fetch_result *result)
{
    struct world *w = context;
    w->calls++;
    w->status = result->status;
    w->code = result->code;
    w->body_len = result->body.len;
    str_to_c(result->content_type, w->type, sizeof w->type);
    if (result->status != STATUS_OK)
        assert_true(result->words.len > 0);
}

static struct fetch *start(struct world *w)
{
    struct fetch_request request = {.host = STR("mta-sts.test"),
                                    .port = socket_address_port(&w->address),
                                    .path = STR("/.well-known/mta-sts.txt"),
                                    .addresses = &w->address,
                                    .address_count = 1};
    struct fetch *fetch = fetch_start(w->fetcher, &request, on_done, w);
    assert_non_null(fetch);
    return fetch;
}

static void get(struct world *w)
{
    w->calls = 0;
    start(w);
    while (w->calls == 0)
        loop_turn(w->loop, true);
}

static void a_file_is_fetched_with_its_type(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "mta-sts.test");
    buf_append_str(&w.response, STR("HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=utf-8\r\n"
                                    "Content-Length: 15\r\n\r\nversion: STSv1\n"));
    get(&w);
    assert_int_equal(w.status, STATUS_OK);
    assert_int_equal(w.code, 200);
    assert_string_equal(w.type, "text/plain");
    assert_int_equal(w.body_len, 15);
    close_world(&w);
}

static void redirects_are_not_followed(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "mta-sts.test");
    buf_append_str(&w.response, STR("HTTP/1.1 302 Found\r\nLocation: https://mta-sts.test/x\r\n"
                                    "Content-Length: 0\r\n\r\n"));
    get(&w);
    assert_int_equal(w.status, STATUS_OK);
    assert_int_equal(w.code, 302);
    close_world(&w);
}

static void a_certificate_of_another_name_is_refused(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "other.test");
    get(&w);
    assert_int_equal(w.status, STATUS_DENIED);
    close_world(&w);
}

static void too_much_is_refused_also_where_its_length_is_not_said(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "mta-sts.test");
    buf_append_str(&w.response, STR("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"));
    for (int i = 0; i <= LIMIT_FETCH_SIZE; i++)
        buf_append_byte(&w.response, 'x');
    get(&w);
    assert_int_equal(w.status, STATUS_TOO_BIG);
    close_world(&w);
}

static void header_fields_without_end_are_refused(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "mta-sts.test");
    buf_append_str(&w.response, STR("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"));
    for (int i = 0; w.response.len <= LIMIT_FETCH_SIZE; i++)
        buf_printf(&w.response, "X-%d: and another thing\r\n", i);
    buf_append_str(&w.response, STR("\r\nversion: STSv1\n"));
    get(&w);
    assert_int_equal(w.status, STATUS_TOO_BIG);
    close_world(&w);
}

static void what_is_cancelled_tells_nothing(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "mta-sts.test");
    fetch_cancel(start(&w));
    start(&w); /* and the fetcher's end cancels what is under way */
    loop_turn(w.loop, true);
    assert_int_equal(w.calls, 0);
    close_world(&w);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_fetched_with_its_type),
        cmocka_unit_test(redirects_are_not_followed),
        cmocka_unit_test(a_certificate_of_another_name_is_refused),
        cmocka_unit_test(too_much_is_refused_also_where_its_length_is_not_said),
        cmocka_unit_test(header_fields_without_end_are_refused),
        cmocka_unit_test(what_is_cancelled_tells_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
