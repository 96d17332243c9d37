#include "proto/imap/pattern.h"

#include "base/limits.h"
#include "proto/imap/server.h"

/*
 * at[i] is true where the pattern from i on may begin at the present place of the name; outside of
 * [low, high] none is.
 */
struct places {
    bool at[LIMIT_IMAP_PATTERN_SIZE + 1];
    size_t low, high;
};

/* A wildcard may be passed over. What stands before a "*" that is reached is of no use any more. */
static void pass_wildcards(struct str pattern, struct places *p)
{
    for (size_t i = p->low; i < pattern.len && i <= p->high; i++) {
        char c = pattern.ptr[i];
        if (!p->at[i] || (c != '*' && c != '%'))
            continue;
        p->at[i + 1] = true;
        p->high = p->high > i ? p->high : i + 1;
        p->low = c == '*' ? i : p->low;
    }
}

static void take_byte(struct str pattern, struct places *p, char byte, bool any_case)
{
    size_t last = p->high < pattern.len ? p->high : pattern.len - 1;
    for (size_t i = last + 1; i-- > p->low;) {
        char c = pattern.ptr[i];
        bool same = any_case ? ascii_upper(c) == byte : c == byte;
        bool stays = c == '*' || (c == '%' && byte != IMAP_SEPARATOR);
        if (c != '*' && c != '%' && p->at[i] && same) {
            p->at[i + 1] = true;
            p->high = p->high > i ? p->high : i + 1;
        }
        p->at[i] = p->at[i] && stays;
    }
    while (p->high > p->low && !p->at[p->high])
        p->high--;
}

bool imap_pattern_matches(struct str pattern, struct str name)
{
    struct places p = {.at = {true}};
    if (pattern.len > LIMIT_IMAP_PATTERN_SIZE || pattern.len == 0)
        return pattern.len == name.len;
    bool any_case = str_eq(name, STR("INBOX"));
    pass_wildcards(pattern, &p);
    for (size_t i = 0; i < name.len && (p.at[p.low] || p.low < p.high); i++) {
        p.at[pattern.len] = false;
        take_byte(pattern, &p, name.ptr[i], any_case);
        pass_wildcards(pattern, &p);
    }
    return p.at[pattern.len];
}
