#include "mail/decode.h"

#include <stdlib.h>

#include "base/bug.h"
#include "codec/base64.h"
#include "codec/charset.h"
#include "codec/encoded.h"
#include "codec/qp.h"
#include "mail/header.h"
#include "mail/html.h"

/* Stages that a part does not need are left out: most text is given back as it came. */
struct decoder {
    enum { TRANSFER_NONE, TRANSFER_BASE64, TRANSFER_QP } transfer;
    bool has_charset;
    bool is_html;
    struct base64_decoder base64;
    struct qp_decoder qp;
    struct charset_decoder charset;
    struct html_stripper html;
    struct buf bytes; /* behind each stage */
    struct buf text;
    struct buf plain;
};

/* Twelve times a piece is more than any stage makes of it. */
enum { STAGE_SIZE_MAX = 12 * 12 * DECODE_PIECE_MAX };

bool decode_is_text(const struct structure_part *part)
{
    return str_eq(part->type, STR("text")) && !part->is_multipart && !part->is_message;
}

static bool is_utf8_name(struct str charset)
{
    return charset.len == 0 || str_eq_nocase(charset, STR("utf-8")) ||
           str_eq_nocase(charset, STR("us-ascii"));
}

static void open_charset(struct decoder *d, struct str name)
{
    if (is_utf8_name(name))
        return;
    if (charset_open(&d->charset, name) == STATUS_OK)
        d->has_charset = true;
    else
        charset_close(&d->charset);
}

struct decoder *decoder_new(const struct structure_part *part)
{
    struct decoder *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    if (str_eq(part->encoding, STR("base64")))
        d->transfer = TRANSFER_BASE64;
    else if (str_eq(part->encoding, STR("quoted-printable")))
        d->transfer = TRANSFER_QP;
    d->is_html = str_eq(part->subtype, STR("html"));
    open_charset(d, structure_param_of(part->params, part->param_count, STR("charset")));
    buf_init(&d->bytes, STAGE_SIZE_MAX);
    buf_init(&d->text, STAGE_SIZE_MAX);
    buf_init(&d->plain, STAGE_SIZE_MAX);
    return d;
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    if (d->has_charset)
        charset_close(&d->charset);
    buf_release(&d->bytes);
    buf_release(&d->text);
    buf_release(&d->plain);
    free(d);
}

static struct str decode_transfer(struct decoder *d, struct str in, bool last)
{
    if (d->transfer == TRANSFER_NONE)
        return in;
    buf_clear(&d->bytes);
    if (d->transfer == TRANSFER_BASE64) {
        base64_decode_body(&d->base64, &d->bytes, in);
    } else {
        qp_decode(&d->qp, &d->bytes, in);
        if (last)
            qp_decode_end(&d->qp, &d->bytes);
    }
    return buf_str(&d->bytes);
}

static struct str decode_charset(struct decoder *d, struct str in, bool last)
{
    if (!d->has_charset)
        return in;
    buf_clear(&d->text);
    charset_decode(&d->charset, &d->text, in);
    if (last)
        charset_decode_end(&d->charset, &d->text);
    return buf_str(&d->text);
}

static struct str strip_html(struct decoder *d, struct str in, bool last)
{
    if (!d->is_html)
        return in;
    buf_clear(&d->plain);
    html_strip(&d->html, &d->plain, in);
    if (last)
        html_strip_end(&d->html, &d->plain);
    return buf_str(&d->plain);
}

struct str decoder_write(struct decoder *d, struct str bytes, bool last)
{
    invariant(bytes.len <= DECODE_PIECE_MAX);
    return strip_html(d, decode_charset(d, decode_transfer(d, bytes, last), last), last);
}

struct str decode_header(struct str block, struct buf *scratch)
{
    if (str_find(block, STR("=?")) < 0)
        return block;
    struct header_cursor cursor = header_cursor_at(block);
    struct header_field field;
    buf_clear(scratch);
    while (header_next(&cursor, &field)) {
        struct str value = str_trim(field.value);
        buf_append_str(scratch, field.name);
        buf_append_str(scratch, STR(": "));
        if (str_find(value, STR("=?")) < 0)
            buf_append_str(scratch, value);
        else
            encoded_decode(scratch, value);
        buf_append_byte(scratch, '\n');
    }
    return buf_str(scratch);
}
