#include "mail/transcript.h"

/* More than the limits of mime.h let it need: 512 KiB of strings, and the parts. */
enum { ARENA_SIZE_MAX = 8 * 1024 * 1024, SCRATCH_SIZE_MAX = 4 * LIMIT_HEADER_SIZE };

void transcript_init(struct transcript *t)
{
    arena_init(&t->arena, ARENA_SIZE_MAX);
    mime_init(&t->mime, &t->arena);
    t->decoder = NULL;
    buf_init(&t->scratch, SCRATCH_SIZE_MAX);
    t->body = t->header = (struct str){0};
    t->part = PART_NONE;
    t->has_header = t->begins = t->failed = false;
}

void transcript_release(struct transcript *t)
{
    decoder_free(t->decoder);
    t->decoder = NULL;
    mime_release(&t->mime);
    buf_release(&t->scratch);
    arena_reset(&t->arena);
}

/* The decoder of a part that has ended gives what it still holds. */
static bool end_decoder(struct transcript *t, struct transcript_event *ret_event)
{
    if (!t->decoder)
        return false;
    struct str text = decoder_write(t->decoder, (struct str){0}, true);
    bool event = text.len > 0;
    buf_clear(&t->scratch);
    buf_append_str(&t->scratch, text);
    decoder_free(t->decoder);
    t->decoder = NULL;
    *ret_event = (struct transcript_event){
        .part = t->part, .begins = t->begins, .text = buf_str(&t->scratch)};
    return event;
}

static void start_part(struct transcript *t, uint32_t part)
{
    const struct structure_part *p = &t->mime.structure.parts[part];
    t->part = part;
    t->begins = true;
    if (!decode_is_text(p))
        return;
    t->decoder = decoder_new(p);
    t->failed |= !t->decoder;
}

static void tell_header(struct transcript *t, struct transcript_event *ret_event)
{
    t->has_header = false;
    *ret_event = (struct transcript_event){
        .part = t->part,
        .begins = true,
        .is_header = true,
        .text = decode_header(t->header, &t->scratch),
        .header = t->header,
    };
    start_part(t, t->part);
}

static void tell_body(struct transcript *t, struct transcript_event *ret_event)
{
    struct str piece = str_sub(t->body, 0, DECODE_PIECE_MAX);
    t->body = str_skip(t->body, piece.len);
    *ret_event = (struct transcript_event){
        .part = t->part,
        .begins = t->begins,
        .text = decoder_write(t->decoder, piece, false),
    };
    t->begins = false;
}

/* What is left over from the last event of the parser. */
static bool tell_pending(struct transcript *t, struct transcript_event *ret_event)
{
    if (t->body.len > 0) {
        tell_body(t, ret_event);
        return true;
    }
    if (t->has_header)
        tell_header(t, ret_event);
    else
        return false;
    return true;
}

/* True where the event is worth an event of ours. */
static bool see(struct transcript *t, const struct mime_event *event,
                struct transcript_event *ret_event)
{
    if (event->kind == MIME_BODY) {
        t->body = t->decoder && event->part == t->part ? event->bytes : (struct str){0};
        return tell_pending(t, ret_event);
    }
    bool rest = end_decoder(t, ret_event);
    t->part = event->part;
    t->header = event->bytes;
    t->has_header = true;
    if (!rest)
        tell_header(t, ret_event);
    return true;
}

bool transcript_next(struct transcript *t, struct str *bytes, struct transcript_event *ret_event)
{
    if (tell_pending(t, ret_event))
        return true;
    for (;;) {
        struct mime_event event;
        mime_next(&t->mime, bytes, &event);
        if (event.kind == MIME_MORE)
            return false;
        if (see(t, &event, ret_event))
            return true;
    }
}

bool transcript_end(struct transcript *t, struct transcript_event *ret_event)
{
    struct mime_event event;
    if (tell_pending(t, ret_event))
        return true;
    while (!mime_end(&t->mime, &event))
        if (see(t, &event, ret_event))
            return true;
    return end_decoder(t, ret_event);
}
