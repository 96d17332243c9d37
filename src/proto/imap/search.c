#include "proto/imap/search.h"

#include "base/bug.h"
#include "base/limits.h"
#include "codec/utf8.h"
#include "proto/imap/engine.h"

enum { DAY_MS = 24 * 60 * 60 * 1000, QUICK_KEYS = 8 };

struct parser {
    struct imap_server *e;
    struct imap_cursor *c;
    struct search_program *program;
    size_t node_count;
    unsigned depth;
};

/* ---- nodes ---- */

static struct search_node *add_node(struct parser *p, enum search_op op)
{
    if (++p->node_count > 2 * LIMIT_IMAP_SEARCH_KEYS) {
        imap_fail(p->c, "Too many search keys");
        return NULL;
    }
    struct search_node *node = arena_alloc(p->c->arena, sizeof *node);
    if (!node) {
        imap_fail(p->c, "Command too large");
        return NULL;
    }
    node->op = op;
    return node;
}

static struct search_node *add_leaf(struct parser *p, enum search_op op, unsigned need)
{
    struct search_program *program = p->program;
    if (program->leaf_count == LIMIT_IMAP_SEARCH_KEYS) {
        imap_fail(p->c, "Too many search keys");
        return NULL;
    }
    struct search_node *node = add_node(p, op);
    if (!node)
        return NULL;
    node->leaf = program->leaf_count;
    program->leaves[program->leaf_count++] = node;
    program->need |= need;
    return node;
}

/* A leaf, or with `negate` its opposite. */
static struct search_node *negated(struct parser *p, struct search_node *leaf, bool negate)
{
    if (!leaf || !negate)
        return leaf;
    struct search_node *node = add_node(p, SEARCH_NOT);
    if (node)
        node->child = leaf;
    return node;
}

/* ---- kinds of keys ---- */

static struct search_node *parse_key(struct parser *p);

struct key_row {
    const char *word;
    struct search_node *(*parse)(struct parser *p, const struct key_row *row);
    enum search_op op;
    uint8_t flag;
    bool negate;
    const char *header;
    enum imap_text_kind kind;
};

static struct search_node *parse_all(struct parser *p, const struct key_row *row)
{
    (void)row;
    return add_node(p, SEARCH_AND);
}

static struct search_node *parse_flag_key(struct parser *p, const struct key_row *row)
{
    struct search_node *leaf = add_leaf(p, SEARCH_FLAG, IMAP_NEED_FLAGS);
    if (leaf)
        leaf->flag = row->flag;
    return negated(p, leaf, row->negate);
}

static struct search_node *parse_recent(struct parser *p, const struct key_row *row)
{
    return negated(p, add_leaf(p, SEARCH_RECENT, 0), row->negate);
}

/* NEW is "(RECENT UNSEEN)". */
static struct search_node *parse_new(struct parser *p, const struct key_row *row)
{
    struct search_node *both = add_node(p, SEARCH_AND);
    struct search_node *seen = add_leaf(p, SEARCH_FLAG, IMAP_NEED_FLAGS);
    struct search_node *recent = add_leaf(p, SEARCH_RECENT, 0);
    (void)row;
    if (!both || !seen || !recent)
        return NULL;
    seen->flag = IMAP_SEEN;
    both->child = negated(p, seen, true);
    if (!both->child)
        return NULL;
    both->child->next = recent;
    return both;
}

static struct search_node *parse_keyword(struct parser *p, const struct key_row *row)
{
    struct str keyword;
    if (!imap_need_space(p->c) || !imap_parse_atom(p->c, &keyword))
        return NULL;
    struct search_node *leaf = add_leaf(p, SEARCH_KEYWORD, IMAP_NEED_FLAGS);
    if (leaf)
        leaf->text = keyword;
    return negated(p, leaf, row->negate);
}

static struct search_node *parse_date_key(struct parser *p, const struct key_row *row)
{
    int64_t ms;
    bool sent = row->op >= SEARCH_SENT_BEFORE && row->op <= SEARCH_SENT_SINCE;
    if (!imap_need_space(p->c) || !imap_parse_date(p->c, &ms))
        return NULL;
    struct search_node *leaf = add_leaf(p, row->op, sent ? IMAP_NEED_STRUCTURE : IMAP_NEED_META);
    if (leaf)
        leaf->number = ms / DAY_MS - (ms % DAY_MS < 0);
    return leaf;
}

