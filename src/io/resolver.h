#ifndef POSTERN_IO_RESOLVER_H
#define POSTERN_IO_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "io/loop.h"

/*
 * A validating resolver (libunbound) on the loop, with libunbound's cache. It is whole before the
 * sandbox closes: no file is opened and no thread made later.
 */
struct resolver;

struct resolver_server {
    struct str address; /* an IP address, as text */
    uint16_t port;
};

struct resolver_stub {
    struct str zone; /* no final dot */
    const struct resolver_server *servers;
    size_t server_count;
};

struct resolver_settings {
    const struct resolver_server *forward; /* none: ask the root servers */
    size_t forward_count;
    const struct resolver_stub *stubs;
    size_t stub_count;
    /* Zones that libunbound would answer by itself. Not validated, unless anchors has their key. */
    const struct str *nodefault;
    size_t nodefault_count;
    /* DS and DNSKEY records, as in a zone file, one a line: of the root, of zones of one's own. */
    const struct str *anchors;
    size_t anchor_count;
};

/* NULL where libunbound does not take the settings, which are copied. */
struct resolver *resolver_new(struct loop *l, const struct resolver_settings *settings);

/* Open questions are answered with STATUS_GONE from inside. NULL is allowed. */
void resolver_free(struct resolver *r);

/*
 * status: STATUS_OK where there is a packet (also one that says NXDOMAIN or "nothing of that
 * type"); STATUS_TIMEOUT: no server answered in time; STATUS_CORRUPT: what came is bogus (RFC 4035
 * §5); STATUS_IO: every server failed (SERVFAIL); else what resolver_ask says below. secure: what
 * was said, or that there is nothing, is validated from a trust anchor down. The packet
 * (codec/dns_answer.h walks it) lives until the callback returns; a failure has none.
 */
struct resolver_answer {
    enum status_code status;
    int rcode;
    bool secure;
    struct str packet;
};

enum { RESOLVER_NXDOMAIN = 3 };

/* True where the name does not exist, or has nothing of the type (dns_answer finds no record). */
static inline bool resolver_no_such_name(const struct resolver_answer *a)
{
    return a->status == STATUS_OK && a->rcode == RESOLVER_NXDOMAIN;
}

typedef void resolver_answered(void *context, const struct resolver_answer *answer);

/* Embedded in whoever asks. */
struct resolver_question {
    struct resolver_question *next, **at; /* all that are open */
    struct resolver *resolver;            /* NULL where it is not open */
    resolver_answered *answered;
    void *context;
    struct timer timer;
    struct hook hook; /* an answer that came at once waits for the end of the turn */
    bool under_way, asking;
    int query;
    int rcode;
    enum status_code status;
    bool secure;
    struct buf packet;
};

/* Before the first resolver_ask; a question may be used again and again. */
void resolver_question_init(struct resolver_question *q, resolver_answered *answered,
                            void *context);

/*
 * Asks for records of the type (of class IN). `answered` is called exactly once, later, and may ask
 * again. Where there are more than LIMIT_RESOLVER_QUESTIONS open it is with STATUS_BUSY. q must not
 * be open; name has no NUL in it.
 */
void resolver_ask(struct resolver *r, struct resolver_question *q, struct str name, uint16_t type,
                  int64_t deadline_ms);

/* `answered` will not be called. Nothing happens where q is not open. */
void resolver_cancel(struct resolver_question *q);

static inline bool resolver_is_asking(const struct resolver_question *q)
{
    return q->resolver != NULL;
}

#endif
