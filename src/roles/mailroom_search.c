#include "roles/mailroom_search.h"

#include <stdlib.h>

#include "mail/decode.h"
#include "mail/header.h"
#include "mail/ingest.h"
#include "mail/search.h"

enum {
    SIGNATURES_PER_SLICE = 2000,
    CANDIDATES_PER_SLICE = 256,
    BODY_PER_SLICE = 256 * 1024,
    FIELD_SIZE_MAX = 1024 * 1024
};

struct mailroom_search {
    struct mailroom *room;
    uint64_t mailbox;
    struct imap_set set;
    const struct imap_text_key *key;
    struct search_needle needle;
    size_t at;      /* range of the set */
    uint32_t after; /* signatures up to here have been looked at */
    uint32_t candidates[CANDIDATES_PER_SLICE];
    size_t candidate_count;
    size_t candidate_at;
    struct message_search *verifier; /* of the candidate at hand, where it takes several slices */
    uint64_t offset;
    struct buf found;
};

struct mailroom_search *mailroom_search_new(struct mailroom *room, uint64_t mailbox,
                                            struct imap_set set, const struct imap_text_key *key)
{
    struct mailroom_search *search = calloc(1, sizeof(*search));
    if (!search)
        return NULL;
    search->room = room;
    search->mailbox = mailbox;
    search->set = set;
    search->key = key;
    buf_init(&search->found, SIZE_MAX / 2);
    if (needle_init(&search->needle, key->needle))
        return search;
    free(search);
    return NULL;
}

void mailroom_search_free(struct mailroom_search *search)
{
    if (!search)
        return;
    message_search_free(search->verifier);
    needle_release(&search->needle);
    buf_release(&search->found);
    free(search);
}

const uint32_t *mailroom_search_found(const struct mailroom_search *search, size_t *ret_count)
{
    *ret_count = search->found.len / sizeof(uint32_t);
    return (const void *)search->found.ptr;
}

/* ---- Candidates
 * ---------------------------------------------------------------------------------------- */

static bool prefix_matches(const struct mailroom_search *search, struct str prefix)
{
    struct search_matcher matcher;
    matcher_init(&matcher, &search->needle);
    bool found = matcher_add(&matcher, prefix) || matcher_gap(&matcher);
    matcher_release(&matcher);
    return found;
}

/*
 * Delivery's own lines are not in the signature: they are looked at for TEXT, and for a field of
 * such a name every message may do.
 */
static bool may_match(const struct mailroom_search *search, const struct signature_row *row)
{
    const struct imap_text_key *key = search->key;
    if (key->kind == IMAP_TEXT_HEADER && (str_eq_nocase(key->header, STR("Return-Path")) ||
                                          str_eq_nocase(key->header, STR("Delivered-To"))))
        return true;
    return signature_may_contain(row->signature, &search->needle) ||
           (key->kind == IMAP_TEXT_ALL && prefix_matches(search, row->prefix));
}

/* Moves to the range that uid may lie in; false: it lies in none. */
static bool in_set(struct mailroom_search *search, uint32_t uid)
{
    while (search->at < search->set.count && search->set.ranges[search->at].last < uid)
        search->at++;
    return search->at < search->set.count && uid >= search->set.ranges[search->at].first;
}

static enum status_code scan(struct mailroom_search *search)
{
    struct signature_scan scan;
    struct signature_row row;
    bool more = false;
    if (search->after < search->set.ranges[search->at].first - 1)
        search->after = search->set.ranges[search->at].first - 1;
    signatures_begin(&scan, search->room->db, search->mailbox, search->after);
    for (int n = 0; n < SIGNATURES_PER_SLICE && search->candidate_count < CANDIDATES_PER_SLICE;
         n++) {
        more = signatures_next(&scan, &row);
        if (!more)
            break;
        search->after = row.uid;
        if (in_set(search, row.uid) && may_match(search, &row))
            search->candidates[search->candidate_count++] = row.uid;
        if (search->at == search->set.count)
            break;
    }
    if (!more)
        search->at = search->set.count;
    return signatures_end(&scan);
}

/* ---- Verifying
 * ----------------------------------------------------------------------------------------- */

