#ifndef POSTERN_SIM_POST_H
#define POSTERN_SIM_POST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "sim/world.h"

/*
 * What the world's clients know of their messages, and whether the store agrees: whatever was
 * answered 250 is there once, whole; what was offered without an answer is there once or not at
 * all; nothing else is.
 */
enum { POST_MESSAGES = 4096, POST_SHOWN = 512 };

/* Whom a message is for: accounts, and somebody elsewhere: "mN@elsewhere.test" (sink.h). */
enum { POST_ELSEWHERE = WORLD_ACCOUNTS, POST_WHO };
enum { POST_HERE = (1 << WORLD_ACCOUNTS) - 1, POST_ALL = (1 << POST_WHO) - 1 };

/* Of a message, for one of them. */
enum post_state {
    POST_NOT_FOR_HIM,
    POST_WANTED,  /* no final dot was sent for it so far */
    POST_OFFERED, /* a final dot was sent, and no 250 seen */
    POST_KEPT,    /* 250 */
};

struct post_entry {
    uint32_t uid;
    uint32_t message;
    bool doomed; /* its removal was asked for, and not yet confirmed */
};

struct post_box {
    uint32_t uid_last; /* the highest ever seen */
    uint32_t uidvalidity;
    size_t count;
    struct post_entry entries[POST_SHOWN];
};

struct post {
    struct world *world;
    uint32_t count; /* messages 1 to count */
    uint8_t states[POST_MESSAGES][POST_WHO];
    uint8_t copies[POST_MESSAGES][WORLD_ACCOUNTS]; /* ever seen */
    bool busy[POST_MESSAGES];                      /* with a client */
    struct post_box boxes[WORLD_ACCOUNTS];
};

/* A new message for those (bits). */
uint32_t post_make(struct post *p, unsigned whom);

/* Those (bits) that have no 250 for it. */
unsigned post_missing(const struct post *p, uint32_t message);

/* An old message that one of those (bits) has no 250 for, and that nobody is sending; 0: none. */
uint32_t post_unfinished(const struct post *p, unsigned whom);

/* "alice@sim.test" */
void post_address(uint32_t message, unsigned who, char out[static 40]);

/* Its octets: all of the message's, stuffed for DATA and with the final dot where dotted. */
void post_octets(uint32_t message, bool dotted, struct buf *out);

/* Number in the next "<mN@sim>" of *words, which moves on behind it; 0: there is none. */
uint32_t post_next_id(struct str *words);

/* Compares; whole: bodies seen before are read again, and the tables looked through. */
void post_check(struct post *p, bool whole);

#endif