static struct search_node *parse_size_key(struct parser *p, const struct key_row *row)
{
    uint32_t size;
    if (!imap_need_space(p->c) || !imap_parse_number(p->c, &size))
        return NULL;
    struct search_node *leaf = add_leaf(p, row->op, IMAP_NEED_META);
    if (leaf)
        leaf->number = size;
    return leaf;
}

static struct search_node *parse_text_key(struct parser *p, const struct key_row *row)
{
    struct str header = str_from_c(row->header);
    struct str needle;
    if (row->kind == IMAP_TEXT_HEADER && !row->header) {
        if (!imap_need_space(p->c) || !imap_parse_astring(p->c, &header))
            return NULL;
    }
    if (!imap_need_space(p->c) || !imap_parse_astring(p->c, &needle))
        return NULL;
    if (!utf8_valid(needle)) {
        imap_fail(p->c, "Text is not of the charset");
        return NULL;
    }
    /* Every text holds the empty one; only a header may be absent. */
    if (str_empty(needle) && row->kind != IMAP_TEXT_HEADER)
        return add_node(p, SEARCH_AND);
    struct search_node *leaf = add_leaf(p, SEARCH_TEXT, 0);
    if (leaf)
        leaf->key = (struct imap_text_key){row->kind, header, needle};
    return leaf;
}

static struct search_node *parse_set_key(struct parser *p, bool uid)
{
    struct imap_raw_set raw;
    struct imap_rangeset set = {0};
    if (!imap_parse_set(p->c, &raw))
        return NULL;
    struct search_node *leaf = add_leaf(p, SEARCH_SET, 0);
    if (leaf && imap_resolve_set(p->e, p->c, &raw, uid, &set)) {
        struct imap_range *ranges = arena_alloc_array(p->c->arena, set.count + 1, sizeof *ranges);
        if (ranges && set.count)
            memcpy(ranges, set.ranges, set.count * sizeof *ranges);
        leaf->set = (struct imap_set){ranges, set.count};
        if (!ranges) {
            imap_fail(p->c, "Command too large");
            leaf = NULL;
        }
    } else {
        leaf = NULL;
    }
    imap_rangeset_release(&set);
    return leaf;
}

static struct search_node *parse_uid_key(struct parser *p, const struct key_row *row)
{
    (void)row;
    return imap_need_space(p->c) ? parse_set_key(p, true) : NULL;
}

static struct search_node *parse_not(struct parser *p, const struct key_row *row)
{
    (void)row;
    return imap_need_space(p->c) ? negated(p, parse_key(p), true) : NULL;
}

static struct search_node *parse_or(struct parser *p, const struct key_row *row)
{
    struct search_node *node = add_node(p, SEARCH_OR);
    (void)row;
    if (!node || !imap_need_space(p->c) || !(node->child = parse_key(p)))
        return NULL;
    if (!imap_need_space(p->c) || !(node->child->next = parse_key(p)))
        return NULL;
    return node;
}

/* ---- the grammar ---- */

