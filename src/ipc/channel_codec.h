#ifndef POSTERN_IPC_CHANNEL_CODEC_H
#define POSTERN_IPC_CHANNEL_CODEC_H

#include "ipc/channel.h"

/*
 * How the generated code puts a message into a channel: begin, append the payload to the buf it
 * returned, end. Nothing else may happen to the channel in between. NULL means that the message
 * cannot be sent; begin has then closed fd, and only channel_end_reply must still be called.
 */
struct buf *channel_begin(struct channel *ch, const struct ipc_type *type, int fd);
struct buf *channel_begin_reply(struct channel *ch, const struct ipc_type *type, uint32_t id);

bool channel_end_note(struct channel *ch);
uint32_t channel_end_call(struct channel *ch, void (*replied)(void), void *context);

/* Counts the request as answered, and frees a channel that was closed and waited for this only. */
void channel_end_reply(struct channel *ch, bool begun);

#endif
