#ifndef POSTERN_IO_STREAM_H
#define POSTERN_IO_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/types.h>

#include "base/buf.h"
#include "base/str.h"
#include "io/loop.h"
#include "io/tls.h"
#include "io/tls_client.h"

/*
 * A connection, in clear or under TLS. `ready` is called when something may have become possible
 * that was not: the owner then reads until STREAM_BLOCKED (or stops reading), and writes what it
 * has. A stream that waits holds no buffer of its own: reads go into one scratch buffer that all
 * streams of the process share.
 */
enum stream_result {
    STREAM_OK,
    STREAM_BLOCKED, /* nothing now; `ready` will be called */
    STREAM_EOF,     /* the peer has finished sending */
    STREAM_BROKEN   /* reset, timed out, or TLS failed; only stream_close is left. From a write in
                       clear also that the peer hears nothing more: what it said is still read */
};

struct stream {
    struct watch watch;
    int fd;
    SSL *ssl;
    bool handshaking;
    bool broken;
    bool unheard;       /* a write has failed: only reading is left */
    bool reading;       /* the owner wants to read */
    bool drained;       /* the last read took all there was: no use asking before `ready` */
    bool write_blocked; /* the owner has something to write */
    bool ssl_wants_write;
    unsigned tls_words; /* messages of TLS that were no data */
    struct buf unread;
    void (*ready)(void *context);
    void *context;
};

/* Takes fd over. Reading is on. `ready` is not called from inside. */
void stream_open(struct stream *s, struct loop *l, int fd, void (*ready)(void *context),
                 void *context);

/* Closes at once (what TLS still has to say is said where it does not block). */
void stream_close(struct stream *s);

/* The bytes live until the next stream_read of any stream of this process. */
enum stream_result stream_read(struct stream *s, struct str *ret_bytes);

/*
 * What was unread with what came behind it, in one piece, of no more than max octets (there must be
 * fewer unread): what comes after them stays where it is. STREAM_BLOCKED where nothing came.
 */
enum stream_result stream_read_more(struct stream *s, size_t max, struct str *ret_bytes);

/*
 * Gives back the rest of what stream_read returned: the next stream_read returns it again. False
 * where there is no memory. The owner stops reading, or reads again of itself: `ready` is not
 * called for these bytes.
 */
bool stream_unread(struct stream *s, struct str rest);

/*
 * What stream_read returned may hold a password, and its owner has used it up, or given it back: it
 * is overwritten. stream_hold_secrets: so is, from now on, what is given back, once it is read
 * again.
 */
void stream_forget(struct str bytes);
void stream_hold_secrets(struct stream *s);

/* The next stream_read asks the kernel, also where the last one took all there was. */
static inline void stream_read_on(struct stream *s)
{
    s->drained = false;
}

/* Stops watching for input (back-pressure), or watches again; then read at once, for bytes may be
 * waiting inside. */
void stream_set_reading(struct stream *s, bool reading);

/* *ret_written may be less than there is; STREAM_BLOCKED where it is 0. */
enum stream_result stream_write(struct stream *s, struct str bytes, size_t *ret_written);

/* Tells the peer that nothing more will come (FIN, close_notify); reading goes on. */
void stream_finish(struct stream *s);

/*
 * The handshake begins; clear-text bytes that were unread are dropped (RFC 3207 §4.2). Reads and
 * writes are blocked until it is done: stream_handshaking tells. False where there is no memory.
 */
bool stream_start_tls(struct stream *s, struct tls_server *t);

/*
 * The same for the client's side (the first octets leave with the next turn). tls_client_verdict
 * tells who the server is, or why the stream broke.
 */
bool stream_start_tls_client(struct stream *s, struct tls_client *t,
                             const struct tls_demand *demand);

static inline bool stream_handshaking(const struct stream *s)
{
    return s->handshaking;
}

/* NULL in clear. */
static inline SSL *stream_tls(const struct stream *s)
{
    return s->ssl;
}

#endif
