#include "mail/dsn.h"

#include "base/bug.h"
#include "codec/date.h"
#include "codec/qp.h"
#include "codec/utf8.h"
#include "mail/dsn_text.h"
#include "mail/header.h"

enum { MESSAGE_ID_MAX = 700, ORIGINAL_LEN_MAX = 500, ENVID_LEN_MAX = 200, HOST_LEN_MAX = 255 };

/* ---- what kind of report it is ---- */

static bool is_ascii(struct text t)
{
    return utf8_is_ascii(text_peek(t));
}

bool dsn_needs_utf8(const struct dsn *dsn)
{
    struct mailbox_address to;
    return address_parse_mailbox(text_peek(dsn->sender), &to) == ADDRESS_OK && to.is_utf8;
}

/* RFC 6533 §3: the types for international mail, where an address or the original is such. */
static bool is_global(const struct dsn *dsn)
{
    bool global = dsn->utf8 || dsn_needs_utf8(dsn);
    for (size_t i = 0; i < dsn->count; i++)
        global |= !is_ascii(dsn->recipients[i].address);
    return global;
}

/* ---- fields that strangers have a hand in ---- */

/* "Name: type; words", folded. */
static void put_field(struct buf *out, const char *name, const char *type, struct text words,
                      size_t len_max, bool ascii)
{
    struct buf line;
    buf_init(&line, 4 * len_max + 1024);
    dsn_line(&line, words, len_max, ascii);
    buf_printf(out, "%s: %s", name, type);
    text_to_header(out, text_from(buf_str(&line)), line.len);
    buf_append_str(out, STR("\r\n"));
    out->failed |= line.failed;
    buf_release(&line);
}

static void put_date(struct buf *out, const char *name, int64_t ms)
{
    if (ms == 0)
        return;
    buf_printf(out, "%s: ", name);
    date_format_mail(out, ms, 0);
    buf_append_str(out, STR("\r\n"));
}

/* The original's Message-ID where it is one; the header may be anything. */
static void put_references(struct buf *out, const struct dsn *dsn)
{
    struct header_field field;
    struct buf id;
    if (!header_find(dsn->header, STR("Message-ID"), &field))
        return;
    buf_init(&id, 2 * MESSAGE_ID_MAX);
    bool ok = header_unfold(&id, str_sub(field.value, 0, MESSAGE_ID_MAX + 1)) &&
              id.len <= MESSAGE_ID_MAX && str_starts(buf_str(&id), STR("<")) &&
              str_ends(buf_str(&id), STR(">"));
    for (size_t i = 0; i < id.len; i++)
        ok &= id.ptr[i] > ' ' && id.ptr[i] < 0x7F;
    if (ok)
        buf_printf(out, "In-Reply-To: %.*s\r\nReferences: %.*s\r\n", STR_ARG(buf_str(&id)),
                   STR_ARG(buf_str(&id)));
    buf_release(&id);
}

/* ---- the report's header ---- */

static void put_to(struct buf *out, const struct dsn *dsn)
{
    struct mailbox_address to;
    if (address_parse_mailbox(text_peek(dsn->sender), &to) != ADDRESS_OK) {
        buf_append_str(out, STR("To: undisclosed-recipients:;\r\n"));
        return;
    }
    buf_append_str(out, STR("To: <"));
    address_print(out, &to);
    buf_append_str(out, STR(">\r\n"));
}

static void put_subject(struct buf *out, const struct dsn *dsn)
{
    static const char *const subjects[] = {
        [DSN_FAILED] = "Undelivered mail",  [DSN_DELAYED] = "Delayed mail",
        [DSN_DELIVERED] = "Delivered mail", [DSN_RELAYED] = "Mail passed on",
        [DSN_EXPANDED] = "Mail passed on",
    };
    struct text first = dsn->recipients[0].address;
    buf_printf(out, "Subject: %s", subjects[dsn_main_action(dsn)]);
    if (is_ascii(first) || dsn_needs_utf8(dsn)) {
        buf_append_str(out, STR(": your message to\r\n "));
        dsn_address(out, first, false);
        if (dsn->count > 1)
            buf_printf(out, " and %zu more", dsn->count - 1);
    }
    buf_append_str(out, STR("\r\n"));
}

/*
 * RFC 3464 §2 asks for a From that a person reads; RFC 3834 §3.1.7, §5 for what tells machines not
 * to answer.
 */