static bool value_matches(struct mailroom_search *search, struct str block, struct buf *scratch)
{
    struct search_matcher matcher;
    buf_clear(scratch);
    struct str line = decode_header(block, scratch);
    ptrdiff_t colon = str_find_byte(line, ':');
    matcher_init(&matcher, &search->needle);
    bool found = matcher_add(&matcher, str_trim(str_skip(line, (size_t)(colon + 1)))) ||
                 matcher_gap(&matcher);
    matcher_release(&matcher);
    return found;
}

static bool header_matches(struct mailroom_search *search, struct str block)
{
    struct header_cursor cursor = header_cursor_at(block);
    struct header_field field;
    struct buf scratch;
    bool found = false;
    buf_init(&scratch, FIELD_SIZE_MAX);
    while (!found && header_next(&cursor, &field)) {
        if (!str_eq_nocase(field.name, search->key->header))
            continue;
        found = str_empty(search->key->needle) ||
                value_matches(search, str_sub(block, field.offset, field.size), &scratch);
    }
    buf_release(&scratch);
    return found;
}

/* A header is bounded (LIMIT_HEADER_SIZE): it is read whole. */
static enum status_code verify_header(struct mailroom_search *search,
                                      const struct message_record *message, bool *ret_found)
{
    struct mailroom *room = search->room;
    struct buf block;
    buf_init(&block, LIMIT_HEADER_SIZE + message->prefix.len);
    enum status_code status = body_read(&room->reader, room->db, message, 0,
                                        LIMIT_HEADER_SIZE + message->prefix.len, &block);
    *ret_found = status == STATUS_OK && header_matches(search, buf_str(&block));
    buf_release(&block);
    return status;
}

/* One piece of the message. STATUS_BUSY: not decided yet. */
static enum status_code verify_body(struct mailroom_search *search,
                                    const struct message_record *message, bool *ret_found)
{
    struct mailroom *room = search->room;
    struct buf piece;
    *ret_found = search->key->kind == IMAP_TEXT_ALL && prefix_matches(search, message->prefix);
    if (*ret_found)
        return STATUS_OK;
    if (!search->verifier) {
        search->verifier = message_search_new(
            &search->needle, search->key->kind == IMAP_TEXT_ALL ? SEARCH_TEXT : SEARCH_BODY);
        search->offset = message->prefix.len;
        if (!search->verifier)
            return STATUS_NO_MEMORY;
    }
    buf_init(&piece, BODY_PER_SLICE);
    enum status_code status =
        body_read(&room->reader, room->db, message, search->offset, BODY_PER_SLICE, &piece);
    search->offset += piece.len;
    *ret_found = status == STATUS_OK && message_search_write(search->verifier, buf_str(&piece));
    buf_release(&piece);
    if (status != STATUS_OK || *ret_found)
        return status;
    if (search->offset < message->size)
        return STATUS_BUSY;
    *ret_found = message_search_finish(search->verifier);
    return STATUS_OK;
}

static enum status_code verify(struct mailroom_search *search)
{
    uint32_t uid = search->candidates[search->candidate_at];
    struct message_record message;
    bool found = false;
    arena_reset(&search->room->scratch);
    enum status_code status =
        read_message(search->room->db, search->mailbox, uid, &search->room->scratch, &message);
    if (status == STATUS_OK)
        status = search->key->kind == IMAP_TEXT_HEADER ? verify_header(search, &message, &found)
                                                       : verify_body(search, &message, &found);
    if (status == STATUS_BUSY)
        return status;
    search->candidate_at++;
    message_search_free(search->verifier);
    search->verifier = NULL;
    if (found && !buf_append(&search->found, &uid, sizeof(uid)))
        return STATUS_NO_MEMORY;
    return status == STATUS_OK || status == STATUS_NOT_FOUND ? STATUS_BUSY : status;
}

enum status_code mailroom_search_slice(struct mailroom_search *search)
{
    if (search->candidate_at < search->candidate_count)
        return verify(search);
    search->candidate_at = 0;
    search->candidate_count = 0;
    if (search->at == search->set.count)
        return STATUS_OK;
    enum status_code status = scan(search);
    return status == STATUS_OK ? STATUS_BUSY : status;
}
