#ifndef POSTERN_IPC_CHANNEL_H
#define POSTERN_IPC_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "ipc/ipc_messages.h"

/*
 * A channel is one role's end of its conversation with another. It frames, matches replies with
 * calls, and lets nothing pass that ipc.table does not allow. It does no I/O: a transport moves its
 * bytes (roles/link.h over a socket; channel_carry within one process).
 *
 * Sending, for each message x of ipc.table (made by generate.py):
 *
 *   uint32_t ipc_x_call(ch, &in, replied, context)
 *       Queues a request and returns its id; `replied` is called exactly once, later, never from
 *       inside this call: with STATUS_OK and the reply, or with STATUS_GONE and NULL when the
 *       channel ended first. Returns 0, and `replied` will not be called, where the channel is
 *       NULL, has ended, or is too full: treat it as temporary trouble.
 *   bool ipc_x_note(ch, &in)
 *       Queues a note; false where ipc_x_call would have returned 0.
 *   void ipc_x_reply(ch, id, &out)
 *       Answers a request. Every request received must be answered exactly once, now or later, also
 *       when the channel has ended meanwhile: `ch` stays valid for that until it is answered.
 *
 * What is passed in is copied. A message that carries a descriptor has it in `in.fd`; sending takes
 * it over (it is closed here, also on failure).
 *
 * Receiving: handlers get `in` with its bytes and lists borrowed until they return; the same is
 * true of replies. A descriptor in `in.fd` belongs to the handler from then on.
 *
 * A peer that sends what is malformed or forbidden ends its channel, and nothing else.
 */
struct channel;

struct channel_setup {
    enum ipc_role self;
    enum ipc_role peer;
    uint8_t peer_index;

    /* Both must outlive the channel; context is given to the handlers. */
    const struct ipc_handlers *handlers;
    void *context;

    /*
     * owner: whoever holds the channel. `wake`: there is output to move, or input may be taken
     * again. `ended`: called once, when every pending call has had its STATUS_GONE; only from
     * channel_input and channel_settle. The owner then calls channel_close, at once or later.
     */
    void *owner;
    void (*wake)(void *owner);
    void (*ended)(void *owner, enum status_code why, const char *words);
};

/*
 * May a message with a secret in it pass between these two? Then whatever held bytes of theirs is
 * overwritten when it is given back; elsewhere nobody pays for that.
 */
bool channel_has_secrets(enum ipc_role one, enum ipc_role other);

/* NULL where there is no memory. */
struct channel *channel_open(const struct channel_setup *setup);

/* Pending calls get their STATUS_GONE from inside. `ended` will not be called any more. */
void channel_close(struct channel *ch);

/* The reply to this call is not wanted any more; `replied` will not be called. */
void channel_cancel(struct channel *ch, uint32_t id);

enum ipc_role channel_peer_role(const struct channel *ch);
uint8_t channel_peer_index(const struct channel *ch);

/* Bytes queued and not yet moved; calls sent and not yet answered. */
size_t channel_queued(const struct channel *ch);
size_t channel_pending(const struct channel *ch);

/* ---- For transports ------------------------------------------------------------------------ */

/*
 * Handles the whole frames at the front of `in` and drops them from it. Frames may stay where the
 * channel holds the peer back (see channel_wants_input).
 */
void channel_input(struct channel *ch, struct buf *in);

/* A descriptor that came with the bytes given next; takes it over. */
void channel_input_fd(struct channel *ch, int fd);

/* False while the peer has too much unanswered or does not read what it asked for. */
bool channel_wants_input(const struct channel *ch);

/*
 * What to move next; false where there is nothing. A descriptor (else -1) goes with the first of
 * these bytes and stays the channel's, which closes it in channel_output_done.
 */
bool channel_output(struct channel *ch, struct str *ret_bytes, int *ret_fd);
void channel_output_done(struct channel *ch, size_t moved);

/* The other end is gone, or the transport broke. Takes effect in channel_settle. */
void channel_gone(struct channel *ch, enum status_code why, const char *words);

/* Does what must not happen inside a send: to be called after each wake and after each turn. */
void channel_settle(struct channel *ch);

/*
 * The transport within one process: moves what `from` has queued to `to`, with `in` as the
 * receiving end's buffer, and settles both. True where anything moved. Neither channel may be
 * closed from inside (`ended` and handlers included).
 */
bool channel_carry(struct channel *from, struct channel *to, struct buf *in);

#endif
