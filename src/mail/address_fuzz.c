#include "mail/address.h"

#include "base/bug.h"

/* What is read can be printed, and what is printed is read as the same mailbox. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct mailbox_address *a)
{
    struct buf printed, normal, normal_again;
    struct mailbox_address again;
    buf_init(&printed, 1000);
    buf_init(&normal, 2000);
    buf_init(&normal_again, 2000);
    invariant(address_print(&printed, a));
    enum address_result result = address_parse_mailbox(buf_str(&printed), &again);
    invariant(result != ADDRESS_BAD);
    if (result == ADDRESS_OK) {
        bool named = address_normalise(&normal, a);
        invariant(named == address_normalise(&normal_again, &again));
        invariant(str_eq(buf_str(&normal), buf_str(&normal_again)));
    }
    buf_release(&printed);
    buf_release(&normal);
    buf_release(&normal_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_make(data, size);
    struct mailbox_path path;
    size_t used = 0;
    bool is_literal;
    for (enum path_kind kind = PATH_REVERSE; kind <= PATH_FORWARD; kind++) {
        if (address_parse_path(s, kind, &path, &used) != ADDRESS_OK)
            continue;
        invariant(used <= size && used >= 2 && s.ptr[used - 1] == '>');
        if (path.mailbox.domain.len > 0)
            check_again(&path.mailbox);
    }
    struct mailbox_address a;
    if (address_parse_mailbox(s, &a) == ADDRESS_OK)
        check_again(&a);
    address_parse_domain(s, &is_literal);
    return 0;
}
