#include "ipc/channel.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/bug.h"
#include "base/limits.h"
#include "ipc/channel_codec.h"
#include "ipc/cursor.h"

/*
 * A frame: u32 bytes behind this field, u8 version, u8 message number, u8 flags, u8 zero, u32 id,
 * payload. The id is 0 in notes, else drawn by the caller and repeated in the reply.
 */
enum {
    FRAME_LENGTH_SIZE = 4,
    FRAME_HEAD_SIZE = 12,
    FLAG_REPLY = 1,
    PENDING_FIRST = 16,
    DESCRIPTORS_FIRST = 8,
    WORDS_SIZE = 120
};

/* A call without its reply. replied is NULL where nobody waits for it any more. */
struct pending {
    uint32_t id;
    const struct ipc_type *type;
    void (*replied)(void);
    void *context;
};

/* Descriptors in the order of their frames. at: the frame's place in `out`; unused for input. */
struct descriptor {
    size_t at;
    int fd;
};

struct descriptors {
    struct descriptor *items;
    size_t count;
    size_t cap;
};

struct channel {
    struct channel_setup setup;
    enum status_code why; /* STATUS_OK while it lives */
    bool settled;         /* `ended` was called */
    bool closed;          /* the owner has let go; it lives for what is unanswered */
    unsigned busy;        /* calls of ours that still use it */
    char words[WORDS_SIZE];

    struct buf out;
    size_t out_moved;  /* bytes at the front of out that are gone already */
    size_t reply_size; /* bytes of replies put into out since it was last empty */
    struct descriptors out_fds;
    struct descriptors in_fds;

    /* The frame being written: between begin and end. */
    size_t frame_at;
    const struct ipc_type *frame_type;
    int frame_fd;

    /* Slot of a call: id modulo the capacity (a power of two). */
    struct pending *pending;
    size_t pending_count;
    size_t pending_cap;
    uint32_t last_id;
    size_t unanswered;
    struct arena arena;
};

static bool allowed(const struct ipc_type *type, enum ipc_role from, enum ipc_role to)
{
    return (type->senders & ipc_role_bit(from)) != 0 && (type->receivers & ipc_role_bit(to)) != 0;
}

bool channel_has_secrets(enum ipc_role one, enum ipc_role other)
{
    for (unsigned number = 1; number <= UINT8_MAX; number++) {
        const struct ipc_type *type = ipc_type_find((uint8_t)number);
        if (type && (type->in_secret || type->out_secret) &&
            (allowed(type, one, other) || allowed(type, other, one)))
            return true;
    }
    return false;
}

struct channel *channel_open(const struct channel_setup *setup)
{
    struct channel *ch = calloc(1, sizeof *ch);
    if (!ch)
        return NULL;
    ch->setup = *setup;
    buf_init(&ch->out, LIMIT_IPC_QUEUE_SIZE_MAX);
    ch->out.secret = channel_has_secrets(setup->self, setup->peer);
    arena_init(&ch->arena, LIMIT_IPC_LISTS_SIZE);
    return ch;
}

static void descriptors_release(struct descriptors *d)
{
    for (size_t i = 0; i < d->count; i++)
        close(d->items[i].fd);
    free(d->items);
    *d = (struct descriptors){0};
}

/* Takes fd over, also where it is false. */
static bool descriptors_push(struct descriptors *d, size_t at, int fd)
{
    if (d->count == d->cap && d->cap < LIMIT_IPC_DESCRIPTORS) {
        size_t cap = d->cap ? 2 * d->cap : DESCRIPTORS_FIRST;
        struct descriptor *items = realloc(d->items, cap * sizeof *items);
        if (items) {
            d->items = items;
            d->cap = cap;
        }
    }
    if (d->count == d->cap) {
        close(fd);
        return false;
    }
    d->items[d->count++] = (struct descriptor){at, fd};
    return true;
}

