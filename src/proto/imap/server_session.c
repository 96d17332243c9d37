#include "base/limits.h"
#include "proto/imap/engine.h"
#include "proto/imap/reply.h"

/* Commands about the session itself: RFC 3501 §6.1, RFC 2177 (IDLE),
 * RFC 2342 (NAMESPACE), RFC 2971 (ID), RFC 5161 (ENABLE). */

bool imap_parse_nothing(struct imap_server *e, struct imap_cursor *c)
{
    (void)e;
    (void)c;
    return true;
}

bool imap_step_capability(struct imap_server *e)
{
    buf_append_str(&e->out, STR("* CAPABILITY "));
    imap_put_capabilities(e);
    buf_append_str(&e->out, STR("\r\n"));
    return imap_finish(e, IMAP_OK);
}

bool imap_step_noop(struct imap_server *e)
{
    return imap_finish(e, IMAP_OK);
}

bool imap_step_logout(struct imap_server *e)
{
    buf_append_str(&e->out, STR("* BYE Logging out\r\n"));
    e->run.after = IMAP_EVENT_CLOSE;
    return imap_finish(e, IMAP_OK);
}

/* RFC 3501 §6.2.1 */
bool imap_step_starttls(struct imap_server *e)
{
    if (e->config.tls_active)
        return imap_finish_words(e, IMAP_BAD, "TLS is active already");
    if (!e->config.tls_offered)
        return imap_finish_words(e, IMAP_BAD, "TLS is not offered here");
    e->run.after = IMAP_EVENT_STARTTLS;
    return imap_finish_words(e, IMAP_OK, "Begin TLS now");
}

/* RFC 2342 §5: one personal namespace. */
bool imap_step_namespace(struct imap_server *e)
{
    buf_append_str(&e->out, STR("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"));
    return imap_finish(e, IMAP_OK);
}

/* ---- ID ---- */

static bool parse_nstring(struct imap_cursor *c)
{
    struct str ignored;
    return imap_take_word(c, "NIL") || imap_parse_string(c, &ignored);
}

/* id = "ID" SP id-params-list; at most 30 pairs (RFC 2971 §3.3). Nothing is done with them. */
bool imap_parse_id(struct imap_server *e, struct imap_cursor *c)
{
    struct str field;
    (void)e;
    if (!imap_need_space(c))
        return false;
    if (imap_take_word(c, "NIL"))
        return true;
    if (!imap_need(c, '('))
        return false;
    for (size_t i = 0; imap_peek(c) != ')'; i++) {
        if (i == 30)
            return imap_fail(c, "Too many fields");
        if (i && !imap_need_space(c))
            return false;
        if (!imap_parse_string(c, &field) || !imap_need_space(c) || !parse_nstring(c))
            return false;
    }
    return imap_need(c, ')');
}

bool imap_step_id(struct imap_server *e)
{
    buf_append_str(&e->out, STR("* ID (\"name\" \"Postern\")\r\n"));
    return imap_finish(e, IMAP_OK);
}

/* ---- ENABLE ---- */

/*
 * enable = "ENABLE" 1*(SP capability): what is not known, or cannot be enabled, is ignored
 * (RFC 5161 §3.1). No extension of this server needs it yet.
 */
bool imap_parse_enable(struct imap_server *e, struct imap_cursor *c)
{
    struct str capability;
    (void)e;
    do {
        if (!imap_need_space(c) || !imap_parse_atom(c, &capability))
            return false;
    } while (imap_peek(c) >= 0);
    return true;
}

bool imap_step_enable(struct imap_server *e)
{
    buf_append_str(&e->out, STR("* ENABLED\r\n"));
    return imap_finish(e, IMAP_OK);
}

/* ---- IDLE ---- */

static void end_idle(struct imap_server *e, struct str line)
{
    if (str_eq_nocase(line, STR("DONE")))
        imap_finish(e, IMAP_OK);
    else
        imap_finish_words(e, IMAP_BAD, "DONE expected");
}

static bool tell_while_idle(struct imap_server *e)
{
    return imap_tell(e, true) && false;
}

/* RFC 2177 §3 */
bool imap_step_idle(struct imap_server *e)
{
    buf_append_str(&e->out, STR("+ Idling\r\n"));
    imap_await_line(e, end_idle);
    e->run.step = tell_while_idle;
    return true;
}
