#ifndef POSTERN_MAIL_ADDRESS_LIST_H
#define POSTERN_MAIL_ADDRESS_LIST_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * Reads the address-list of a header field (RFC 5322 §3.4 and §4.4), leniently: it takes whatever
 * people send, never fails and always ends. The pieces are those of IMAP's ENVELOPE (RFC 3501
 * §7.4.2). Encoded words stay as they are.
 *
 *     struct address_list list;
 *     struct address_item item;
 *     address_list_init(&list, value);
 *     while (address_list_next(&list, &item)) ...
 *     address_list_release(&list);
 */
enum address_item_kind {
    ADDRESS_ITEM_MAILBOX,
    ADDRESS_ITEM_GROUP_START, /* `mailbox` is the name of the group, the rest is absent */
    ADDRESS_ITEM_GROUP_END,   /* everything is absent */
};

/*
 * Absent pieces have a NULL ptr; mailbox and host of a mailbox are never absent, but may be empty.
 * All bytes live until the next address_list_next.
 */
struct address_item {
    enum address_item_kind kind;
    struct str name;    /* display name without quotes; else a comment behind the address */
    struct str route;   /* "@a,@b" of an obsolete route */
    struct str mailbox; /* local part without quotes */
    struct str host;    /* domain, without comments and spaces */
};

struct address_list {
    struct str rest;
    struct buf words;
    bool in_group;
};

/* `value` is a field's value, folded or not, and must outlive the list. */
void address_list_init(struct address_list *list, struct str value);
bool address_list_next(struct address_list *list, struct address_item *ret_item);
void address_list_release(struct address_list *list);

#endif
