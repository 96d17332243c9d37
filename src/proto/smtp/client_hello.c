/* From the greeting to READY (RFC 5321 §3.1, §3.2), and STARTTLS (RFC 3207). */

#include "proto/smtp/client_state.h"

/* ---- What is offered ---------------------------------------------------------------------- */

static bool next_word(struct str *rest, struct str *ret_word)
{
    while (!str_empty(*rest) && rest->ptr[0] == ' ')
        *rest = str_skip(*rest, 1);
    return str_split(rest, ' ', ret_word);
}

/* RFC 1870 §4: SIZE [1*20DIGIT]; 0 and nothing: no fixed maximum. */
static void take_size(struct smtp_client *c, struct str rest)
{
    struct str word;
    uint64_t size;
    if (next_word(&rest, &word) && str_to_u64(word, UINT64_MAX, &size))
        c->abilities.size_max = size;
}

/* RFC 9422 §3: LIMITS 1*(SP name "=" value); unknown names are passed over. */
static void take_limits(struct smtp_client *c, struct str rest)
{
    const struct {
        struct str name;
        uint32_t *place;
    } limits[] = {
        {STR("MAILMAX="), &c->abilities.mail_max},
        {STR("RCPTMAX="), &c->abilities.rcpt_max},
        {STR("RCPTDOMAINMAX="), &c->abilities.rcpt_domain_max},
    };
    struct str word;
    uint64_t number;
    while (next_word(&rest, &word))
        for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
            if (str_starts_nocase(word, limits[i].name) &&
                str_to_u64(str_skip(word, limits[i].name.len), UINT32_MAX, &number))
                *limits[i].place = (uint32_t)number;
}

/* RFC 4422 §3.1: 1*20 (upper-case letter / DIGIT / "-" / "_") */
static bool is_mechanism(struct str word)
{
    for (size_t i = 0; i < word.len; i++)
        if (!ascii_is_alpha(word.ptr[i]) && !ascii_is_digit(word.ptr[i]) && word.ptr[i] != '-' &&
            word.ptr[i] != '_')
            return false;
    return word.len > 0 && word.len <= 20;
}

/* RFC 4954 §3; may come twice, with "=" from before there was a standard. */
static void take_auth(struct smtp_client *c, struct str rest)
{
    struct str word;
    while (next_word(&rest, &word)) {
        if (!is_mechanism(word))
            continue;
        if (c->auth.len > 0)
            buf_append_byte(&c->auth, ' ');
        for (size_t i = 0; i < word.len; i++)
            buf_append_byte(&c->auth, ascii_upper(word.ptr[i]));
    }
    c->abilities.auth = text_from(buf_str(&c->auth));
}

/* One line of the answer to EHLO: keyword and parameters. */
static void take_ability(struct smtp_client *c, struct str line)
{
    struct smtp_abilities *a = &c->abilities;
    const struct {
        struct str name;
        bool *there;
        void (*take)(struct smtp_client *c, struct str rest);
    } abilities[] = {
        {STR("PIPELINING"), &a->pipelining, NULL},
        {STR("CHUNKING"), &a->chunking, NULL},
        {STR("DSN"), &a->dsn, NULL},
        {STR("SMTPUTF8"), &a->smtputf8, NULL},
        {STR("8BITMIME"), &a->eight_bit_mime, NULL},
        {STR("BINARYMIME"), &a->binary_mime, NULL},
        {STR("REQUIRETLS"), &a->requiretls, NULL},
        {STR("STARTTLS"), &a->starttls, NULL},
        {STR("MT-PRIORITY"), &a->mt_priority, NULL},
        {STR("DELIVERBY"), &a->deliver_by, NULL},
        {STR("SIZE"), &a->size, take_size},
        {STR("LIMITS"), NULL, take_limits},
        {STR("AUTH"), NULL, take_auth},
    };
    size_t end = 0;
    while (end < line.len && line.ptr[end] != ' ' && line.ptr[end] != '=')
        end++;
    struct str name = str_sub(line, 0, end);
    for (size_t i = 0; i < sizeof abilities / sizeof abilities[0]; i++) {
        if (!str_eq_nocase(name, abilities[i].name))
            continue;
        if (abilities[i].there)
            *abilities[i].there = true;
        if (abilities[i].take)
            abilities[i].take(c, str_skip(line, end + 1));
    }
}

