#include "io/fetch.h"

#include <stdlib.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/bug.h"
#include "base/limits.h"
#include "io/tls_client.h"

enum { URL_SIZE = 1024, TYPE_SIZE = 256 };

struct fetcher {
    struct loop *loop;
    CURLM *multi;
    struct buf authorities;
    struct timer timer;
    struct fetch *fetches;
    struct fetch_socket *sockets;
};

struct fetch {
    struct fetch *next, **at;
    struct fetcher *fetcher;
    CURL *easy;
    struct curl_slist *resolved;
    size_t head_size;
    struct buf body;
    char error[CURL_ERROR_SIZE];
    fetch_done *done;
    void *context;
};

/* A socket of libcurl's that it wants watched. */
struct fetch_socket {
    struct fetch_socket *next, **at;
    struct fetcher *fetcher;
    struct watch watch;
};

/* ---- Fetches ------------------------------------------------------------------------------- */

static void fetch_free(struct fetch *fetch)
{
    *fetch->at = fetch->next;
    if (fetch->next)
        fetch->next->at = fetch->at;
    if (fetch->easy) {
        curl_multi_remove_handle(fetch->fetcher->multi, fetch->easy);
        curl_easy_cleanup(fetch->easy);
    }
    curl_slist_free_all(fetch->resolved);
    buf_release(&fetch->body);
    free(fetch);
}

void fetch_cancel(struct fetch *fetch)
{
    if (fetch)
        fetch_free(fetch);
}

/* More than may be is refused: fewer bytes taken than came end the fetch. */
static size_t on_body(char *ptr, size_t size, size_t count, void *context)
{
    struct fetch *fetch = context;
    return buf_append(&fetch->body, ptr, size * count) ? size * count : 0;
}

/* Header fields, those of trailers and interim responses too; libcurl keeps them all. */
static size_t on_field(char *ptr, size_t size, size_t count, void *context)
{
    struct fetch *fetch = context;
    (void)ptr;
    fetch->head_size += size * count;
    return fetch->head_size <= LIMIT_FETCH_SIZE ? size * count : 0;
}

static bool is_too_big(const struct fetch *fetch)
{
    return fetch->body.failed || fetch->head_size > LIMIT_FETCH_SIZE;
}

static enum status_code status_of(const struct fetch *fetch, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return STATUS_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return STATUS_TIMEOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
        return STATUS_DENIED;
    case CURLE_WRITE_ERROR:
    case CURLE_FILESIZE_EXCEEDED:
        return is_too_big(fetch) || code == CURLE_FILESIZE_EXCEEDED ? STATUS_TOO_BIG : STATUS_IO;
    default:
        return STATUS_IO;
    }
}

static struct str plain_type(const char *given, char out[TYPE_SIZE])
{
    struct str rest = str_from_c(given), type = {0};
    str_split(&rest, ';', &type);
    type = str_trim(type);
    if (!str_to_c(type, out, TYPE_SIZE))
        return (struct str){0};
    for (char *c = out; *c; c++)
        *c = ascii_lower(*c);
    return str_from_c(out);
}

/* The owner may start another, or free the fetcher, from inside. */
static void finish(struct fetch *fetch, CURLcode code)
{
    char type[TYPE_SIZE], words[CURL_ERROR_SIZE];
    const char *given = NULL;
    fetch_done *done = fetch->done;
    void *context = fetch->context;
    struct fetch_result result = {.status = status_of(fetch, code)};
    struct buf body = fetch->body;
    buf_init(&fetch->body, 0);
    result.body = buf_str(&body);
    curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &result.code);
    curl_easy_getinfo(fetch->easy, CURLINFO_CONTENT_TYPE, &given);
    result.content_type = plain_type(given, type);
    str_to_c(str_from_c(fetch->error[0] ? fetch->error : curl_easy_strerror(code)), words,
             sizeof words);
    result.words = str_from_c(words);
    fetch_free(fetch);
    done(context, &result);
    buf_release(&body);
}

