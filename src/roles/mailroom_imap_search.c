/* SEARCH for text: the engine asks about those messages that its other keys left over. */

#include "roles/mailroom_imap.h"

static bool search_slice(struct imap_session *i, struct now now)
{
    size_t count;
    (void)now;
    enum status_code status = mailroom_search_slice(i->search);
    if (status == STATUS_BUSY)
        return true;
    i->work = NULL;
    if (status != STATUS_OK) {
        imap_say_status(i, status);
        return true;
    }
    const uint32_t *uids = mailroom_search_found(i->search, &count);
    imap_answer_search(i->engine, i->event.token, uids, count);
    return true;
}

void imap_on_search(struct imap_session *i)
{
    i->search =
        mailroom_search_new(imap_room(i), i->mailbox, i->event.search.set, i->event.search.key);
    if (i->search)
        i->work = search_slice;
    else
        imap_say(i, IMAP_LIMIT);
}
