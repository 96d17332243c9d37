#include "mail/address_list.h"

/*
 * address-list  = (address *("," address)) / obs-addr-list
 * address       = mailbox / group
 * mailbox       = [display-name] "<" [obs-route] addr-spec ">" / addr-spec
 * group         = display-name ":" [mailbox-list] ";"
 *
 * All of an address but what stands in angle brackets is gathered as one phrase, with the place of
 * its first unquoted "@": only at its end does one know whether it was a name or an addr-spec.
 */
struct phrase {
    size_t start; /* in list->words */
    size_t at;    /* of the first "@" outside quotes, or SIZE_MAX */
    bool space;   /* white space since the last word */
    struct str comment;
};

void address_list_init(struct address_list *list, struct str value)
{
    *list = (struct address_list){.rest = value};
    buf_init(&list->words, 4 * value.len + 16);
}

void address_list_release(struct address_list *list)
{
    buf_release(&list->words);
    list->rest = (struct str){0};
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';
}

/* comment = "(" *([FWS] ccontent) [FWS] ")", nested; one that never ends, ends with the value. */
static struct str take_comment(struct str *rest)
{
    size_t depth = 0;
    size_t i = 0;
    for (; i < rest->len; i++) {
        char c = rest->ptr[i];
        if (c == '\\')
            i++;
        else if (c == '(')
            depth++;
        else if (c == ')' && --depth == 0)
            break;
    }
    struct str inside = str_sub(*rest, 1, i < rest->len ? i - 1 : rest->len - 1);
    *rest = str_skip(*rest, i + 1);
    return inside;
}

static void put_byte(struct address_list *list, struct phrase *p, char c)
{
    if (p->space && list->words.len > p->start)
        buf_append_byte(&list->words, ' ');
    p->space = false;
    buf_append_byte(&list->words, c);
}

/* The content of a quoted string, without folds (RFC 5322 §3.2.4). */
static void take_quoted(struct address_list *list, struct phrase *p)
{
    size_t i = 1;
    bool first = true;
    for (; i < list->rest.len && list->rest.ptr[i] != '"'; i++) {
        char c = list->rest.ptr[i];
        if (c == '\\' && i + 1 < list->rest.len)
            c = list->rest.ptr[++i];
        if (c == '\r' || c == '\n' || c == '\0')
            continue;
        if (first)
            put_byte(list, p, c);
        else
            buf_append_byte(&list->words, c);
        first = false;
    }
    list->rest = str_skip(list->rest, i + 1);
}

/*
 * domain-literal = "[" *([FWS] dtext) [FWS] "]", which may hold what ends things elsewhere
 * (RFC 5322 §3.4.1). No literal that means something is longer than LITERAL_MAX.
 */
static bool take_literal(struct address_list *list, const struct phrase *p)
{
    enum { LITERAL_MAX = 256 };
    ptrdiff_t end = str_find_byte(str_sub(list->rest, 0, LITERAL_MAX), ']');
    if (p->at == SIZE_MAX || p->at + 1 != list->words.len || end < 0)
        return false;
    buf_append_str(&list->words, str_sub(list->rest, 0, (size_t)end + 1));
    list->rest = str_skip(list->rest, (size_t)end + 1);
    return true;
}

static struct phrase begin_phrase(struct address_list *list)
{
    return (struct phrase){.start = list->words.len, .at = SIZE_MAX};
}

/* Gathers until one of `stops` and returns that byte, consumed; 0 at the end of the value. */
static char take_phrase(struct address_list *list, struct phrase *p, const char *stops)
{
    while (list->rest.len > 0) {
        char c = list->rest.ptr[0];
        if (c == '"') {
            take_quoted(list, p);
            continue;
        }
        if (c == '(') {
            p->comment = take_comment(&list->rest);
            p->space = true;
            continue;
        }
        if (c == '[' && take_literal(list, p))
            continue;
        list->rest = str_skip(list->rest, 1);
        if (is_space(c)) {
            p->space = true;
            continue;
        }
        if (strchr(stops, c))
            return c;
        put_byte(list, p, c);
        if (c == '@' && p->at == SIZE_MAX)
            p->at = list->words.len - 1;
    }
    return '\0';
}

static struct str since(const struct address_list *list, size_t start)
{
    return str_skip(buf_str(&list->words), start);
}

/* A comment as a name: without folds and backslashes. */
static void put_comment(struct address_list *list, struct str comment)
{
    for (size_t i = 0; i < comment.len; i++) {
        char c = comment.ptr[i];
        if (c == '\\' && i + 1 < comment.len)
            c = comment.ptr[++i];
        if (c != '\r' && c != '\n' && c != '\0')
            buf_append_byte(&list->words, c);
    }
}

/* Drops the white space inside [from, end of words). */
static void squeeze(struct buf *words, size_t from)
{
    size_t to = from;
    for (size_t i = from; i < words->len; i++)
        if (words->ptr[i] != ' ')
            words->ptr[to++] = words->ptr[i];
    buf_truncate(words, to);
}

