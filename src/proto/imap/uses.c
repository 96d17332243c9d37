#include "proto/imap/uses.h"

static const char *const use_names[] = {"All",  "Archive", "Drafts", "Flagged",
                                        "Junk", "Sent",    "Trash"};

enum { USE_COUNT = sizeof use_names / sizeof use_names[0] };

uint8_t imap_use_of(struct str name)
{
    for (size_t i = 0; i < USE_COUNT; i++)
        if (str_eq_nocase(name, str_from_c(use_names[i])))
            return (uint8_t)(1 << i);
    return 0;
}

void imap_put_uses(struct buf *out, uint8_t uses)
{
    for (size_t i = 0; i < USE_COUNT; i++)
        if (uses & 1 << i)
            buf_printf(out, " \\%s", use_names[i]);
}