/* The first one; the caller has seen that there is one. */
static int descriptors_shift(struct descriptors *d)
{
    int fd = d->items[0].fd;
    d->count--;
    memmove(d->items, d->items + 1, d->count * sizeof *d->items);
    return fd;
}

static void free_if_done(struct channel *ch)
{
    if (!ch->closed || ch->busy > 0 || ch->unanswered > 0)
        return;
    buf_release(&ch->out);
    descriptors_release(&ch->out_fds);
    descriptors_release(&ch->in_fds);
    arena_wipe(&ch->arena);
    free(ch->pending);
    free(ch);
}

static void wake(struct channel *ch)
{
    if (!ch->closed)
        ch->setup.wake(ch->setup.owner);
}

void channel_gone(struct channel *ch, enum status_code why, const char *words)
{
    if (ch->why != STATUS_OK)
        return;
    ch->why = why;
    snprintf(ch->words, sizeof ch->words, "%s", words);
    wake(ch);
}

/* The peer broke the rules of the conversation. */
static void offend(struct channel *ch, enum status_code why, const char *words,
                   const struct ipc_type *type)
{
    struct buf said;
    buf_init(&said, WORDS_SIZE);
    buf_printf(&said, "%s%s%s", words, type ? ": " : "", type ? type->name : "");
    buf_append_byte(&said, 0);
    channel_gone(ch, why, said.failed ? words : said.ptr);
    buf_release(&said);
}

enum ipc_role channel_peer_role(const struct channel *ch)
{
    return ch->setup.peer;
}

uint8_t channel_peer_index(const struct channel *ch)
{
    return ch->setup.peer_index;
}

size_t channel_queued(const struct channel *ch)
{
    return ch->out.len - ch->out_moved;
}

size_t channel_pending(const struct channel *ch)
{
    return ch->pending_count;
}

/* ---- Pending calls ------------------------------------------------------------------------- */

static struct pending *pending_slot(struct channel *ch, uint32_t id)
{
    return &ch->pending[id & (ch->pending_cap - 1)];
}

static struct pending *pending_find(struct channel *ch, uint32_t id)
{
    struct pending *slot = ch->pending_cap > 0 ? pending_slot(ch, id) : NULL;
    return slot && slot->type && slot->id == id ? slot : NULL;
}

/* Doubled capacity keeps apart what was apart. */
static bool pending_grow(struct channel *ch)
{
    size_t old_cap = ch->pending_cap;
    struct pending *old = ch->pending;
    size_t cap = old_cap ? 2 * old_cap : PENDING_FIRST;
    struct pending *pending = calloc(cap, sizeof *pending);
    if (!pending)
        return false;
    ch->pending = pending;
    ch->pending_cap = cap;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].type)
            *pending_slot(ch, old[i].id) = old[i];
    free(old);
    return true;
}

/* Ids run upwards and skip those whose slot is still taken: at most half of the slots are. */
static struct pending *pending_add(struct channel *ch)
{
    if (2 * ch->pending_count >= ch->pending_cap && !pending_grow(ch))
        return NULL;
    do
        ch->last_id++;
    while (ch->last_id == 0 || pending_slot(ch, ch->last_id)->type);
    ch->pending_count++;
    return pending_slot(ch, ch->last_id);
}

static struct pending pending_take(struct channel *ch, struct pending *slot)
{
    struct pending taken = *slot;
    *slot = (struct pending){0};
    ch->pending_count--;
    return taken;
}

void channel_cancel(struct channel *ch, uint32_t id)
{
    struct pending *slot = pending_find(ch, id);
    if (slot)
        slot->replied = NULL;
}

/* Those that were waiting when the channel ended; their functions may not add new ones. */
static void fail_pending(struct channel *ch)
{
    for (size_t i = 0; i < ch->pending_cap; i++) {
        if (!ch->pending[i].type)
            continue;
        struct pending call = pending_take(ch, &ch->pending[i]);
        if (call.replied)
            call.type->deliver_reply(call.replied, call.context, STATUS_GONE, NULL);
    }
}

