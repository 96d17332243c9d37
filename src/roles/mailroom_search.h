#ifndef POSTERN_ROLES_MAILROOM_SEARCH_H
#define POSTERN_ROLES_MAILROOM_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/imap/server.h"
#include "roles/mailroom.h"

/*
 * Finds text in the messages of a mailbox: a look at the signatures of the set tells which messages
 * may hold it, and those are read and decoded, so what is found is exact. It goes in slices, with
 * no statement open between them. The header lines that delivery put in front of a message
 * (Return-Path, Delivered-To) belong to its entry and are searched by HEADER only.
 */
struct mailroom_search;

/* Borrows set and key. NULL: no memory, or the needle is too long. */
struct mailroom_search *mailroom_search_new(struct mailroom *room, uint64_t mailbox,
                                            struct imap_set set, const struct imap_text_key *key);
void mailroom_search_free(struct mailroom_search *search);

/* One slice. STATUS_OK: done; STATUS_BUSY: there is more to do; else it failed. */
MUST_USE enum status_code mailroom_search_slice(struct mailroom_search *search);

/* What was found, ascending. */
const uint32_t *mailroom_search_found(const struct mailroom_search *search, size_t *ret_count);

#endif
