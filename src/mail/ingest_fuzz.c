#include "mail/ingest.h"

#include "base/bug.h"
#include "mail/search.h"

/*
 * Whole and in pieces give the same facts, and what the exact search finds, the signature lets
 * through. The first line of the input is the needle, the rest the message.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ingest *ingest(struct str message, size_t piece, struct ingest_facts *ret_facts)
{
    struct ingest *in = ingest_new();
    for (; message.len > 0; message = str_skip(message, piece))
        ingest_write(in, str_sub(message, 0, piece));
    invariant(ingest_finish(in, ret_facts) == STATUS_OK);
    return in;
}

static bool finds(const struct search_needle *n, struct str message, size_t piece)
{
    struct message_search *s = message_search_new(n, SEARCH_TEXT);
    for (; message.len > 0; message = str_skip(message, piece))
        message_search_write(s, str_sub(message, 0, piece));
    bool found = message_search_finish(s);
    message_search_free(s);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str message = str_make(data, size);
    struct str needle = {0};
    if (!str_split(&message, '\n', &needle))
        return 0;
    size_t piece = size % 61 + 1;
    struct ingest_facts whole, pieces;
    struct ingest *a = ingest(message, message.len ? message.len : 1, &whole);
    struct ingest *b = ingest(message, piece, &pieces);
    invariant(whole.size == pieces.size);
    invariant(str_eq(whole.signature, pieces.signature));
    invariant(str_eq(whole.structure_blob, pieces.structure_blob));
    struct search_needle n;
    if (needle_init(&n, needle)) {
        bool found = finds(&n, message, piece);
        invariant(found == finds(&n, message, 1000));
        invariant(!found || signature_may_contain(whole.signature, &n));
    }
    needle_release(&n);
    ingest_free(a);
    ingest_free(b);
    return 0;
}
