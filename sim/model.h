#ifndef POSTERN_SIM_MODEL_H
#define POSTERN_SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/db.h"

/*
 * What must be in the store, in the simplest form that can say it: mailboxes of entries, each with
 * a UID, flags and the number of its message (whose octets follow from the number), the
 * retransmission keys that are not confirmed, and the recipients that wait for other servers.
 */
enum {
    MODEL_BOXES = 4,
    MODEL_ENTRIES = 400,
    MODEL_KEYS = 32,
    MODEL_WAITING = 400,
    MODEL_RELAYS = 4, /* a message's recipients elsewhere: number = message * 4 + 0, 1, 2, 3 */
};

struct model_waiting {
    uint32_t number;
    uint32_t attempts;
};

struct model_entry {
    uint32_t uid;
    uint32_t flags;
    uint32_t message;
};

struct model_box {
    uint64_t account;
    uint64_t mailbox;
    uint32_t uidnext;
    size_t count;
    struct model_entry entries[MODEL_ENTRIES];
};

struct model {
    struct model_box boxes[MODEL_BOXES];
    bool unconfirmed[MODEL_KEYS];
    struct model_waiting waiting[MODEL_WAITING];
    size_t waiting_count;
};

/* A recipient elsewhere: it waits, was deferred, is gone (if it still waits). */
void model_wait(struct model *m, uint32_t number);
bool model_waits(const struct model *m, uint32_t number);
void model_deferred(struct model *m, uint32_t number);
void model_relayed(struct model *m, uint32_t number);

void model_add(struct model_box *box, uint32_t message, uint32_t flags);
void model_remove(struct model_box *box, size_t index);

/* The octets of a message: about one in eight is larger than a chunk. The caller frees them. */
char *model_message(uint32_t message, size_t *ret_size);

/*
 * Does the store hold exactly this? Sizes, counts, UIDs and flags; with bodies, every octet too,
 * and that nothing else is left lying about. Says what is wrong where `why` is not NULL.
 */
bool model_matches(const struct model *m, struct db *db, bool bodies, struct diag *why);

/* Do the tables agree with each other? arriving: so many bodies may have come in part. */
bool model_is_sound(struct db *db, size_t arriving, struct diag *why);

#endif