/* Where things stand in list->words, which may move until all is gathered. */
struct places {
    size_t name, name_end;
    size_t route, route_end;
    size_t mailbox, mailbox_end;
    size_t host, host_end;
};

/* [from, end of words) is an addr-spec. */
static void place_addr_spec(struct address_list *list, const struct phrase *p, struct places *at)
{
    at->mailbox = p->start;
    at->mailbox_end = p->at == SIZE_MAX ? list->words.len : p->at;
    if (at->mailbox_end > at->mailbox && list->words.ptr[at->mailbox_end - 1] == ' ')
        at->mailbox_end--;
    at->host = p->at == SIZE_MAX ? list->words.len : p->at + 1;
    squeeze(&list->words, at->host);
    at->host_end = list->words.len;
}

/* Behind "<": [obs-route] addr-spec ">". obs-route = obs-domain-list ":" (RFC 5322 §4.4). */
static void take_angle(struct address_list *list, struct places *at)
{
    struct phrase p = begin_phrase(list);
    struct str ahead = list->rest;
    while (ahead.len > 0 && is_space(ahead.ptr[0]))
        ahead = str_skip(ahead, 1);
    ptrdiff_t close = str_find_byte(ahead, '>');
    struct str inside = str_sub(ahead, 0, close < 0 ? ahead.len : (size_t)close);
    if (str_starts(inside, STR("@")) && str_find_byte(inside, ':') >= 0) {
        take_phrase(list, &p, ":>");
        squeeze(&list->words, p.start);
        at->route = p.start;
        at->route_end = list->words.len;
        p = begin_phrase(list);
    }
    take_phrase(list, &p, ">");
    place_addr_spec(list, &p, at);
}

/* What stands between ">" and the next comma: a comment may be the name. */
static char take_tail(struct address_list *list, struct phrase *name)
{
    struct phrase tail = begin_phrase(list);
    char stop = take_phrase(list, &tail, ",;");
    buf_truncate(&list->words, tail.start);
    if (tail.comment.ptr)
        name->comment = tail.comment;
    return stop;
}

static struct str piece(const struct address_list *list, size_t from, size_t to)
{
    return to > from ? str_sub(buf_str(&list->words), from, to - from) : (struct str){0};
}

static struct str present(struct str s)
{
    return s.ptr ? s : STR("");
}

static void fill_mailbox(struct address_list *list, const struct phrase *p, struct places *at,
                         struct address_item *ret_item)
{
    if (at->name == at->name_end && p->comment.len > 0) {
        at->name = list->words.len;
        put_comment(list, p->comment);
        at->name_end = list->words.len;
    }
    *ret_item = (struct address_item){
        .kind = ADDRESS_ITEM_MAILBOX,
        .name = piece(list, at->name, at->name_end),
        .route = piece(list, at->route, at->route_end),
        .mailbox = present(piece(list, at->mailbox, at->mailbox_end)),
        .host = present(piece(list, at->host, at->host_end)),
    };
}

/* A ";" that ended an address ends the group too: it is put back, and read as the next item. */
static void see_stop(struct address_list *list, char stop)
{
    if (stop == ';' && list->in_group)
        list->rest = str_make(list->rest.ptr - 1, list->rest.len + 1);
}

static bool end_group(struct address_list *list, struct address_item *ret_item)
{
    list->in_group = false;
    *ret_item = (struct address_item){.kind = ADDRESS_ITEM_GROUP_END};
    return true;
}

/* One address; false where it was empty. *ret_item is set where true. */
static bool take_address(struct address_list *list, struct address_item *ret_item)
{
    struct phrase p = begin_phrase(list);
    struct places at = {0};
    char stop = take_phrase(list, &p, list->in_group ? ",;<" : ",;<:");
    if (stop == ':') {
        list->in_group = true;
        *ret_item = (struct address_item){.kind = ADDRESS_ITEM_GROUP_START,
                                          .mailbox = present(since(list, p.start))};
        return true;
    }
    if (stop == '<') {
        at.name = p.start;
        at.name_end = list->words.len;
        take_angle(list, &at);
        stop = take_tail(list, &p);
    } else if (list->words.len > p.start) {
        place_addr_spec(list, &p, &at);
    } else {
        see_stop(list, stop);
        return false;
    }
    see_stop(list, stop);
    fill_mailbox(list, &p, &at, ret_item);
    return true;
}

bool address_list_next(struct address_list *list, struct address_item *ret_item)
{
    while (list->rest.len > 0) {
        buf_clear(&list->words);
        if (list->in_group && list->rest.ptr[0] == ';') {
            list->rest = str_skip(list->rest, 1);
            return end_group(list, ret_item);
        }
        if (take_address(list, ret_item))
            return true;
    }
    return list->in_group ? end_group(list, ret_item) : false;
}