/* One of them: the fetcher may be gone afterwards. The others have a turn of their own. */
static void take_finished(struct fetcher *f)
{
    int left;
    CURLMsg *message = curl_multi_info_read(f->multi, &left);
    while (message && message->msg != CURLMSG_DONE)
        message = curl_multi_info_read(f->multi, &left);
    if (!message)
        return;
    struct fetch *fetch = NULL;
    CURLcode code = message->data.result;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&fetch);
    if (left > 0)
        timer_set(&f->timer, loop_now(f->loop).mono_ms);
    finish(fetch, code);
}

/* ---- libcurl's events ------------------------------------------------------------------------ */

static void on_ready(void *context, unsigned what)
{
    struct fetch_socket *s = context;
    struct fetcher *f = s->fetcher;
    int running, mask = ((what & WATCH_READ) != 0 ? CURL_CSELECT_IN : 0) |
                        ((what & WATCH_WRITE) != 0 ? CURL_CSELECT_OUT : 0);
    curl_multi_socket_action(f->multi, s->watch.fd, mask, &running);
    take_finished(f);
}

static void on_timer(void *context)
{
    struct fetcher *f = context;
    int running;
    curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    take_finished(f);
}

static void socket_forget(struct fetch_socket *s)
{
    watch_set(&s->watch, 0);
    *s->at = s->next;
    if (s->next)
        s->next->at = s->at;
    free(s);
}

static struct fetch_socket *socket_new(struct fetcher *f, int fd)
{
    struct fetch_socket *s = calloc(1, sizeof *s);
    if (!s || curl_multi_assign(f->multi, fd, s) != CURLM_OK) {
        free(s);
        return NULL;
    }
    s->fetcher = f;
    s->next = f->sockets;
    s->at = &f->sockets;
    if (s->next)
        s->next->at = &s->next;
    f->sockets = s;
    watch_init(&s->watch, f->loop, fd, on_ready, s);
    return s;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *assigned)
{
    struct fetch_socket *s = assigned;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s)
            socket_forget(s);
        return 0;
    }
    if (!s)
        s = socket_new(context, fd);
    if (!s)
        return -1;
    watch_set(&s->watch, ((what & CURL_POLL_IN) != 0 ? WATCH_READ : 0) |
                             ((what & CURL_POLL_OUT) != 0 ? WATCH_WRITE : 0));
    return 0;
}

static int on_timeout(CURLM *multi, long ms, void *context)
{
    struct fetcher *f = context;
    (void)multi;
    timer_set(&f->timer, ms < 0 ? NEVER_MS : loop_now(f->loop).mono_ms + ms);
    return 0;
}

/* ---- Beginnings and ends --------------------------------------------------------------------- */

struct fetcher *fetcher_new(struct loop *l, struct str authorities_pem)
{
    static bool initialised;
    if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return NULL;
    initialised = true;
    struct fetcher *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->loop = l;
    f->multi = curl_multi_init();
    timer_init(&f->timer, l, on_timer, f);
    if (!f->multi || !fetcher_trust(f, authorities_pem)) {
        fetcher_free(f);
        return NULL;
    }
    curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
    curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
    return f;
}

bool fetcher_trust(struct fetcher *f, struct str authorities_pem)
{
    struct buf copy;
    buf_init(&copy, authorities_pem.len);
    if (!buf_append_str(&copy, authorities_pem)) {
        buf_release(&copy);
        return false;
    }
    buf_release(&f->authorities);
    f->authorities = copy;
    return true;
}

void fetcher_free(struct fetcher *f)
{
    if (!f)
        return;
    while (f->fetches)
        fetch_free(f->fetches);
    curl_multi_cleanup(f->multi);
    while (f->sockets)
        socket_forget(f->sockets);
    timer_set(&f->timer, NEVER_MS);
    buf_release(&f->authorities);
    free(f);
}

