#include "base/limits.h"
#include "proto/imap/engine.h"
#include "proto/imap/pattern.h"
#include "proto/imap/reply.h"
#include "proto/imap/uses.h"
#include "proto/imap/utf7.h"

/* LIST and LSUB: RFC 3501 §6.3.8, §6.3.9, RFC 5258 (LIST-EXTENDED), RFC 6154 (SPECIAL-USE). */

enum {
    SELECT_SUBSCRIBED = 1,
    SELECT_SPECIAL_USE = 2,
    SELECT_RECURSIVE = 4,
    SELECT_REMOTE = 8,
    RETURN_SUBSCRIBED = 16,
    RETURN_CHILDREN = 32, /* is returned anyway */
    RETURN_SPECIAL_USE = 64,
};

enum { LIST_ROWS = 512 };

struct list_args {
    bool lsub;
    bool extended;
    bool only_root; /* LIST "" "": the separator is asked for */
    bool last;
    unsigned options;
    struct str reference;
    struct str *patterns; /* UTF-8, reference in front */
    size_t pattern_count;
    size_t patterns_size; /* of all */
};

struct option {
    const char *name;
    unsigned bit;
};

static const struct option select_options[] = {
    {"SUBSCRIBED", SELECT_SUBSCRIBED},
    {"SPECIAL-USE", SELECT_SPECIAL_USE},
    {"RECURSIVEMATCH", SELECT_RECURSIVE},
    {"REMOTE", SELECT_REMOTE},
    {NULL, 0},
};

static const struct option return_options[] = {
    {"SUBSCRIBED", RETURN_SUBSCRIBED},
    {"CHILDREN", RETURN_CHILDREN},
    {"SPECIAL-USE", RETURN_SPECIAL_USE},
    {NULL, 0},
};

/* ---- parsing ---- */

/* "(" [option *(SP option)] ")" */
static bool parse_options(struct imap_cursor *c, const struct option *table, unsigned *options)
{
    struct str word;
    if (!imap_need(c, '('))
        return false;
    for (bool first = true; imap_peek(c) != ')'; first = false) {
        const struct option *o = table;
        if ((!first && !imap_need_space(c)) || !imap_parse_atom(c, &word))
            return false;
        while (o->name && !str_eq_nocase(word, str_from_c(o->name)))
            o++;
        if (!o->name)
            return imap_fail(c, "Unknown option of LIST");
        *options |= o->bit;
    }
    return imap_need(c, ')');
}

/* Wildcards in a row are as good as the widest of them. */
static void join_wildcards(struct buf *pattern)
{
    size_t len = 0;
    for (size_t i = 0; i < pattern->len; i++) {
        char c = pattern->ptr[i];
        bool wild = c == '*' || c == '%';
        char before = len > 0 ? pattern->ptr[len - 1] : '\0';
        if (!wild || (before != '*' && before != '%'))
            pattern->ptr[len++] = c;
        else if (c == '*')
            pattern->ptr[len - 1] = c;
    }
    buf_truncate(pattern, len);
}

/* Reference and pattern make one pattern; what is not modified UTF-7 matches no name. */
static bool add_pattern(struct imap_server *e, struct imap_cursor *c, struct str wire)
{
    struct list_args *args = e->run.args;
    struct buf joined, utf8;
    args->patterns_size += args->reference.len + wire.len;
    if (args->patterns_size > LIMIT_IMAP_PATTERN_SIZE)
        return imap_fail(c, "Pattern too long");
    if (args->pattern_count == LIMIT_IMAP_LIST_ITEMS)
        return imap_fail(c, "Too many patterns");
    args->only_root = !args->extended && str_empty(wire);
    buf_init(&joined, LIMIT_IMAP_PATTERN_SIZE);
    buf_init(&utf8, LIMIT_IMAP_PATTERN_SIZE * 3);
    buf_append_str(&joined, args->reference);
    buf_append_str(&joined, wire);
    bool kept = true;
    if (imap_utf7_decode(&utf8, buf_str(&joined)) && utf8.len <= LIMIT_IMAP_PATTERN_SIZE) {
        if (utf8.len)
            imap_normalise_inbox(utf8.ptr, utf8.len);
        join_wildcards(&utf8);
        kept = arena_dup(&e->arena, buf_str(&utf8), &args->patterns[args->pattern_count]);
        args->pattern_count += kept;
    }
    buf_release(&joined);
    buf_release(&utf8);
    return kept || imap_fail(c, "Command too large");
}

/* list-mailbox / "(" list-mailbox *(SP list-mailbox) ")" */
static bool parse_patterns(struct imap_server *e, struct imap_cursor *c)
{
    struct list_args *args = e->run.args;
    struct str wire;
    bool many = !args->lsub && imap_take(c, '(');
    size_t room = many ? LIMIT_IMAP_LIST_ITEMS : 1;
    args->extended |= many;
    args->patterns = imap_alloc(e, room * sizeof *args->patterns);
    if (!args->patterns)
        return false;
    do {
        if (!imap_parse_list_mailbox(c, &wire) || !add_pattern(e, c, wire))
            return false;
    } while (many && imap_take(c, ' '));
    return !many || imap_need(c, ')');
}

static bool parse_reference_and_patterns(struct imap_server *e, struct imap_cursor *c)
{
    struct list_args *args = e->run.args;
    return imap_parse_astring(c, &args->reference) && imap_need_space(c) && parse_patterns(e, c);
}