static void put_header(struct buf *out, const struct dsn *dsn)
{
    buf_printf(out, "From: Mail Delivery System <postmaster@%.*s>\r\n", STR_ARG(dsn->host));
    put_to(out, dsn);
    put_subject(out, dsn);
    put_date(out, "Date", dsn->now_ms);
    header_put_message_id(out, dsn->id, dsn->host);
    put_references(out, dsn);
    buf_append_str(out, STR("Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"));
    buf_printf(out,
               "Content-Type: multipart/report; report-type=delivery-status;\r\n"
               "\tboundary=\"%.*s\"\r\n",
               STR_ARG(dsn->boundary));
    if (dsn_needs_8bit(dsn))
        buf_append_str(out, STR("Content-Transfer-Encoding: 8bit\r\n"));
    buf_append_str(out, STR("\r\n"));
}

/* ---- the parts ---- */

static void put_delimiter(struct buf *out, const struct dsn *dsn)
{
    buf_printf(out, "--%.*s\r\n", STR_ARG(dsn->boundary));
}

static void put_text_part(struct buf *out, const struct dsn *dsn)
{
    struct buf text;
    struct qp_encoder qp = {0};
    buf_init(&text, DSN_SIZE_MAX(dsn->count));
    put_delimiter(out, dsn);
    out->failed |= !dsn_text_put(&text, dsn);
    bool ascii = utf8_is_ascii(buf_str(&text));
    buf_printf(out,
               "Content-Type: text/plain; charset=%s\r\n"
               "Content-Transfer-Encoding: %s\r\n\r\n",
               ascii ? "us-ascii" : "utf-8", ascii ? "7bit" : "quoted-printable");
    if (ascii) {
        buf_append_str(out, buf_str(&text));
    } else {
        qp_encode(&qp, out, buf_str(&text));
        qp_encode_end(&qp, out);
    }
    buf_append_str(out, STR("\r\n"));
    buf_release(&text);
}

/*
 * status-code = DIGIT "." 1*3DIGIT "." 1*3DIGIT                       RFC 3464 §2.3.4
 *
 * A failure may have class 4: what was temporary for too long (RFC 3463 §2).
 */
static bool is_status_for(struct str status, enum dsn_action action)
{
    struct str rest = str_skip(status, 2), part;
    uint64_t value;
    char class = status.len > 2 ? status.ptr[0] : 0;
    bool fits = action == DSN_FAILED    ? class == '5' || class == '4'
                : action == DSN_DELAYED ? class == '4'
                                        : class == '2';
    size_t parts = 0;
    while (fits && str_split(&rest, '.', &part)) {
        fits = part.len <= 3 && str_to_u64(part, 999, &value);
        parts++;
    }
    return fits && status.ptr[1] == '.' && parts == 2 && !str_ends(status, STR("."));
}

static void put_status(struct buf *out, const struct dsn_recipient *r)
{
    static const char *const fallbacks[] = {
        [DSN_FAILED] = "5.0.0",  [DSN_DELAYED] = "4.0.0",  [DSN_DELIVERED] = "2.0.0",
        [DSN_RELAYED] = "2.0.0", [DSN_EXPANDED] = "2.0.0",
    };
    struct str status =
        is_status_for(r->status, r->action) ? r->status : str_from_c(fallbacks[r->action]);
    buf_printf(out, "Status: %.*s\r\n", STR_ARG(status));
}

/* mta-name-type ";" mta-name (RFC 3464 §2.3.5): the name without what we say of its address. */
static void put_remote(struct buf *out, struct text remote)
{
    struct str name = str_sub(text_peek(remote), 0, HOST_LEN_MAX);
    ptrdiff_t space = str_find_byte(name, ' ');
    if (space >= 0)
        name.len = (size_t)space;
    if (name.len == 0)
        return;
    buf_append_str(out, STR("Remote-MTA: dns; "));
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool usual = ascii_is_alpha(c) || ascii_is_digit(c) || (c && strchr("-._:[]", c));
        buf_append_byte(out, usual ? c : '?');
    }
    buf_append_str(out, STR("\r\n"));
}

