#include "mail/dsn.h"

#include <stdlib.h>

#include "base/bug.h"
#include "codec/utf8.h"
#include "mail/mime.h"

/*
 * Whatever strangers say (the input, cut at 0xFF into the fields of a report): lines end as they
 * must and are short enough, the parts are those of a report, and no field that was not meant
 * appears.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct text take(struct str *rest)
{
    struct str part = {0};
    str_split(rest, (char)0xFF, &part);
    return text_from(part);
}

static void check_lines(struct str report, bool is_ascii)
{
    struct str line;
    size_t actions = 0;
    bool in_fields = false;
    invariant(str_find_byte(report, '\0') < 0);
    invariant(!is_ascii || utf8_is_ascii(report));
    while (str_split(&report, '\n', &line)) {
        invariant(line.len > 0 && line.len <= 999 && line.ptr[line.len - 1] == '\r');
        invariant(str_find_byte(line, '\r') == (ptrdiff_t)line.len - 1);
        in_fields |= str_starts(line, STR("Content-Type: message/"));
        actions += in_fields && str_starts(line, STR("Action:"));
    }
    invariant(actions == 1);
}

static void check_parts(struct str report)
{
    struct mime_parser *p = malloc(sizeof *p);
    struct arena arena;
    struct mime_event event;
    const struct structure *s;
    arena_init(&arena, 16 << 20);
    mime_init(p, &arena);
    do
        mime_next(p, &report, &event);
    while (event.kind != MIME_MORE);
    while (!mime_end(p, &event))
        ;
    invariant(mime_structure(p, &s) == STATUS_OK);
    invariant(s->count == 3 && s->parts[0].is_multipart);
    invariant(str_eq(s->parts[1].subtype, STR("plain")));
    invariant(str_ends(s->parts[2].subtype, STR("delivery-status")));
    mime_release(p);
    arena_reset(&arena);
    free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_make(data, size);
    struct buf out;
    struct dsn_recipient r = {.action = DSN_FAILED};
    struct dsn dsn = {.host = STR("mx.a.example"),
                      .id = STR("id"),
                      .boundary = STR("=_0123456789abcdef0123456789abcdef"),
                      .now_ms = 1739485890000,
                      .utf8 = size > 0 && data[0] % 2,
                      .recipients = &r,
                      .count = 1};
    r.is_reply = dsn.utf8;
    r.words = take(&rest);
    r.address = take(&rest);
    r.original = take(&rest);
    r.remote = take(&rest);
    dsn.envid = take(&rest);
    dsn.sender = take(&rest);
    r.status = text_peek(take(&rest));
    dsn.header = rest;
    if (str_find(str_make(data, size), dsn.boundary) >= 0)
        return 0; /* nobody can have guessed it */
    buf_init(&out, DSN_SIZE_MAX(1));
    invariant(dsn_begin(&out, &dsn) && dsn_end(&out, &dsn));
    check_lines(buf_str(&out), !dsn_needs_8bit(&dsn) && !dsn_needs_utf8(&dsn));
    check_parts(buf_str(&out));
    buf_release(&out);
    return 0;
}