bool imap_parse_lsub(struct imap_server *e, struct imap_cursor *c)
{
    struct list_args *args = e->run.args = imap_alloc(e, sizeof *args);
    if (!args || !imap_need_space(c))
        return false;
    args->lsub = true;
    return parse_reference_and_patterns(e, c);
}

/* RFC 5258 §6: list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]
 */
bool imap_parse_list(struct imap_server *e, struct imap_cursor *c)
{
    struct list_args *args = e->run.args = imap_alloc(e, sizeof *args);
    if (!args || !imap_need_space(c))
        return false;
    if (imap_peek(c) == '(') {
        args->extended = true;
        if (!parse_options(c, select_options, &args->options) || !imap_need_space(c))
            return false;
    }
    unsigned base = args->options & ~(unsigned)(SELECT_RECURSIVE | SELECT_REMOTE);
    if ((args->options & SELECT_RECURSIVE) && !base)
        return imap_fail(c, "RECURSIVEMATCH needs another option"); /* RFC 5258 §3 */
    if (!parse_reference_and_patterns(e, c))
        return false;
    if (!imap_take(c, ' '))
        return true;
    args->extended = true;
    args->only_root = false;
    return imap_take_word(c, "RETURN")
               ? imap_need_space(c) && parse_options(c, return_options, &args->options)
               : imap_fail(c, "RETURN expected");
}

/* ---- answering ---- */

static bool matches(const struct list_args *args, struct str name)
{
    for (size_t i = 0; i < args->pattern_count; i++)
        if (imap_pattern_matches(args->patterns[i], name))
            return true;
    return false;
}

static void put_row(struct imap_server *e, const struct imap_list_row *row, unsigned options,
                    bool lsub, bool childinfo)
{
    struct buf *out = &e->out;
    buf_printf(out, "* %s (", lsub ? "LSUB" : "LIST");
    buf_append_str(out, row->has_children   ? STR("\\HasChildren")
                        : row->no_inferiors ? STR("\\HasNoChildren \\Noinferiors")
                                            : STR("\\HasNoChildren"));
    if (row->non_existent && !lsub)
        buf_append_str(out, STR(" \\NonExistent"));
    else if (row->non_existent || row->no_select)
        buf_append_str(out, STR(" \\Noselect"));
    if (row->subscribed && (options & (SELECT_SUBSCRIBED | RETURN_SUBSCRIBED)))
        buf_append_str(out, STR(" \\Subscribed"));
    if (!lsub)
        imap_put_uses(out, row->uses);
    buf_printf(out, ") \"%c\" ", IMAP_SEPARATOR);
    imap_put_mailbox(out, row->name);
    if (childinfo)
        buf_append_str(out, STR(" (\"CHILDINFO\" (\"SUBSCRIBED\"))"));
    buf_append_str(out, STR("\r\n"));
}

/*
 * RFC 3501 §6.3.9: where only something below it is subscribed, LSUB shows a level that "%"
 * matches as \Noselect.
 */
static void consider_lsub(struct imap_server *e, const struct imap_list_row *row)
{
    struct imap_list_row shown = *row;
    if (!row->subscribed) {
        const struct list_args *args = e->run.args;
        if (!row->child_subscribed || !str_ends(args->patterns[0], STR("%")))
            return;
        shown.no_select = true;
    }
    put_row(e, &shown, 0, true, false);
}

/*
 * RFC 5258 §3: every selection option must hold, or RECURSIVEMATCH finds it below. Names without a
 * mailbox are for SUBSCRIBED alone.
 */
static void consider_list(struct imap_server *e, const struct imap_list_row *row)
{
    const struct list_args *args = e->run.args;
    bool below = (args->options & SELECT_RECURSIVE) && (args->options & SELECT_SUBSCRIBED) &&
                 row->child_subscribed;
    if (row->non_existent && !(args->options & SELECT_SUBSCRIBED))
        return;
    if ((args->options & SELECT_SUBSCRIBED) && !row->subscribed && !below)
        return;
    if ((args->options & SELECT_SPECIAL_USE) && !row->uses)
        return;
    put_row(e, row, args->options, false, below);
}

static bool step_rows(struct imap_server *e)
{
    struct list_args *args = e->run.args;
    if (e->run.answer != IMAP_OK || args->last)
        return imap_finish(e, e->run.answer);
    struct imap_event *q = imap_ask(e, IMAP_EVENT_LIST);
    q->list.after = buf_str(&e->run.name);
    q->list.rows_max = LIST_ROWS;
    return false;
}

bool imap_step_list(struct imap_server *e)
{
    struct list_args *args = e->run.args;
    if (args->only_root) {
        if (!args->lsub)
            buf_append_str(&e->out, STR("* LIST (\\Noselect) \"/\" \"\"\r\n"));
        return imap_finish(e, IMAP_OK);
    }
    args->last = args->pattern_count == 0;
    e->run.step = step_rows;
    return true;
}

void imap_answer_list(struct imap_server *e, uint64_t token, const struct imap_list_row *rows,
                      size_t count, bool last)
{
    if (!imap_answered(e, token, IMAP_EVENT_LIST))
        return;
    struct list_args *args = e->run.args;
    for (size_t i = 0; i < count; i++) {
        if (!matches(args, rows[i].name))
            continue;
        if (args->lsub)
            consider_lsub(e, &rows[i]);
        else
            consider_list(e, &rows[i]);
    }
    args->last = last || count == 0;
    buf_clear(&e->run.name);
    if (count && !buf_append_str(&e->run.name, rows[count - 1].name))
        e->run.answer = IMAP_LIMIT;
    imap_advance(e);
}
