#include "proto/imap/pattern.h"

#include "base/limits.h"
#include "proto/imap/server.h"

/*
 * at[i] is true where the pattern from i on may begin at the present place of the name; a wildcard
 * may also be passed over.
 */
static void pass_wildcards(struct str pattern, bool *at)
{
    for (size_t i = 0; i < pattern.len; i++)
        if (at[i] && (pattern.ptr[i] == '*' || pattern.ptr[i] == '%'))
            at[i + 1] = true;
}

static void take_byte(struct str pattern, bool *at, char byte, bool any_case)
{
    for (size_t i = pattern.len; i-- > 0;) {
        char p = pattern.ptr[i];
        bool same = any_case ? ascii_upper(p) == byte : p == byte;
        bool stays = p == '*' || (p == '%' && byte != IMAP_SEPARATOR);
        if (p != '*' && p != '%' && at[i] && same)
            at[i + 1] = true;
        at[i] = at[i] && stays;
    }
}

bool imap_pattern_matches(struct str pattern, struct str name)
{
    bool at[LIMIT_IMAP_PATTERN_SIZE + 1] = {true};
    if (pattern.len > LIMIT_IMAP_PATTERN_SIZE)
        return false;
    bool any_case = str_eq(name, STR("INBOX"));
    pass_wildcards(pattern, at);
    for (size_t i = 0; i < name.len; i++) {
        at[pattern.len] = false;
        take_byte(pattern, at, name.ptr[i], any_case);
        pass_wildcards(pattern, at);
    }
    return at[pattern.len];
}
