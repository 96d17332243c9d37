#include "mail/header.h"

#include "base/bug.h"

/* Fields stand in order inside the block; nothing unfolded, and nothing we write, ends a line. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reading(struct str block)
{
    struct header_cursor cursor = header_cursor_at(block);
    struct header_field field;
    struct header_facts facts;
    struct buf out;
    size_t end = 0;
    buf_init(&out, block.len + 1);
    while (header_next(&cursor, &field)) {
        invariant(field.offset >= end && field.size > 0);
        end = field.offset + field.size;
        invariant(end <= block.len && field.name.len > 0);
        buf_clear(&out);
        invariant(header_unfold(&out, field.value));
        invariant(str_find_byte(buf_str(&out), '\n') < 0);
        invariant(str_find_byte(buf_str(&out), '\r') < 0);
    }
    invariant(cursor.at <= block.len);
    header_facts_of(block, &facts);
    buf_release(&out);
}

static void check_writing(struct str s)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    struct received_facts f = {.helo = text_from(s),
                               .rdns = text_from(s),
                               .peer = STR("192.0.2.1"),
                               .host = STR("mx"),
                               .protocol = STR("SMTP"),
                               .id = STR("1")};
    invariant(header_put_received(&out, &f));
    struct header_cursor cursor = header_cursor_at(buf_str(&out));
    struct header_field field;
    invariant(header_next(&cursor, &field) && field.size == out.len);
    buf_clear(&out);
    buf_append_str(&out, STR("X: "));
    invariant(text_to_header(&out, text_from(s), 5000));
    buf_append_str(&out, STR("\r\n"));
    cursor = header_cursor_at(buf_str(&out));
    invariant(header_next(&cursor, &field) && field.size == out.len);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_reading(str_make(data, size));
    check_writing(str_make(data, size));
    return 0;
}