static const struct key_row keys[] = {
    {"ALL", parse_all, SEARCH_AND, 0, false, NULL, 0},
    {"ANSWERED", parse_flag_key, SEARCH_FLAG, IMAP_ANSWERED, false, NULL, 0},
    {"BCC", parse_text_key, SEARCH_TEXT, 0, false, "Bcc", IMAP_TEXT_HEADER},
    {"BEFORE", parse_date_key, SEARCH_BEFORE, 0, false, NULL, 0},
    {"BODY", parse_text_key, SEARCH_TEXT, 0, false, NULL, IMAP_TEXT_BODY},
    {"CC", parse_text_key, SEARCH_TEXT, 0, false, "Cc", IMAP_TEXT_HEADER},
    {"DELETED", parse_flag_key, SEARCH_FLAG, IMAP_DELETED, false, NULL, 0},
    {"DRAFT", parse_flag_key, SEARCH_FLAG, IMAP_DRAFT, false, NULL, 0},
    {"FLAGGED", parse_flag_key, SEARCH_FLAG, IMAP_FLAGGED, false, NULL, 0},
    {"FROM", parse_text_key, SEARCH_TEXT, 0, false, "From", IMAP_TEXT_HEADER},
    {"HEADER", parse_text_key, SEARCH_TEXT, 0, false, NULL, IMAP_TEXT_HEADER},
    {"KEYWORD", parse_keyword, SEARCH_KEYWORD, 0, false, NULL, 0},
    {"LARGER", parse_size_key, SEARCH_LARGER, 0, false, NULL, 0},
    {"NEW", parse_new, SEARCH_AND, 0, false, NULL, 0},
    {"NOT", parse_not, SEARCH_NOT, 0, false, NULL, 0},
    {"OLD", parse_recent, SEARCH_RECENT, 0, true, NULL, 0},
    {"ON", parse_date_key, SEARCH_ON, 0, false, NULL, 0},
    {"OR", parse_or, SEARCH_OR, 0, false, NULL, 0},
    {"RECENT", parse_recent, SEARCH_RECENT, 0, false, NULL, 0},
    {"SEEN", parse_flag_key, SEARCH_FLAG, IMAP_SEEN, false, NULL, 0},
    {"SENTBEFORE", parse_date_key, SEARCH_SENT_BEFORE, 0, false, NULL, 0},
    {"SENTON", parse_date_key, SEARCH_SENT_ON, 0, false, NULL, 0},
    {"SENTSINCE", parse_date_key, SEARCH_SENT_SINCE, 0, false, NULL, 0},
    {"SINCE", parse_date_key, SEARCH_SINCE, 0, false, NULL, 0},
    {"SMALLER", parse_size_key, SEARCH_SMALLER, 0, false, NULL, 0},
    {"SUBJECT", parse_text_key, SEARCH_TEXT, 0, false, "Subject", IMAP_TEXT_HEADER},
    {"TEXT", parse_text_key, SEARCH_TEXT, 0, false, NULL, IMAP_TEXT_ALL},
    {"TO", parse_text_key, SEARCH_TEXT, 0, false, "To", IMAP_TEXT_HEADER},
    {"UID", parse_uid_key, SEARCH_SET, 0, false, NULL, 0},
    {"UNANSWERED", parse_flag_key, SEARCH_FLAG, IMAP_ANSWERED, true, NULL, 0},
    {"UNDELETED", parse_flag_key, SEARCH_FLAG, IMAP_DELETED, true, NULL, 0},
    {"UNDRAFT", parse_flag_key, SEARCH_FLAG, IMAP_DRAFT, true, NULL, 0},
    {"UNFLAGGED", parse_flag_key, SEARCH_FLAG, IMAP_FLAGGED, true, NULL, 0},
    {"UNKEYWORD", parse_keyword, SEARCH_KEYWORD, 0, true, NULL, 0},
    {"UNSEEN", parse_flag_key, SEARCH_FLAG, IMAP_SEEN, true, NULL, 0},
};

/* search-key *(SP search-key), all of which must hold. */
static struct search_node *parse_keys(struct parser *p)
{
    struct search_node *both = add_node(p, SEARCH_AND);
    struct search_node **end = both ? &both->child : NULL;
    if (!both)
        return NULL;
    do {
        *end = parse_key(p);
        if (!*end)
            return NULL;
        end = &(*end)->next;
    } while (imap_take(p->c, ' '));
    return both;
}

static struct search_node *parse_nested(struct parser *p)
{
    int first = imap_peek(p->c);
    if (imap_take(p->c, '(')) {
        struct search_node *node = parse_keys(p);
        return node && imap_need(p->c, ')') ? node : NULL;
    }
    if (first == '*' || (first >= '0' && first <= '9'))
        return parse_set_key(p, false);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (imap_take_word(p->c, keys[i].word))
            return keys[i].parse(p, &keys[i]);
    imap_fail(p->c, "Unknown search key");
    return NULL;
}