/* RFC 3464 §2.3; the address type utf-8 is RFC 6533's §3. */
static void put_recipient_fields(struct buf *out, const struct dsn_recipient *r, size_t quote_max,
                                 bool ascii)
{
    static const char *const actions[] = {
        [DSN_FAILED] = "failed",   [DSN_DELAYED] = "delayed",   [DSN_DELIVERED] = "delivered",
        [DSN_RELAYED] = "relayed", [DSN_EXPANDED] = "expanded",
    };
    buf_append_str(out, STR("\r\n"));
    /* An address that is cut is none. */
    if (str_find_byte(text_peek(r->original), ';') > 0 &&
        text_peek(r->original).len <= ORIGINAL_LEN_MAX)
        put_field(out, "Original-Recipient", "", r->original, ORIGINAL_LEN_MAX, ascii);
    buf_printf(out, "Final-Recipient: %s; ", is_ascii(r->address) ? "rfc822" : "utf-8");
    dsn_address(out, r->address, ascii);
    buf_printf(out, "\r\nAction: %s\r\n", actions[r->action]);
    put_status(out, r);
    put_remote(out, r->remote);
    if (text_peek(r->words).len > 0)
        put_field(out, "Diagnostic-Code", r->is_reply ? "smtp; " : "x-postern; ", r->words,
                  quote_max, ascii);
    put_date(out, "Last-Attempt-Date", r->attempt_ms);
    if (r->action == DSN_DELAYED)
        put_date(out, "Will-Retry-Until", r->until_ms);
}

/* RFC 3464 §2.2, and a block for each recipient. */
static void put_fields(struct buf *out, const struct dsn *dsn)
{
    bool ascii = !is_global(dsn);
    if (text_peek(dsn->envid).len > 0)
        put_field(out, "Original-Envelope-Id", "", dsn->envid, ENVID_LEN_MAX, ascii);
    buf_printf(out, "Reporting-MTA: dns; %.*s\r\n", STR_ARG(dsn->host));
    put_date(out, "Arrival-Date", dsn->arrival_ms);
    for (size_t i = 0; i < dsn->count; i++)
        put_recipient_fields(out, &dsn->recipients[i], dsn_quote_max(dsn), ascii);
}

/* In a report of ASCII there are only ASCII fields, so only a global one can hold more. */
static bool fields_are_ascii(const struct dsn *dsn)
{
    bool ascii = is_ascii(dsn->envid);
    for (size_t i = 0; i < dsn->count; i++) {
        const struct dsn_recipient *r = &dsn->recipients[i];
        ascii = ascii && is_ascii(r->address) && is_ascii(r->original) && is_ascii(r->words);
    }
    return ascii || !is_global(dsn);
}

bool dsn_needs_8bit(const struct dsn *dsn)
{
    return !fields_are_ascii(dsn) || (dsn->part != DSN_PART_NONE && dsn->part_is_8bit);
}

static void put_fields_part(struct buf *out, const struct dsn *dsn)
{
    put_delimiter(out, dsn);
    buf_printf(out, "Content-Type: message/%sdelivery-status\r\n", is_global(dsn) ? "global-" : "");
    if (!fields_are_ascii(dsn))
        buf_append_str(out, STR("Content-Transfer-Encoding: 8bit\r\n"));
    buf_append_str(out, STR("\r\n"));
    put_fields(out, dsn);
    buf_append_str(out, STR("\r\n"));
}

static void put_original_part(struct buf *out, const struct dsn *dsn)
{
    static const char *const types[2][2] = {
        {"text/rfc822-headers", "message/global-headers"},
        {"message/rfc822", "message/global"},
    };
    if (dsn->part == DSN_PART_NONE)
        return;
    put_delimiter(out, dsn);
    buf_printf(out, "Content-Type: %s\r\n", types[dsn->part == DSN_PART_MESSAGE][is_global(dsn)]);
    if (dsn->part_is_8bit)
        buf_append_str(out, STR("Content-Transfer-Encoding: 8bit\r\n"));
    buf_append_str(out, STR("\r\n"));
}

bool dsn_begin(struct buf *out, const struct dsn *dsn)
{
    invariant(dsn->count > 0 && dsn->boundary.len > 0);
    put_header(out, dsn);
    put_text_part(out, dsn);
    put_fields_part(out, dsn);
    put_original_part(out, dsn);
    return !out->failed;
}

bool dsn_end(struct buf *out, const struct dsn *dsn)
{
    const char *eol = dsn->part == DSN_PART_NONE ? "" : "\r\n";
    return buf_printf(out, "%s--%.*s--\r\n", eol, STR_ARG(dsn->boundary)) && !out->failed;
}
