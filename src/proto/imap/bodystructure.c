#include <inttypes.h>

#include "proto/imap/fetch.h"
#include "proto/imap/reply.h"

/* BODY and BODYSTRUCTURE: RFC 3501 §7.4.2 and §9 (body). Types are written in capitals. */

static void put_upper(struct buf *out, struct str s)
{
    struct buf upper;
    buf_init(&upper, s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        buf_append_byte(&upper, ascii_upper(s.ptr[i]));
    out->failed |= upper.failed;
    imap_put_string(out, buf_str(&upper));
    buf_release(&upper);
}

/* body-fld-param = "(" string SP string *(SP string SP string) ")" / nil */
static void put_params(struct buf *out, const struct structure_param *params, size_t count)
{
    if (!count) {
        buf_append_str(out, STR("NIL"));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        buf_append_byte(out, i ? ' ' : '(');
        put_upper(out, params[i].name);
        buf_append_byte(out, ' ');
        imap_put_string(out, params[i].value);
    }
    buf_append_byte(out, ')');
}

/* body-fld-dsp = "(" string SP body-fld-param ")" / nil */
static void put_disposition(struct buf *out, const struct structure_part *p)
{
    if (!p->disposition.ptr) {
        buf_append_str(out, STR("NIL"));
        return;
    }
    buf_append_byte(out, '(');
    put_upper(out, p->disposition);
    buf_append_byte(out, ' ');
    put_params(out, p->disposition_params, p->disposition_param_count);
    buf_append_byte(out, ')');
}

/* body-fld-lang = nstring / "(" string *(SP string) ")" */
static void put_language(struct buf *out, struct str value)
{
    struct str tag;
    bool any = false;
    while (str_split(&value, ',', &tag)) {
        tag = str_trim(tag);
        if (str_empty(tag))
            continue;
        buf_append_byte(out, any ? ' ' : '(');
        imap_put_string(out, tag);
        any = true;
    }
    buf_append_str(out, any ? STR(")") : STR("NIL"));
}

/* SP body-fld-dsp SP body-fld-lang SP body-fld-loc */
static void put_extension(struct buf *out, const struct structure_part *p)
{
    buf_append_byte(out, ' ');
    put_disposition(out, p);
    buf_append_byte(out, ' ');
    put_language(out, p->language);
    buf_append_byte(out, ' ');
    imap_put_nstring(out, p->location);
}

/* body-fields = params SP id SP desc SP enc SP octets */
static void put_fields(struct buf *out, const struct structure_part *p)
{
    put_upper(out, p->type);
    buf_append_byte(out, ' ');
    put_upper(out, p->subtype);
    buf_append_byte(out, ' ');
    put_params(out, p->params, p->param_count);
    buf_append_byte(out, ' ');
    imap_put_nstring(out, p->id);
    buf_append_byte(out, ' ');
    imap_put_nstring(out, p->description);
    buf_append_byte(out, ' ');
    put_upper(out, p->encoding);
    buf_printf(out, " %" PRIu64, p->body_size);
}

static void put_part(struct buf *out, const struct structure *s, uint32_t index, bool extended);

/* body-type-mpart = 1*body SP media-subtype [SP params SP extension] */
static void put_multipart(struct buf *out, const struct structure *s,
                          const struct structure_part *p, bool extended)
{
    for (uint32_t child = p->first_child; child != PART_NONE; child = s->parts[child].next_sibling)
        put_part(out, s, child, extended);
    buf_append_byte(out, ' ');
    put_upper(out, p->subtype);
    if (!extended)
        return;
    buf_append_byte(out, ' ');
    put_params(out, p->params, p->param_count);
    put_extension(out, p);
}

/* body-type-1part; media-message adds envelope, body and lines, media-text lines. */
static void put_single(struct buf *out, const struct structure *s, const struct structure_part *p,
                       bool extended)
{
    put_fields(out, p);
    if (p->is_message) {
        buf_append_byte(out, ' ');
        imap_put_envelope(out, s->parts[p->first_child].envelope);
        buf_append_byte(out, ' ');
        put_part(out, s, p->first_child, extended);
    }
    if (p->is_message || str_eq(p->type, STR("text")))
        buf_printf(out, " %" PRIu64, p->lines);
    if (!extended)
        return;
    buf_append_byte(out, ' ');
    imap_put_nstring(out, p->md5);
    put_extension(out, p);
}

/* Recursion ends: the structure is at most LIMIT_MIME_DEPTH deep. */
static void put_part(struct buf *out, const struct structure *s, uint32_t index, bool extended)
{
    const struct structure_part *p = &s->parts[index];
    buf_append_byte(out, '(');
    if (p->is_multipart)
        put_multipart(out, s, p, extended);
    else
        put_single(out, s, p, extended);
    buf_append_byte(out, ')');
}

void imap_put_bodystructure(struct buf *out, const struct structure *s, bool extended)
{
    put_part(out, s, 0, extended);
}
