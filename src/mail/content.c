#include "mail/content.h"

/*
 * content   := "Content-Type" ":" type "/" subtype *(";" parameter)
 * parameter := attribute "=" value
 * value     := token / quoted-string                              RFC 2045 §5.1
 *
 * Beyond it: values with blanks but no quotes run to the ";"; a missing ";" between parameters
 * behind a quoted string is no harm; what has no "=" is passed over.
 */
struct scan {
    char *at;
    char *end;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* tspecials := ()<>@,;:\"/[]?= ; only those that end something here */
static bool ends_token(char c)
{
    return is_blank(c) || c == '\0' || strchr("();\"/=,", c);
}

static void skip_comment(struct scan *s)
{
    size_t depth = 0;
    while (s->at < s->end) {
        char c = *s->at++;
        if (c == '\\' && s->at < s->end)
            s->at++;
        depth += c == '(';
        depth -= c == ')';
        if (depth == 0)
            return;
    }
}

static void skip_blanks(struct scan *s)
{
    while (s->at < s->end && (is_blank(*s->at) || *s->at == '('))
        if (*s->at == '(')
            skip_comment(s);
        else
            s->at++;
}

static struct str take_token(struct scan *s)
{
    skip_blanks(s);
    char *from = s->at;
    while (s->at < s->end && !ends_token(*s->at)) {
        *s->at = ascii_lower(*s->at);
        s->at++;
    }
    return str_make(from, (size_t)(s->at - from));
}

static struct str take_quoted(struct scan *s)
{
    char *from = ++s->at;
    char *to = from;
    while (s->at < s->end && *s->at != '"') {
        s->at += *s->at == '\\' && s->at + 1 < s->end;
        *to++ = *s->at++;
    }
    s->at += s->at < s->end;
    return str_make(from, (size_t)(to - from));
}

static struct str take_value(struct scan *s)
{
    skip_blanks(s);
    if (s->at < s->end && *s->at == '"')
        return take_quoted(s);
    char *from = s->at;
    while (s->at < s->end && *s->at != ';' &&
           !(*s->at == '(' && s->at > from && is_blank(s->at[-1])))
        s->at++;
    struct str value = str_make(from, (size_t)(s->at - from));
    while (value.len > 0 && is_blank(value.ptr[value.len - 1]))
        value.len--;
    return value;
}

/* Moves to the next parameter; false at the end. */
static bool next_param(struct scan *s)
{
    skip_blanks(s);
    while (s->at < s->end && ends_token(*s->at)) {
        if (*s->at == '"')
            take_quoted(s);
        else
            s->at++;
        skip_blanks(s);
    }
    return s->at < s->end;
}

bool content_parse(char *value, size_t len, struct content *ret_content)
{
    struct scan s = {value, value + len};
    struct content *c = ret_content;
    c->type = take_token(&s);
    c->subtype = (struct str){0};
    c->param_count = 0;
    if (c->type.len == 0)
        return false;
    skip_blanks(&s);
    if (s.at < s.end && *s.at == '/') {
        s.at++;
        c->subtype = take_token(&s);
    }
    while (c->param_count < CONTENT_PARAMS_MAX && next_param(&s)) {
        struct content_param param = {.name = take_token(&s)};
        skip_blanks(&s);
        if (s.at >= s.end || *s.at != '=')
            continue;
        s.at++;
        param.value = take_value(&s);
        c->params[c->param_count++] = param;
    }
    return true;
}

struct str content_token(char *value, size_t len)
{
    struct scan s = {value, value + len};
    return take_token(&s);
}