void channel_settle(struct channel *ch)
{
    if (ch->why == STATUS_OK || ch->settled || ch->closed || ch->busy > 0)
        return;
    ch->busy++;
    ch->settled = true;
    fail_pending(ch);
    if (!ch->closed)
        ch->setup.ended(ch->setup.owner, ch->why, ch->words);
    ch->busy--;
    free_if_done(ch);
}

void channel_close(struct channel *ch)
{
    invariant(!ch->closed);
    if (ch->why == STATUS_OK)
        ch->why = STATUS_GONE;
    ch->closed = true;
    ch->busy++;
    fail_pending(ch);
    ch->busy--;
    free_if_done(ch);
}

/* ---- Sending ------------------------------------------------------------------------------- */

static struct buf *frame_begin(struct channel *ch, const struct ipc_type *type, uint8_t flags,
                               uint32_t id)
{
    ch->frame_type = type;
    ch->frame_at = ch->out.len;
    put_u32(&ch->out, 0);
    put_u8(&ch->out, IPC_VERSION);
    put_u8(&ch->out, type->number);
    put_u8(&ch->out, flags);
    put_u8(&ch->out, 0);
    put_u32(&ch->out, id);
    return &ch->out;
}

static void store_u32(char *at, size_t value)
{
    uint32_t wire = htole32((uint32_t)value);
    memcpy(at, &wire, sizeof wire);
}

/* False, and nothing of the frame remains, where it could not be written whole. */
static bool frame_end(struct channel *ch)
{
    struct buf *out = &ch->out;
    size_t size = out->len - ch->frame_at - FRAME_LENGTH_SIZE;
    if (out->failed || size > LIMIT_IPC_FRAME_SIZE) {
        buf_truncate(out, ch->frame_at);
        out->failed = false;
        return false;
    }
    store_u32(out->ptr + ch->frame_at, size);
    return true;
}

struct buf *channel_begin(struct channel *ch, const struct ipc_type *type, int fd)
{
    invariant(!ch || allowed(type, ch->setup.self, ch->setup.peer));
    invariant((fd >= 0) == type->carries_fd);
    if (!ch || ch->why != STATUS_OK || channel_queued(ch) > LIMIT_IPC_QUEUE_SIZE ||
        (type->is_call && ch->pending_count >= LIMIT_IPC_CALLS)) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    ch->frame_fd = fd;
    return frame_begin(ch, type, 0, 0);
}

/* Ends a frame that may carry a descriptor. */
static bool end_with_descriptor(struct channel *ch)
{
    int fd = ch->frame_fd;
    if (!frame_end(ch)) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (fd >= 0 && !descriptors_push(&ch->out_fds, ch->frame_at, fd)) {
        buf_truncate(&ch->out, ch->frame_at);
        return false;
    }
    return true;
}

bool channel_end_note(struct channel *ch)
{
    if (!end_with_descriptor(ch))
        return false;
    wake(ch);
    return true;
}

uint32_t channel_end_call(struct channel *ch, void (*replied)(void), void *context)
{
    if (!end_with_descriptor(ch))
        return 0;
    struct pending *slot = pending_add(ch);
    if (!slot) {
        if (ch->frame_type->carries_fd)
            close(ch->out_fds.items[--ch->out_fds.count].fd);
        buf_truncate(&ch->out, ch->frame_at);
        return 0;
    }
    *slot = (struct pending){ch->last_id, ch->frame_type, replied, context};
    store_u32(ch->out.ptr + ch->frame_at + FRAME_HEAD_SIZE - sizeof(uint32_t), ch->last_id);
    wake(ch);
    return ch->last_id;
}

struct buf *channel_begin_reply(struct channel *ch, const struct ipc_type *type, uint32_t id)
{
    invariant(ch->unanswered > 0);
    return ch->why == STATUS_OK ? frame_begin(ch, type, FLAG_REPLY, id) : NULL;
}

