/* DATA (RFC 5321 §4.1.1.4) and BDAT (RFC 3030 §2), the octets behind them, and their end. */

#include "base/bug.h"
#include "proto/smtp/server_state.h"

static const struct smtp_reply reply_go_ahead =
    SMTP_REPLY(354, 0, 0, 0, "send the message, end with a dot on a line of its own");
static const struct smtp_reply reply_kept = SMTP_REPLY(250, 2, 0, 0, "message taken");
static const struct smtp_reply reply_chunk_taken = SMTP_REPLY(250, 2, 0, 0, "chunk taken");
static const struct smtp_reply reply_sender_first = SMTP_REPLY(503, 5, 5, 1, "MAIL first");
/* RFC 5321 §3.3 allows 554 and 503; RFC 2033 §4.2 wants 503. */
static const struct smtp_reply reply_no_recipients =
    SMTP_REPLY(554, 5, 5, 1, "no valid recipients");
static const struct smtp_reply reply_no_recipients_lmtp =
    SMTP_REPLY(503, 5, 5, 1, "no valid recipients");
static const struct smtp_reply reply_chunks_begun =
    SMTP_REPLY(503, 5, 5, 1, "the message has begun with BDAT");
static const struct smtp_reply reply_binary_needs_bdat =
    SMTP_REPLY(503, 5, 5, 1, "BINARYMIME needs BDAT");
static const struct smtp_reply reply_chunk_lost =
    SMTP_REPLY(503, 5, 5, 1, "an earlier chunk was refused, RSET first");
static const struct smtp_reply reply_bad_chunk =
    SMTP_REPLY(501, 5, 5, 4, "the form is BDAT size [LAST]; what follows cannot be told apart");
static const struct smtp_reply reply_too_big =
    SMTP_REPLY(552, 5, 3, 4, "the message is larger than is taken here");

static const struct smtp_reply replies_fault[] = {
    [SMTP_SCAN_BARE_CR] = SMTP_REPLY(550, 5, 6, 0, "the message holds a bare CR"),
    [SMTP_SCAN_BARE_LF] = SMTP_REPLY(550, 5, 6, 0, "the message holds a bare LF"),
    [SMTP_SCAN_NUL] = SMTP_REPLY(550, 5, 6, 0, "the message holds a NUL"),
    [SMTP_SCAN_LONG_LINE] = SMTP_REPLY(500, 5, 6, 0, "a line of the message is too long"),
};

/* ---- The start ---------------------------------------------------------------------------- */

static const struct smtp_reply *find_obstacle(const struct smtp_server *s)
{
    if (!s->transaction.open)
        return &reply_sender_first;
    if (s->transaction.recipients == 0)
        return s->listener->kind == SMTP_LISTENER_LMTP ? &reply_no_recipients_lmtp
                                                       : &reply_no_recipients;
    return NULL;
}

/* RFC 3848, RFC 6531 §4.3; HELO has but one keyword (RFC 5321 §4.4). */
static struct str with_protocol(const struct smtp_server *s)
{
    static const struct str names[2][2][4] = {
        {{STR("ESMTP"), STR("ESMTPS"), STR("ESMTPA"), STR("ESMTPSA")},
         {STR("UTF8SMTP"), STR("UTF8SMTPS"), STR("UTF8SMTPA"), STR("UTF8SMTPSA")}},
        {{STR("LMTP"), STR("LMTPS"), STR("LMTPA"), STR("LMTPSA")},
         {STR("UTF8LMTP"), STR("UTF8LMTPS"), STR("UTF8LMTPA"), STR("UTF8LMTPSA")}},
    };
    if (!s->extended)
        return STR("SMTP");
    bool lmtp = s->listener->kind == SMTP_LISTENER_LMTP;
    return names[lmtp][s->transaction.utf8][(s->tls ? 1 : 0) + (s->authenticated ? 2 : 0)];
}