static struct search_node *parse_key(struct parser *p)
{
    if (p->depth == LIMIT_IMAP_DEPTH) {
        imap_fail(p->c, "Search is nested too deeply");
        return NULL;
    }
    p->depth++;
    struct search_node *node = parse_nested(p);
    p->depth--;
    return node;
}

bool imap_search_parse(struct imap_server *e, struct imap_cursor *c,
                       struct search_program *ret_program)
{
    struct search_program program = {0};
    struct parser p = {.e = e, .c = c, .program = &program};
    struct str charset;
    program.leaves =
        arena_alloc_array(c->arena, LIMIT_IMAP_SEARCH_KEYS, sizeof(struct search_node *));
    if (!program.leaves)
        return imap_fail(c, "Command too large");
    if (imap_take_word(c, "CHARSET")) {
        if (!imap_need_space(c) || !imap_parse_astring(c, &charset) || !imap_need_space(c))
            return false;
        program.bad_charset =
            !str_eq_nocase(charset, STR("UTF-8")) && !str_eq_nocase(charset, STR("US-ASCII"));
    }
    if (program.bad_charset)
        c->at = c->end; /* nothing behind it can be read */
    else if (!(program.root = parse_keys(&p)))
        return false;
    /* Many keys take time: the owner is asked for something, so that others get their turn. */
    if (program.leaf_count > QUICK_KEYS)
        program.need |= IMAP_NEED_FLAGS;
    *ret_program = program;
    return true;
}

/* ---- deciding ---- */

static int64_t day_of(int64_t ms)
{
    return ms / DAY_MS - (ms % DAY_MS < 0);
}

static bool has_keyword(struct str keywords, struct str keyword)
{
    struct str word;
    while (str_split(&keywords, ' ', &word))
        if (str_eq_nocase(word, keyword))
            return true;
    return false;
}

bool imap_search_decide(const struct search_node *leaf, const struct search_facts *facts)
{
    const struct imap_message *m = facts->message;
    switch (leaf->op) {
    case SEARCH_FLAG:
        return m->flags & leaf->flag;
    case SEARCH_KEYWORD:
        return has_keyword(m->keywords, leaf->text);
    case SEARCH_RECENT:
        return facts->is_recent;
    case SEARCH_SET:
        return imap_set_contains(leaf->set, m->uid);
    case SEARCH_BEFORE:
        return day_of(m->internal_ms) < leaf->number;
    case SEARCH_ON:
        return day_of(m->internal_ms) == leaf->number;
    case SEARCH_SINCE:
        return day_of(m->internal_ms) >= leaf->number;
    case SEARCH_SENT_BEFORE:
        return facts->has_sent_day && facts->sent_day < leaf->number;
    case SEARCH_SENT_ON:
        return facts->has_sent_day && facts->sent_day == leaf->number;
    case SEARCH_SENT_SINCE:
        return facts->has_sent_day && facts->sent_day >= leaf->number;
    case SEARCH_LARGER:
        return m->size > (uint64_t)leaf->number;
    case SEARCH_SMALLER:
        return m->size < (uint64_t)leaf->number;
    default:
        bug("not a leaf that the engine decides");
    }
}

static enum search_truth evaluate_not(enum search_truth t)
{
    return t == SEARCH_UNKNOWN ? t : t == SEARCH_TRUE ? SEARCH_FALSE : SEARCH_TRUE;
}

enum search_truth imap_search_evaluate(const struct search_node *node, const uint8_t *truths,
                                       size_t stride)
{
    enum search_truth ends = node->op == SEARCH_OR ? SEARCH_TRUE : SEARCH_FALSE;
    enum search_truth result = node->op == SEARCH_OR ? SEARCH_FALSE : SEARCH_TRUE;
    if (node->op == SEARCH_NOT)
        return evaluate_not(imap_search_evaluate(node->child, truths, stride));
    if (node->op != SEARCH_AND && node->op != SEARCH_OR)
        return truths[node->leaf * stride];
    for (const struct search_node *child = node->child; child; child = child->next) {
        enum search_truth t = imap_search_evaluate(child, truths, stride);
        if (t == ends)
            return t;
        if (t == SEARCH_UNKNOWN)
            result = t;
    }
    return result;
}