static void forget_abilities(struct smtp_client *c)
{
    c->abilities = (struct smtp_abilities){0};
    buf_clear(&c->auth);
}

static void take_abilities(struct smtp_client *c)
{
    struct str rest = buf_str(&c->reader.words), line;
    str_split(&rest, '\n', &line); /* the server's name */
    while (str_split(&rest, '\n', &line))
        take_ability(c, str_trim(line));
    c->abilities.extended = true;
    c->abilities.chunking = c->abilities.chunking && !c->settings->no_chunking;
    c->abilities.starttls = c->abilities.starttls && !c->tls;
}

/* ---- The way ------------------------------------------------------------------------------ */

void client_hear_greeting(struct smtp_client *c)
{
    if (c->reader.code == 220)
        client_say_hello(c);
    else if (c->reader.code >= 400)
        client_refused(c, client_reply(c));
    else
        client_close(c, SMTP_CLIENT_CLOSE_GARBAGE);
}

/* RFC 5321 §4.1.1.1, RFC 2033 §4.1; what was known before TLS is forgotten (RFC 3207 §4.2). */
void client_say_hello(struct smtp_client *c)
{
    forget_abilities(c);
    client_set_state(c, CLIENT_HELLO);
    client_sayf(c, "%s %.*s\r\n", c->settings->lmtp ? "LHLO" : "EHLO",
                STR_ARG(c->settings->hostname));
}

void client_hear_hello(struct smtp_client *c)
{
    uint16_t code = c->reader.code;
    if (code == 250) {
        take_abilities(c);
        client_go_on_to_ready(c);
    } else if (code >= 500 && !c->settings->lmtp && !c->tls) {
        /* RFC 5321 §3.2: an old server, perhaps. Under TLS there are none. */
        client_set_state(c, CLIENT_HELO);
        client_sayf(c, "HELO %.*s\r\n", STR_ARG(c->settings->hostname));
    } else if (code >= 400) {
        client_refused(c, client_reply(c));
    } else {
        client_close(c, SMTP_CLIENT_CLOSE_GARBAGE);
    }
}

void client_hear_helo(struct smtp_client *c)
{
    if (c->reader.code == 250)
        client_go_on_to_ready(c);
    else if (c->reader.code >= 400)
        client_refused(c, client_reply(c));
    else
        client_close(c, SMTP_CLIENT_CLOSE_GARBAGE);
}

void client_hear_starttls(struct smtp_client *c)
{
    uint16_t code = c->reader.code;
    if (code == 220) {
        client_set_state(c, CLIENT_HANDSHAKE);
        client_tell(c, SMTP_CLIENT_EVENT_START_TLS);
    } else if (code >= 400 && c->settings->tls == SMTP_CLIENT_TLS_OFFERED) {
        c->starttls_refused = true;
        client_go_on_to_ready(c);
    } else if (code >= 400) {
        client_refused(c, client_reply(c));
    } else {
        client_close(c, SMTP_CLIENT_CLOSE_GARBAGE);
    }
}

void client_go_on_to_ready(struct smtp_client *c)
{
    enum smtp_client_tls tls = c->settings->tls;
    bool wanted = tls == SMTP_CLIENT_TLS_OFFERED || tls == SMTP_CLIENT_TLS_REQUIRED;
    if (wanted && c->abilities.starttls && !c->starttls_refused) {
        client_set_state(c, CLIENT_STARTTLS);
        client_say(c, STR("STARTTLS\r\n"));
    } else if (tls == SMTP_CLIENT_TLS_REQUIRED && !c->tls) {
        client_close(c, SMTP_CLIENT_CLOSE_NO_TLS);
    } else if (c->settings->auth && !c->authenticated) {
        client_begin_auth(c);
    } else {
        client_set_state(c, CLIENT_READY);
        client_tell(c, SMTP_CLIENT_EVENT_READY);
    }
}
