#include "proto/imap/reply.h"

#include <inttypes.h>

#include "proto/imap/parse.h"
#include "proto/imap/utf7.h"

static const struct imap_reply replies[IMAP_CODE_COUNT] = {
    [IMAP_OK] = {"OK", NULL, NULL},
    [IMAP_NO] = {"NO", NULL, "Cannot be done"},
    [IMAP_NONEXISTENT] = {"NO", "NONEXISTENT", "No such mailbox"},
    [IMAP_TRYCREATE] = {"NO", "TRYCREATE", "No such mailbox; it can be created"},
    [IMAP_ALREADYEXISTS] = {"NO", "ALREADYEXISTS", "Mailbox exists already"},
    [IMAP_HASCHILDREN] = {"NO", "HASCHILDREN", "Mailbox has mailboxes below it"},
    [IMAP_CANNOT] = {"NO", "CANNOT", "Not possible with this name"},
    [IMAP_NOPERM] = {"NO", "NOPERM", "Permission denied"},
    [IMAP_OVERQUOTA] = {"NO", "OVERQUOTA", "Quota exceeded"},
    [IMAP_LIMIT] = {"NO", "LIMIT", "A limit of the server would be exceeded"},
    [IMAP_INUSE] = {"NO", "INUSE", "In use by somebody else, try again later"},
    [IMAP_EXPUNGED] = {"OK", "EXPUNGEISSUED", "Done, but some of the messages are gone"},
    [IMAP_UNAVAILABLE] = {"NO", "UNAVAILABLE", "Not available now, try again later"},
    [IMAP_SERVERBUG] = {"NO", "SERVERBUG", "Stored data cannot be read"},
    [IMAP_TOOBIG] = {"NO", "TOOBIG", "Message too large"},
    [IMAP_BADMESSAGE] = {"NO", "CANNOT", "Not a message that can be kept: NUL or a bare CR or LF"},
    [IMAP_AUTHENTICATIONFAILED] = {"NO", "AUTHENTICATIONFAILED", "Wrong name or password"},
    [IMAP_AUTHORIZATIONFAILED] = {"NO", "AUTHORIZATIONFAILED", "May not act as that person"},
    [IMAP_EXPIRED] = {"NO", "EXPIRED", "Account is disabled or expired"},
    [IMAP_USEATTR] = {"NO", "USEATTR", "Special use is not possible"},
    [IMAP_BADMECHANISM] = {"NO", "CANNOT", "No such mechanism"},
    [IMAP_BADSASL] = {"BAD", NULL, "Authentication exchange makes no sense"},
    [IMAP_PRIVACYREQUIRED] = {"NO", "PRIVACYREQUIRED", "Use TLS first"},
    [IMAP_BADCHARSET] = {"NO", "BADCHARSET (US-ASCII UTF-8)", "Unknown charset"},
    [IMAP_READ_ONLY] = {"NO", NULL, "Mailbox was opened read-only"},
    [IMAP_BAD] = {"BAD", NULL, "Syntax error"},
};

const struct imap_reply *imap_reply_of(enum imap_code code)
{
    return &replies[code];
}

enum imap_code imap_code_from_status(enum status_code status)
{
    switch (status) {
    case STATUS_OK:
        return IMAP_OK;
    case STATUS_NOT_FOUND:
        return IMAP_NONEXISTENT;
    case STATUS_EXISTS:
        return IMAP_ALREADYEXISTS;
    case STATUS_DENIED:
        return IMAP_NOPERM;
    case STATUS_INVALID:
        return IMAP_CANNOT;
    case STATUS_OVER_QUOTA:
        return IMAP_OVERQUOTA;
    case STATUS_TOO_BIG:
        return IMAP_LIMIT;
    case STATUS_CORRUPT:
    case STATUS_UNSUPPORTED:
        return IMAP_SERVERBUG;
    default:
        return IMAP_UNAVAILABLE;
    }
}

/* QUOTED-CHAR is TEXT-CHAR (7 bits, no CR, LF, NUL) or an escape. */
static bool fits_quotes(struct str s)
{
    if (s.len > 1000)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if ((signed char)s.ptr[i] <= 0 || s.ptr[i] == '\r' || s.ptr[i] == '\n')
            return false;
    return true;
}

static void put_quoted(struct buf *out, struct str s)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"' || s.ptr[i] == '\\')
            buf_append_byte(out, '\\');
        buf_append_byte(out, s.ptr[i]);
    }
    buf_append_byte(out, '"');
}

void imap_put_string(struct buf *out, struct str s)
{
    if (fits_quotes(s)) {
        put_quoted(out, s);
        return;
    }
    if (str_find_byte(s, 0) < 0) {
        buf_printf(out, "{%zu}\r\n", s.len);
        buf_append_str(out, s);
        return;
    }
    buf_printf(out, "{%zu}\r\n", s.len);
    for (size_t i = 0; i < s.len; i++)
        buf_append_byte(out, s.ptr[i] ? s.ptr[i] : ' ');
}

void imap_put_nstring(struct buf *out, struct str s)
{
    if (s.ptr)
        imap_put_string(out, s);
    else
        buf_append_str(out, STR("NIL"));
}

void imap_put_astring(struct buf *out, struct str s)
{
    bool is_atom = s.len > 0 && s.len <= 255 && !str_eq_nocase(s, STR("NIL"));
    for (size_t i = 0; is_atom && i < s.len; i++)
        is_atom = imap_is_atom_char(s.ptr[i]);
    if (is_atom)
        buf_append_str(out, s);
    else
        imap_put_string(out, s);
}

void imap_put_mailbox(struct buf *out, struct str utf8)
{
    struct buf wire;
    buf_init(&wire, utf8.len * 6 + 8);
    imap_utf7_encode(&wire, utf8);
    out->failed |= wire.failed;
    imap_put_astring(out, buf_str(&wire));
    buf_release(&wire);
}

void imap_put_flags(struct buf *out, uint8_t flags, struct str keywords, bool recent)
{
    const char *gap = "";
    buf_append_byte(out, '(');
    for (uint8_t flag = 1; flag & IMAP_FLAGS_ALL; flag = (uint8_t)(flag << 1)) {
        if (!(flags & flag))
            continue;
        buf_printf(out, "%s%s", gap, imap_flag_name(flag));
        gap = " ";
    }
    if (recent) {
        buf_printf(out, "%s\\Recent", gap);
        gap = " ";
    }
    if (!str_empty(keywords)) {
        buf_append_str(out, str_from_c(gap));
        buf_append_str(out, keywords);
    }
    buf_append_byte(out, ')');
}

void imap_put_set(struct buf *out, struct imap_set set)
{
    for (size_t i = 0; i < set.count; i++) {
        buf_printf(out, "%s%" PRIu32, i ? "," : "", set.ranges[i].first);
        if (set.ranges[i].last != set.ranges[i].first)
            buf_printf(out, ":%" PRIu32, set.ranges[i].last);
    }
}
