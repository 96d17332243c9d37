#ifndef POSTERN_SIM_HOUSEKEEPER_H
#define POSTERN_SIM_HOUSEKEEPER_H

#include "sim/post.h"
#include "sim/wire.h"

/*
 * Who keeps the folders of an account beside those that everybody uses: makes, renames, deletes and
 * subscribes them, puts letters of several parts in, copies and moves these, searches for their
 * words and fetches pieces of them. Nobody else touches these folders, so it knows what is there
 * but for the outcome of its last command, where that was lost: then it is as before, or done.
 */
enum { HOUSE_NAMES = 9, HOUSE_LETTERS = 10, HOUSE_SEEN = 4096 };

struct house_letter {
    uint32_t uid; /* 0: not seen so far */
    uint32_t number;
};

struct house_folder {
    bool there, selectable, subscribed;
    uint32_t uidvalidity; /* 0: not seen so far */
    size_t count;
    struct house_letter letters[HOUSE_LETTERS];
};

struct house {
    struct house_folder folders[HOUSE_NAMES];
};

struct housekeeper {
    struct post *post;
    unsigned account;
    struct wire wire;
    bool in;
    uint32_t tag, letters;
    struct house house;
    struct {
        uint32_t uidvalidity, uid, number;
    } seen[HOUSE_SEEN]; /* what a UID ever meant */
    size_t seen_count;
    uint64_t commands, lost; /* for the summary */
};

void housekeeper_init(struct housekeeper *h, struct post *post, unsigned account);
void housekeeper_release(struct housekeeper *h);

/* One thing, from its beginning to its end; turns the loop. All is at rest before and after. */
void housekeeper_step(struct housekeeper *h);

/* Is the store so? */
void housekeeper_check(struct housekeeper *h);

#endif