static void ask_for_body(struct smtp_server *s)
{
    s->event.body_start = (struct smtp_event_body_start){
        .helo = text_from(buf_str(&s->helo)),
        .with = with_protocol(s),
        .recipients = s->transaction.recipients,
        .body = s->transaction.body_type,
        .utf8 = s->transaction.utf8,
    };
    server_ask(s, SMTP_EVENT_BODY_START);
}

static void start_clock(struct smtp_server *s, struct now now)
{
    s->body.clock_ms = now.mono_ms;
    s->body.clock_octets = 0;
}

static void begin_body(struct smtp_server *s, bool dots)
{
    s->body.fault = NULL;
    s->body.size = 0;
    s->body.scan = (struct smtp_scan){
        .dots = dots,
        .binary = s->transaction.body_type == SMTP_BODY_BINARYMIME,
        .normalise = s->listener->normalise_line_ends,
        .line_size_max = s->listener->limits.text_line_size,
    };
}

int64_t server_body_deadline(const struct smtp_server *s)
{
    uint64_t rate = s->listener->limits.body_rate_min;
    int64_t grace_ms = s->listener->limits.body_grace_ms;
    if (rate == 0)
        return NEVER_MS;
    int64_t paid_ms = (int64_t)(s->body.clock_octets / rate * 1000);
    return s->body.clock_ms + (paid_ms > grace_ms ? paid_ms : grace_ms);
}

/* ---- The octets and the end --------------------------------------------------------------- */

static void set_fault(struct smtp_server *s, const struct smtp_reply *fault)
{
    s->body.fault = fault;
    if (s->transaction.known) {
        s->event_abort = true;
        s->event_refused = fault;
    }
    s->transaction.known = false;
}

/* The message ends here: a reply for all, or on LMTP for each (RFC 2033 §4.2). */
static void end_body(struct smtp_server *s)
{
    server_set_state(s, STATE_COMMAND);
    if (!s->body.fault) {
        s->transaction.known = false;
        s->event.body_size = s->body.size;
        server_ask(s, SMTP_EVENT_BODY_END);
        return;
    }
    const struct smtp_reply *fault = s->body.fault;
    bool each = s->listener->kind == SMTP_LISTENER_LMTP && s->transaction.recipients > 0;
    uint32_t count = each ? s->transaction.recipients : 1;
    server_abort(s);
    for (uint32_t i = 0; i < count; i++)
        server_reply(s, fault);
}

/* Octets that are the message's: counts, checks, and hands them to the owner. */
static void take_span(struct smtp_server *s, struct str span)
{
    if (s->body.fault)
        return;
    if (s->body.scan.fault != SMTP_SCAN_CLEAN) {
        set_fault(s, &replies_fault[s->body.scan.fault]);
    } else if (span.len > s->listener->limits.message_size - s->body.size) {
        set_fault(s, &reply_too_big);
    } else if (span.len > 0) {
        s->body.size += span.len;
        s->event.body = span;
        server_tell(s, SMTP_EVENT_BODY);
    }
}

size_t server_take_text(struct smtp_server *s, struct str in)
{
    struct str span;
    bool end;
    size_t used = smtp_scan_take(&s->body.scan, in, &span, &end);
    s->body.clock_octets += used;
    take_span(s, span);
    if (end)
        end_body(s);
    return used;
}

/* ---- DATA --------------------------------------------------------------------------------- */

void server_data(struct smtp_server *s, struct str argument, struct now now)
{
    (void)argument, (void)now;
    const struct smtp_reply *problem = find_obstacle(s);
    if (!problem && s->transaction.chunked)
        problem = &reply_chunks_begun;
    if (!problem && s->transaction.body_type == SMTP_BODY_BINARYMIME)
        problem = &reply_binary_needs_bdat;
    if (problem)
        server_reply(s, problem);
    else
        ask_for_body(s);
}

static void answer_data(struct smtp_server *s, const struct smtp_reply *reply, struct now now)
{
    if (!smtp_reply_is_positive(reply)) {
        server_reply(s, reply);
        return;
    }
    begin_body(s, true);
    start_clock(s, now);
    server_reply(s, &reply_go_ahead);
    server_set_state(s, STATE_TEXT);
}

