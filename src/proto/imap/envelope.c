#include "mail/address_list.h"
#include "proto/imap/fetch.h"
#include "proto/imap/reply.h"

/*
 * address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"; a group begins with one
 * without a host and ends with one without anything (RFC 3501 §7.4.2).
 */
static void put_address(struct buf *out, const struct address_item *item)
{
    bool is_start = item->kind == ADDRESS_ITEM_GROUP_START;
    buf_append_byte(out, '(');
    imap_put_nstring(out, is_start ? (struct str){NULL, 0} : item->name);
    buf_append_byte(out, ' ');
    imap_put_nstring(out, item->route);
    buf_append_byte(out, ' ');
    imap_put_nstring(out, item->mailbox);
    buf_append_byte(out, ' ');
    /* Only a group may lack a host: clients would take an address without one for a group. */
    if (item->kind == ADDRESS_ITEM_MAILBOX && !item->host.ptr)
        buf_append_str(out, STR("\"\""));
    else
        imap_put_nstring(out, item->host);
    buf_append_byte(out, ')');
}

static void put_addresses(struct buf *out, struct str value)
{
    struct address_list list;
    struct address_item item;
    bool any = false;
    buf_append_byte(out, ' ');
    address_list_init(&list, value);
    while (value.ptr && !out->failed && address_list_next(&list, &item)) {
        if (!any)
            buf_append_byte(out, '(');
        any = true;
        put_address(out, &item);
    }
    address_list_release(&list);
    buf_append_str(out, any ? STR(")") : STR("NIL"));
}

void imap_put_envelope(struct buf *out, const struct structure_envelope *e)
{
    buf_append_byte(out, '(');
    imap_put_nstring(out, e->date);
    buf_append_byte(out, ' ');
    imap_put_nstring(out, e->subject);
    put_addresses(out, e->from);
    /* RFC 3501 §7.4.2: where these are absent or empty, they are From. */
    put_addresses(out, str_empty(e->sender) ? e->from : e->sender);
    put_addresses(out, str_empty(e->reply_to) ? e->from : e->reply_to);
    put_addresses(out, e->to);
    put_addresses(out, e->cc);
    put_addresses(out, e->bcc);
    buf_append_byte(out, ' ');
    imap_put_nstring(out, e->in_reply_to);
    buf_append_byte(out, ' ');
    imap_put_nstring(out, e->message_id);
    buf_append_byte(out, ')');
}
