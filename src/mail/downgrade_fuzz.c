#include "mail/downgrade.h"

#include <stdlib.h>

#include "base/bug.h"
#include "codec/base64.h"
#include "codec/qp.h"
#include "mail/mime.h"

/*
 * Whole and in pieces give the same; nothing that the transport does not take comes out; what comes
 * out decodes to the same leaves, and is not changed a second time.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 64 << 20 };

static enum downgrade_result convert(struct str message, size_t piece, enum downgrade_target target,
                                     struct buf *out)
{
    struct downgrade *d = downgrade_new(target);
    enum downgrade_result result = DOWNGRADE_OK;
    buf_init(out, OUT_MAX);
    for (; message.len > 0 && result == DOWNGRADE_OK; message = str_skip(message, piece))
        result = downgrade_write(d, str_sub(message, 0, piece), out);
    if (result == DOWNGRADE_OK)
        result = downgrade_end(d, out);
    downgrade_free(d);
    return result;
}

/* ---- the decoded leaves, one behind the other ---- */

static void put_decoded(struct buf *out, const struct structure_part *part, struct str body)
{
    struct qp_decoder qp = {0};
    struct base64_decoder base64 = {0};
    buf_append_str(out, STR("\n[leaf]\n"));
    if (str_eq(part->encoding, STR("base64"))) {
        base64_decode_body(&base64, out, body);
    } else if (str_eq(part->encoding, STR("quoted-printable"))) {
        qp_decode(&qp, out, body);
        qp_decode_end(&qp, out);
    } else {
        buf_append_str(out, body);
    }
}

static void decode_leaves(struct str message, struct buf *out)
{
    struct arena arena;
    struct mime_parser *p = malloc(sizeof *p);
    struct mime_event event;
    const struct structure *s;
    struct str rest = message;
    buf_init(out, OUT_MAX);
    arena_init(&arena, 16 << 20);
    mime_init(p, &arena);
    do
        mime_next(p, &rest, &event);
    while (event.kind != MIME_MORE);
    while (!mime_end(p, &event))
        ;
    invariant(mime_structure(p, &s) == STATUS_OK);
    for (uint32_t i = 0; i < s->count; i++) {
        const struct structure_part *part = &s->parts[i];
        if (!part->is_multipart && !part->is_message)
            put_decoded(out, part, str_sub(message, part->body_offset, part->body_size));
    }
    mime_release(p);
    arena_reset(&arena);
    free(p);
}

static void check_leaves(struct str message, struct str converted)
{
    struct buf before, after;
    decode_leaves(message, &before);
    decode_leaves(converted, &after);
    invariant(str_eq(buf_str(&before), buf_str(&after)));
    buf_release(&before);
    buf_release(&after);
}

static void check(struct str message, size_t piece, enum downgrade_target target)
{
    struct buf whole, pieces, again;
    enum downgrade_result result = convert(message, message.len + 1, target, &whole);
    invariant(convert(message, piece, target, &pieces) == result);
    if (result == DOWNGRADE_OK) {
        invariant(str_eq(buf_str(&whole), buf_str(&pieces)));
        invariant(str_find_byte(buf_str(&whole), '\0') < 0);
        check_leaves(message, buf_str(&whole));
        invariant(convert(buf_str(&whole), piece, target, &again) == DOWNGRADE_OK);
        invariant(str_eq(buf_str(&whole), buf_str(&again)));
        buf_release(&again);
    }
    buf_release(&whole);
    buf_release(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str message = str_make(data, size);
    size_t piece = size ? 1 + data[size / 2] % 40 : 1;
    check(message, piece, DOWNGRADE_TO_7BIT);
    check(message, piece, DOWNGRADE_TO_8BIT);
    return 0;
}