/* ---- BDAT --------------------------------------------------------------------------------- */

/* chunk-size SP "LAST" / chunk-size (RFC 3030 §2) */
static bool parse_chunk(struct str argument, uint64_t *ret_size, bool *ret_last)
{
    ptrdiff_t space = str_find_byte(argument, ' ');
    struct str size = space < 0 ? argument : str_sub(argument, 0, (size_t)space);
    if (space >= 0 && !str_eq_nocase(str_skip(argument, size.len + 1), STR("LAST")))
        return false;
    *ret_last = space >= 0;
    return str_to_u64(size, INT64_MAX, ret_size);
}

void server_end_chunk(struct smtp_server *s)
{
    if (s->body.chunk_answered) {
        server_set_state(s, STATE_COMMAND);
        return;
    }
    if (s->body.chunk_last) {
        smtp_scan_finish(&s->body.scan);
        take_span(s, str_make(NULL, 0));
        end_body(s);
        return;
    }
    server_set_state(s, STATE_COMMAND);
    server_reply(s, s->body.fault ? s->body.fault : &reply_chunk_taken);
}

/*
 * Says at once why the chunk is refused; its octets are thrown away. The message has a hole then,
 * so that what may follow of it is refused as well.
 */
static void refuse_chunk(struct smtp_server *s, const struct smtp_reply *reply)
{
    s->body.chunk_answered = true;
    if (s->transaction.open && !s->body.chunk_last) {
        s->transaction.chunked = true;
        s->body.fault = &reply_chunk_lost;
    }
    server_reply(s, reply);
}

void server_bdat(struct smtp_server *s, struct str argument, struct now now)
{
    if (!parse_chunk(argument, &s->body.chunk_left, &s->body.chunk_last)) {
        server_reply(s, &reply_bad_chunk);
        server_close(s, SMTP_CLOSE_ERRORS, NULL);
        return;
    }
    server_set_state(s, STATE_CHUNK);
    start_clock(s, now);
    s->body.chunk_answered = false;
    const struct smtp_reply *problem = find_obstacle(s);
    if (s->transaction.chunked)
        return;
    if (problem)
        refuse_chunk(s, problem);
    else
        ask_for_body(s);
}

static void answer_first_chunk(struct smtp_server *s, const struct smtp_reply *reply,
                               struct now now)
{
    start_clock(s, now);
    if (!smtp_reply_is_positive(reply)) {
        refuse_chunk(s, reply);
        return;
    }
    s->transaction.chunked = true;
    begin_body(s, false);
}

size_t server_take_chunk(struct smtp_server *s, struct str in)
{
    in = str_sub(in, 0, s->body.chunk_left < in.len ? (size_t)s->body.chunk_left : in.len);
    struct str span;
    bool end;
    size_t used = in.len;
    if (!s->body.chunk_answered && !s->body.fault) {
        used = smtp_scan_take(&s->body.scan, in, &span, &end);
        take_span(s, span);
    }
    s->body.clock_octets += used;
    s->body.chunk_left -= used;
    return used;
}

/* ---- Answers ------------------------------------------------------------------------------ */

void server_answer_body_start(struct smtp_server *s, const struct smtp_reply *reply, struct now now)
{
    if (s->state == STATE_CHUNK)
        answer_first_chunk(s, reply, now);
    else
        answer_data(s, reply, now);
}

void server_answer_body_end(struct smtp_server *s, const struct smtp_reply *replies, size_t count)
{
    bool lmtp = s->listener->kind == SMTP_LISTENER_LMTP;
    uint32_t wanted = lmtp ? s->transaction.recipients : 1;
    invariant(count == 1 || count == wanted);
    bool kept = false;
    s->transaction = (struct server_transaction){0};
    for (uint32_t i = 0; i < wanted; i++) {
        const struct smtp_reply *reply = &replies[count == 1 ? 0 : i];
        server_reply_or(s, reply, &reply_kept);
        kept = kept || smtp_reply_is_positive(reply);
    }
    if (kept)
        s->confirm_at = s->out_total;
}
