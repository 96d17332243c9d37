#include "mail/address_list.h"

#include "base/bug.h"

/* It ends, groups match, and a mailbox always has its two pieces. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct address_list list;
    struct address_item item;
    size_t groups = 0;
    size_t count = 0;
    address_list_init(&list, str_make(data, size));
    while (address_list_next(&list, &item)) {
        invariant(++count <= size + 1);
        groups += item.kind == ADDRESS_ITEM_GROUP_START;
        invariant(item.kind != ADDRESS_ITEM_GROUP_END || groups-- == 1);
        invariant(item.kind != ADDRESS_ITEM_MAILBOX || (item.mailbox.ptr && item.host.ptr));
        invariant(str_find_byte(item.name, '\n') < 0 && str_find_byte(item.mailbox, '\n') < 0);
        invariant(!list.words.failed);
    }
    invariant(groups == 0);
    address_list_release(&list);
    return 0;
}
