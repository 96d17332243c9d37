/*
 * The first byte chooses who receives and from whom; the rest arrives on the channel, cut in two at
 * every call. Whatever it is, the channel must take it or end, answer once, and leak nothing. A
 * payload that a decoder takes must also come back equal from its encoder.
 */
#include <fcntl.h>
#include <string.h>

#include "base/bug.h"
#include "base/limits.h"
#include "ipc/channel.h"
#include "ipc/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void wake(void *owner)
{
    (void)owner;
}

static void ended(void *owner, enum status_code why, const char *words)
{
    invariant(why != STATUS_OK && words[0] != 0);
    ++*(int *)owner;
}

static void accept_now(void *context, struct channel *from, uint32_t id,
                       const struct ipc_accept_in *in)
{
    (void)context;
    invariant(in->recipients_count == 0 || in->recipients);
    ipc_accept_reply(from, id, &(struct ipc_accept_out){.status = STATUS_BUSY});
}

static void sasl_start_now(void *context, struct channel *from, uint32_t id,
                           const struct ipc_sasl_start_in *in)
{
    (void)context;
    ipc_sasl_start_reply(from, id, &(struct ipc_sasl_start_out){.result.data = in->initial});
}

static void accept_replied(void *context, enum status_code status, const struct ipc_accept_out *out)
{
    invariant((status == STATUS_OK) == (out != NULL));
    ++*(int *)context;
}

static const struct ipc_handlers handlers = {.accept = accept_now, .sasl_start = sasl_start_now};

static void try_channel(uint8_t who, struct str bytes)
{
    int ends = 0, replies = 0;
    struct channel_setup setup = {
        .self = 1 + who % (ROLE_END - 1),
        .peer = 1 + who / ROLE_END % (ROLE_END - 1),
        .handlers = &handlers,
        .owner = &ends,
        .wake = wake,
        .ended = ended,
    };
    struct channel *ch = channel_open(&setup);
    bool asks = setup.self == ROLE_EDGE && setup.peer == ROLE_VAULT;
    if (asks)
        ipc_accept_call(ch, &(struct ipc_accept_in){.account = 1}, accept_replied, &replies);
    struct buf in;
    buf_init(&in, 1 << 20);
    buf_append_str(&in, str_sub(bytes, 0, bytes.len / 2));
    channel_input(ch, &in);
    buf_append_str(&in, str_skip(bytes, bytes.len / 2));
    channel_input(ch, &in);
    channel_settle(ch);
    channel_close(ch);
    invariant(ends <= 1 && replies == (asks ? 1 : 0));
    buf_release(&in);
}

static void try_decoders(uint8_t number, bool is_reply, struct str payload)
{
    const struct ipc_type *type = ipc_type_find(number);
    if (!type)
        return;
    struct arena arena;
    struct buf out;
    arena_init(&arena, LIMIT_IPC_LISTS_SIZE);
    buf_init(&out, 1 << 20);
    struct cursor c = cursor_over(payload, &arena);
    if (type->recode(is_reply, &c, &out))
        invariant(str_eq(buf_str(&out), payload));
    buf_release(&out);
    arena_reset(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct str rest = str_make(data + 2, size - 2);
    try_channel(data[0], str_skip(str_make(data, size), 1));
    try_decoders(data[0], data[1] % 2 == 1, rest);
    return 0;
}
