#ifndef POSTERN_IO_FETCH_H
#define POSTERN_IO_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"
#include "io/loop.h"
#include "io/socket.h"

/*
 * GET over HTTPS (libcurl on the loop), for small files of strangers: at most LIMIT_FETCH_SIZE,
 * and as much of header fields, within LIMIT_FETCH_MS, no redirects, no proxies, no cookies. The
 * caller has resolved the name. All that comes from files is read before the sandbox closes.
 */
struct fetcher;

/* NULL where there is no memory. authorities_pem: whom to trust (copied). */
struct fetcher *fetcher_new(struct loop *l, struct str authorities_pem);

/* Whom to trust from the next fetch on (copied). False, and nothing changed: no memory. */
bool fetcher_trust(struct fetcher *f, struct str authorities_pem);

/* Fetches under way are cancelled. NULL is allowed. */
void fetcher_free(struct fetcher *f);

struct fetch_request {
    struct str host; /* for the Host field, for SNI, and in the server's certificate */
    uint16_t port;
    struct str path;                        /* "/.well-known/mta-sts.txt" */
    const struct socket_address *addresses; /* tried by libcurl in their order */
    size_t address_count;
};

/*
 * status: STATUS_OK where a response came, whatever its code; STATUS_DENIED where its certificate
 * is not good for the name; STATUS_TIMEOUT, STATUS_TOO_BIG, STATUS_IO. content_type is lower-case
 * without parameters, empty where the response names none. words: why it failed, for people.
 */
struct fetch_result {
    enum status_code status;
    long code;
    struct str content_type;
    struct str body;
    struct str words;
};

typedef void fetch_done(void *context, const struct fetch_result *result);

/* `done` is called once, later; result lives until it returns. NULL where there is no memory. */
struct fetch *fetch_start(struct fetcher *f, const struct fetch_request *request, fetch_done *done,
                          void *context);

/* `done` will not be called. NULL is allowed. */
void fetch_cancel(struct fetch *fetch);

#endif