/* libcurl is told all addresses: it would make a thread to ask for them, which may not be. */
static bool set_addresses(struct fetch *fetch, const struct fetch_request *r)
{
    struct buf line;
    buf_init(&line, URL_SIZE + 64 * r->address_count);
    buf_printf(&line, "+%.*s:%u:", STR_ARG(r->host), r->port);
    for (size_t i = 0; i < r->address_count; i++) {
        bool v6 = socket_address_bytes(&r->addresses[i]).len > 4;
        buf_append_str(&line, i > 0 ? STR(",") : STR(""));
        buf_append_str(&line, v6 ? STR("[") : STR(""));
        socket_address_print(&r->addresses[i], &line);
        buf_append_str(&line, v6 ? STR("]") : STR(""));
    }
    if (r->address_count > 0 && buf_append_byte(&line, 0))
        fetch->resolved = curl_slist_append(NULL, line.ptr);
    buf_release(&line);
    return fetch->resolved &&
           curl_easy_setopt(fetch->easy, CURLOPT_RESOLVE, fetch->resolved) == CURLE_OK;
}

static bool set_url(struct fetch *fetch, const struct fetch_request *r)
{
    struct buf url;
    buf_init(&url, URL_SIZE);
    buf_printf(&url, "https://%.*s:%u%.*s", STR_ARG(r->host), r->port, STR_ARG(r->path));
    bool ok =
        buf_append_byte(&url, 0) && curl_easy_setopt(fetch->easy, CURLOPT_URL, url.ptr) == CURLE_OK;
    buf_release(&url);
    return ok;
}

static CURLcode on_context(CURL *easy, void *context, void *unused)
{
    (void)easy, (void)unused;
    return tls_client_bound(context) ? CURLE_OK : CURLE_SSL_CIPHER;
}

#define SET(option, value) (curl_easy_setopt(fetch->easy, (option), (value)) == CURLE_OK)

static bool set_options(struct fetch *fetch)
{
    const struct buf *authorities = &fetch->fetcher->authorities;
    /* A copy: they may be replaced before libcurl reads them. */
    struct curl_blob bundle = {
        .data = authorities->ptr, .len = authorities->len, .flags = CURL_BLOB_COPY};
    return SET(CURLOPT_PRIVATE, fetch) && SET(CURLOPT_ERRORBUFFER, fetch->error) &&
           SET(CURLOPT_WRITEFUNCTION, on_body) && SET(CURLOPT_WRITEDATA, fetch) &&
           SET(CURLOPT_HEADERFUNCTION, on_field) && SET(CURLOPT_HEADERDATA, fetch) &&
           SET(CURLOPT_SSL_CTX_FUNCTION, on_context) && SET(CURLOPT_PROTOCOLS_STR, "https") &&
           SET(CURLOPT_FOLLOWLOCATION, 0L) && SET(CURLOPT_NOSIGNAL, 1L) && SET(CURLOPT_PROXY, "") &&
           SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) && SET(CURLOPT_CAINFO, NULL) &&
           SET(CURLOPT_CAPATH, NULL) && SET(CURLOPT_CAINFO_BLOB, &bundle) &&
           SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
           SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
           SET(CURLOPT_FORBID_REUSE, 1L) && SET(CURLOPT_USERAGENT, "postern") &&
           SET(CURLOPT_MAXFILESIZE, (long)LIMIT_FETCH_SIZE) &&
           SET(CURLOPT_TIMEOUT_MS, (long)LIMIT_FETCH_MS) &&
           SET(CURLOPT_CONNECTTIMEOUT_MS, (long)LIMIT_CONNECT_MS);
}

struct fetch *fetch_start(struct fetcher *f, const struct fetch_request *request, fetch_done *done,
                          void *context)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (!fetch)
        return NULL;
    *fetch = (struct fetch){.next = f->fetches,
                            .at = &f->fetches,
                            .fetcher = f,
                            .easy = curl_easy_init(),
                            .done = done,
                            .context = context};
    if (fetch->next)
        fetch->next->at = &fetch->next;
    f->fetches = fetch;
    buf_init(&fetch->body, LIMIT_FETCH_SIZE);
    if (fetch->easy && set_options(fetch) && set_url(fetch, request) &&
        set_addresses(fetch, request) && curl_multi_add_handle(f->multi, fetch->easy) == CURLM_OK)
        return fetch;
    fetch_free(fetch);
    return NULL;
}
