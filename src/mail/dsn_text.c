#include "mail/dsn_text.h"

#include "base/text.h"
#include "codec/date.h"
#include "codec/encoded.h"
#include "codec/utf8.h"
#include "mail/header.h"

enum { WORD_LEN_MAX = 200, TEXT_LINE_LEN = 72, FIELD_LEN_MAX = 300 };

/* ---- strangers' words ---- */

static bool is_gap(uint32_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool dsn_line(struct buf *out, struct text words, size_t len_max, bool ascii)
{
    struct str rest = utf8_prefix(text_peek(words), len_max);
    size_t word = 0;
    bool gap = false, any = false;
    while (rest.len > 0) {
        uint32_t c;
        bool valid = utf8_next(&rest, &c);
        if (is_gap(c)) {
            gap = any;
            continue;
        }
        if (text_is_control(c))
            continue;
        if (gap || word >= WORD_LEN_MAX) {
            buf_append_byte(out, ' ');
            word = 0;
        }
        utf8_put(out, valid && (c < 0x7F || !ascii) ? c : '?');
        word++;
        any = true;
        gap = false;
    }
    return !out->failed;
}

bool dsn_address(struct buf *out, struct text address, bool ascii)
{
    struct mailbox_address parsed;
    bool is_address = address_parse_mailbox(text_peek(address), &parsed) == ADDRESS_OK;
    if (is_address && !(ascii && parsed.is_utf8))
        return address_print(out, &parsed);
    return dsn_line(out, address, 2 * WORD_LEN_MAX, ascii);
}

/* ---- lines ---- */

/* A paragraph of words that are on one line already, wrapped. */
static void put_wrapped(struct buf *out, struct str words, const char *indent)
{
    struct str word;
    size_t column = 0;
    while (str_split(&words, ' ', &word)) {
        if (column > 0 && column + 1 + word.len > TEXT_LINE_LEN) {
            buf_append_str(out, STR("\r\n"));
            column = 0;
        }
        struct str before = column > 0 ? STR(" ") : str_from_c(indent);
        buf_append_str(out, before);
        buf_append_str(out, word);
        column += before.len + word.len;
    }
    buf_append_str(out, STR("\r\n"));
}

static void put_quoted(struct buf *out, struct text words, size_t len_max)
{
    struct buf line;
    buf_init(&line, 4 * DSN_QUOTE_MAX);
    dsn_line(&line, words, len_max, false);
    put_wrapped(out, buf_str(&line), "    ");
    out->failed |= line.failed;
    buf_release(&line);
}

/* ---- what happened, and what to do ---- */

struct advice {
    const char *status; /* behind the class digit; the first that fits the start counts */
    const char *words;
};

static const struct advice failed_advices[] = {
    {".1.10", "That domain takes no mail at all. Check the part behind the @ for typing mistakes."},
    {".1.1", "Nobody has this address there. Check it for typing mistakes, then send the message "
             "again."},
    {".1.2", "There is no mail server for that domain. Check the part behind the @ for typing "
             "mistakes, then send the message again."},
    {".1.", "Something is wrong with the address. Check it for typing mistakes, then send the "
            "message again."},
    {".2.2", "The mailbox is full. Try again in a few days, or reach them in another way."},
    {".2.3", "The message is too large for them. Send less at once, or a link to a place where "
             "they can fetch it."},
    {".2.", "The mailbox takes no mail at the moment. Try to reach them in another way."},
    {".3.4", "The message is too large for them. Send less at once, or a link to a place where "
             "they can fetch it."},
    {".4.7", "Their server could not be reached, or did not take it, in all the time that we "
             "tried. We have given up. You can send the message again."},
    {".4.6", "The mail servers there send it in circles. Only the people who run them can mend "
             "that; try to reach them in another way."},
    {".4.4", "No mail server was found for that domain. Check the part behind the @ for typing "
             "mistakes, then send the message again."},
    {".4.", "Their mail server could not be reached. You can send the message again later."},
    {".6.7", "Their mail server does not take addresses or subjects with other letters than those "
             "of English. Send it to another address of theirs, or with plain letters."},
    {".6.", "Their mail server does not take the form this message has. Try to send it as plain "
            "text, or as an attachment."},
    {".7.30", "You asked that it travels over secure connections only, and there was none on the "
              "way. You can send it again without that wish."},
    {".7.1", "Their mail server refuses it. If its words below do not tell what to change, ask "
             "them in another way, or the people who run your mail."},
    {".7.", "Their mail server refuses it for reasons of its own. If its words below do not tell "
            "what to change, ask the people who run your mail."},
    {"", "If the words below do not tell what to change, ask the people who run your mail."},
};

static const char *advice_for(const struct dsn_recipient *r)
{
    struct str tail = str_skip(r->status, 1);
    if (r->action == DSN_DELAYED)
        return "You need not do anything: we keep trying.";
    if (r->action == DSN_RELAYED)
        return "It was handed to a mail server that does not report what it does with it. You "
               "need not do anything.";
    if (r->action == DSN_EXPANDED)
        return "It was sent on to the members of a list. You need not do anything.";
    if (r->action == DSN_DELIVERED)
        return "It is in the mailbox. You need not do anything.";
    const struct advice *a = failed_advices;
    while (!str_starts(tail, str_from_c(a->status)))
        a++;
    return a->words;
}

static const char *verdict_on(enum dsn_action action)
{
    static const char *const verdicts[] = {
        [DSN_FAILED] = "was not delivered",       [DSN_DELAYED] = "has not been delivered yet",
        [DSN_DELIVERED] = "was delivered",        [DSN_RELAYED] = "was passed on",
        [DSN_EXPANDED] = "was passed on to many",
    };
    return verdicts[action];
}

static void put_until(struct buf *out, const struct dsn_recipient *r)
{
    if (r->action != DSN_DELAYED || r->until_ms == 0)
        return;
    buf_append_str(out, STR(" We try until "));
    date_format_mail(out, r->until_ms, 0);
    buf_append_byte(out, '.');
}

static void put_recipient(struct buf *out, const struct dsn_recipient *r, size_t quote_max)
{
    struct buf line;
    buf_init(&line, 4096);
    buf_append_str(&line, STR("Your message to "));
    dsn_address(&line, r->address, false);
    buf_printf(&line, " %s. %s", verdict_on(r->action), advice_for(r));
    put_until(&line, r);
    put_wrapped(out, buf_str(&line), "");
    if (text_peek(r->words).len > 0 && r->action <= DSN_DELAYED) {
        buf_clear(&line);
        if (r->is_reply && text_peek(r->remote).len > 0) {
            buf_append_str(&line, STR("The server "));
            dsn_line(&line, r->remote, FIELD_LEN_MAX, false);
            buf_append_str(&line, STR(" said:"));
        } else {
            buf_append_str(&line, STR("The reason:"));
        }
        buf_append_str(out, STR("\r\n"));
        put_wrapped(out, buf_str(&line), "");
        buf_append_str(out, STR("\r\n"));
        put_quoted(out, r->words, quote_max);
    }
    out->failed |= line.failed;
    buf_release(&line);
}

/* ---- which message it is about ---- */

static void put_original_field(struct buf *out, struct str header, const char *name,
                               const char *shown)
{
    struct header_field field;
    struct buf line;
    if (!header_find(header, str_from_c(name), &field) || field.value.len == 0)
        return;
    buf_init(&line, 64 * 1024);
    encoded_decode(&line, str_sub(field.value, 0, 4 * FIELD_LEN_MAX));
    buf_printf(out, "    %s: ", shown);
    dsn_line(out, text_from(buf_str(&line)), FIELD_LEN_MAX, false);
    buf_append_str(out, STR("\r\n"));
    buf_release(&line);
}

static void put_original(struct buf *out, const struct dsn *dsn)
{
    buf_append_str(out, STR("\r\nYour message:\r\n\r\n"));
    put_original_field(out, dsn->header, "Subject", "Subject");
    put_original_field(out, dsn->header, "Date", "Sent");
    put_original_field(out, dsn->header, "To", "To");
    put_original_field(out, dsn->header, "Message-ID", "Message-ID");
    if (dsn->trace_id.len > 0)
        buf_printf(out, "\r\nIf you ask for help, tell this number: %.*s\r\n",
                   STR_ARG(dsn->trace_id));
    buf_printf(out, "\r\nThe mail system at %.*s\r\n", STR_ARG(dsn->host));
}

enum dsn_action dsn_main_action(const struct dsn *dsn)
{
    static const int rank[] = {[DSN_FAILED] = 4,
                               [DSN_DELAYED] = 3,
                               [DSN_RELAYED] = 2,
                               [DSN_EXPANDED] = 1,
                               [DSN_DELIVERED] = 0};
    enum dsn_action worst = dsn->recipients[0].action;
    for (size_t i = 1; i < dsn->count; i++)
        if (rank[dsn->recipients[i].action] > rank[worst])
            worst = dsn->recipients[i].action;
    return worst;
}

static void put_summary(struct buf *out, const struct dsn *dsn)
{
    enum dsn_action action = dsn_main_action(dsn);
    size_t same = 0;
    struct buf line;
    for (size_t i = 0; i < dsn->count; i++)
        same += dsn->recipients[i].action == action;
    buf_init(&line, 4096);
    buf_printf(&line, "Your message %s for %zu recipient%s. What you can do stands below for each.",
               verdict_on(action), same, same == 1 ? "" : "s");
    put_wrapped(out, buf_str(&line), "");
    buf_release(&line);
}

bool dsn_text_put(struct buf *out, const struct dsn *dsn)
{
    if (dsn->count > 1)
        put_summary(out, dsn);
    for (size_t i = 0; i < dsn->count; i++) {
        if (dsn->count > 1)
            buf_append_str(out, STR("\r\n"));
        put_recipient(out, &dsn->recipients[i], dsn_quote_max(dsn));
    }
    put_original(out, dsn);
    return !out->failed;
}