void channel_end_reply(struct channel *ch, bool begun)
{
    if (begun && frame_end(ch))
        ch->reply_size += ch->out.len - ch->frame_at;
    else if (begun)
        channel_gone(ch, STATUS_TOO_BIG, "a reply does not fit: the peer does not read");
    ch->unanswered--;
    wake(ch);
    free_if_done(ch);
}

bool channel_output(struct channel *ch, struct str *ret_bytes, int *ret_fd)
{
    if (ch->why != STATUS_OK || channel_queued(ch) == 0)
        return false;
    const struct descriptors *fds = &ch->out_fds;
    bool with_fd = fds->count > 0 && fds->items[0].at == ch->out_moved;
    size_t end = ch->out.len;
    if (fds->count > (with_fd ? 1 : 0))
        end = fds->items[with_fd ? 1 : 0].at;
    *ret_bytes = str_make(ch->out.ptr + ch->out_moved, end - ch->out_moved);
    *ret_fd = with_fd ? fds->items[0].fd : -1;
    return true;
}

/* Gives the front of a long queue back before it becomes most of it. */
static void compact(struct channel *ch)
{
    if (ch->out_moved < ch->out.len / 2 || ch->out_moved < LIMIT_IPC_QUEUE_SIZE / 2)
        return;
    for (size_t i = 0; i < ch->out_fds.count; i++)
        ch->out_fds.items[i].at -= ch->out_moved;
    buf_consume(&ch->out, ch->out_moved);
    ch->out_moved = 0;
}

void channel_output_done(struct channel *ch, size_t moved)
{
    if (moved == 0)
        return;
    invariant(moved <= channel_queued(ch));
    if (ch->out_fds.count > 0 && ch->out_fds.items[0].at == ch->out_moved)
        close(descriptors_shift(&ch->out_fds));
    if (ch->out.secret)
        explicit_bzero(ch->out.ptr + ch->out_moved, moved);
    ch->out_moved += moved;
    if (ch->out_moved < ch->out.len) {
        compact(ch);
        return;
    }
    ch->out_moved = 0;
    ch->reply_size = 0;
    /* A burst's memory is given back; what everyday traffic needs is kept. */
    if (ch->out.cap > LIMIT_IPC_FRAME_SIZE)
        buf_release(&ch->out);
    else
        buf_clear(&ch->out);
}

/* ---- Receiving ----------------------------------------------------------------------------- */

struct frame {
    uint8_t version;
    uint8_t number;
    uint8_t flags;
    uint32_t id;
    struct str payload;
};

void channel_input_fd(struct channel *ch, int fd)
{
    if (!descriptors_push(&ch->in_fds, 0, fd))
        channel_gone(ch, STATUS_CORRUPT, "descriptors that nobody asked for");
}

bool channel_wants_input(const struct channel *ch)
{
    return ch->why == STATUS_OK && ch->unanswered < LIMIT_IPC_CALLS &&
           ch->reply_size < LIMIT_IPC_QUEUE_SIZE;
}

/* Returns the size of the whole frame at the front, 0 where it has not come whole. */
static size_t frame_parse(struct channel *ch, struct str bytes, struct frame *ret_frame)
{
    if (bytes.len < FRAME_LENGTH_SIZE)
        return 0;
    struct cursor c = cursor_over(bytes, NULL);
    size_t size = cursor_u32(&c);
    if (size < FRAME_HEAD_SIZE - FRAME_LENGTH_SIZE || size > LIMIT_IPC_FRAME_SIZE) {
        offend(ch, STATUS_CORRUPT, "a frame of impossible size", NULL);
        return 0;
    }
    if (c.rest.len < size)
        return 0;
    ret_frame->version = cursor_u8(&c);
    ret_frame->number = cursor_u8(&c);
    ret_frame->flags = cursor_u8(&c);
    if (cursor_u8(&c) != 0)
        ret_frame->flags |= (uint8_t)~FLAG_REPLY;
    ret_frame->id = cursor_u32(&c);
    ret_frame->payload =
        str_sub(bytes, FRAME_HEAD_SIZE, FRAME_LENGTH_SIZE + size - FRAME_HEAD_SIZE);
    return FRAME_LENGTH_SIZE + size;
}

