#ifndef POSTERN_ROLES_NEW_EMAIL_H
#define POSTERN_ROLES_NEW_EMAIL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/str.h"
#include "ipc/ipc_messages.h"
#include "mail/ingest.h"
#include "store/ingest.h"

/*
 * What every role that gives the vault a new message tells it in the same way: the edge's accept,
 * the mailroom's append, the courier's reports.
 */

/*
 * What is stored beside the body; borrows facts. A structure so large that it strains the channel
 * is made for no reader: it is left out, and whoever needs it parses the body again.
 */
void new_email_describe(const struct ingest_facts *facts, struct ipc_email *ret_email);

/* The chunks that are ready, borrowed from the writer as body_writer_ready says. */
size_t new_email_chunks(struct body_writer *w, struct ipc_chunk *chunks, size_t count_max);

/*
 * The fields in front of a recipient's copy. RFC 5321 §4.4: final delivery puts Return-Path on top;
 * Delivered-To is what everybody does. reverse_path is empty for the null path. False: no room, or
 * what should be an address is none.
 */
bool new_email_prefix(struct arena *a, struct str reverse_path, struct str delivered_to,
                      struct str *ret_prefix);

#endif
