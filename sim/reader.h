#ifndef POSTERN_SIM_READER_H
#define POSTERN_SIM_READER_H

#include "sim/post.h"

/*
 * A person who reads: an IMAP session that stays open over many steps, until something breaks it.
 * What it sees must be what the store holds.
 */
struct reader {
    struct post *post;
    unsigned account;
    int fd; /* -1: not logged in */
    struct buf heard;
};

void reader_init(struct reader *r, struct post *post, unsigned account);
void reader_release(struct reader *r);

/* Logs in where need be, looks, and removes some of what there is. The loop turns meanwhile. */
void reader_read(struct reader *r);

/* A whole session by POP3. */
void reader_pop(struct reader *r);

void reader_drop(struct reader *r);

#endif