static void take_reply(struct channel *ch, const struct ipc_type *type, const struct frame *frame)
{
    struct pending *slot = pending_find(ch, frame->id);
    if (!slot || slot->type != type) {
        offend(ch, STATUS_CORRUPT, "a reply to nothing", type);
        return;
    }
    struct pending call = pending_take(ch, slot);
    if (!call.replied)
        return;
    struct cursor c = cursor_over(frame->payload, &ch->arena);
    if (type->deliver_reply(call.replied, call.context, STATUS_OK, &c))
        return;
    call.type->deliver_reply(call.replied, call.context, STATUS_GONE, NULL);
    offend(ch, STATUS_CORRUPT, "a malformed reply", type);
}

static void take_message(struct channel *ch, const struct ipc_type *type, const struct frame *frame)
{
    if (!allowed(type, ch->setup.peer, ch->setup.self)) {
        offend(ch, STATUS_DENIED, "a message that this peer may not send", type);
        return;
    }
    if (type->is_call != (frame->id != 0) || (type->carries_fd && ch->in_fds.count == 0)) {
        offend(ch, STATUS_CORRUPT, "a message without its id or descriptor", type);
        return;
    }
    int fd = type->carries_fd ? descriptors_shift(&ch->in_fds) : -1;
    ch->unanswered += type->is_call ? 1 : 0;
    struct cursor c = cursor_over(frame->payload, &ch->arena);
    if (type->deliver(ch->setup.handlers, ch->setup.context, ch, frame->id, &c, fd))
        return;
    ch->unanswered -= type->is_call ? 1 : 0;
    if (fd >= 0)
        close(fd);
    offend(ch, STATUS_CORRUPT, "a malformed message", type);
}

static void take_frame(struct channel *ch, const struct frame *frame)
{
    const struct ipc_type *type = ipc_type_find(frame->number);
    if (frame->version != IPC_VERSION)
        offend(ch, STATUS_UNSUPPORTED, "another version of the protocol between roles", NULL);
    else if (!type || (frame->flags & ~FLAG_REPLY) != 0)
        offend(ch, STATUS_CORRUPT, "an unknown message", NULL);
    else if ((frame->flags & FLAG_REPLY) != 0)
        take_reply(ch, type, frame);
    else
        take_message(ch, type, frame);
    arena_reset(&ch->arena);
}

void channel_input(struct channel *ch, struct buf *in)
{
    size_t taken = 0;
    ch->busy++;
    while (channel_wants_input(ch)) {
        struct frame frame;
        size_t size = frame_parse(ch, str_skip(buf_str(in), taken), &frame);
        if (size == 0)
            break;
        take_frame(ch, &frame);
        const struct ipc_type *type = ipc_type_find(frame.number);
        if (type && (type->in_secret || type->out_secret))
            explicit_bzero(in->ptr + taken, size);
        taken += size;
    }
    buf_consume(in, taken);
    ch->busy--;
    if (ch->closed)
        free_if_done(ch);
    else
        channel_settle(ch);
}

bool channel_carry(struct channel *from, struct channel *to, struct buf *in)
{
    struct str bytes;
    int fd;
    bool moved = false;
    while (channel_output(from, &bytes, &fd)) {
        int copy = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
        if (copy >= 0)
            channel_input_fd(to, copy);
        if ((fd >= 0 && copy < 0) || !buf_append_str(in, bytes))
            channel_gone(to, STATUS_NO_MEMORY, "no memory to carry a message");
        channel_output_done(from, bytes.len);
        moved = true;
    }
    if (in->len > 0 && channel_wants_input(to)) {
        size_t before = in->len;
        channel_input(to, in);
        moved = moved || in->len != before;
    } else {
        channel_settle(to);
    }
    channel_settle(from);
    return moved;
}
