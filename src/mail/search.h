#ifndef POSTERN_MAIL_SEARCH_H
#define POSTERN_MAIL_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * Search by signature. A signature is a set of bits, one for each trigram of a text; a text can
 * only hold a needle if all trigrams of the needle are in its signature. So a search looks at the
 * signatures of all messages, and reads only the few that pass: what it finds is exact.
 *
 * Text and needle are compared folded: fold_case of codec/fold.h, and then each run of white space
 * and control characters is one space. So a phrase is found over the end of a line. Trigrams are of
 * the folded UTF-8 bytes; every needle of three bytes or more is filtered by them (one CJK
 * character is enough), a shorter one passes all signatures.
 */
#define SIGNATURE_SIZE_MIN 128
#define SIGNATURE_SIZE_MAX 65536

/*
 * Folds text that comes in pieces. Normal forms join characters, but none to an ASCII one behind
 * it: so text is cut in front of ASCII bytes, and what is behind the last of them waits here. Runs
 * longer than this are cut at its size, however the text comes.
 */
#define SEARCH_RUN_MAX 512

struct search_folder {
    char run[SEARCH_RUN_MAX];
    size_t run_len;
    bool after_space;
};

/* ---- making ---- */

struct signature_builder {
    struct search_folder folder;
    struct buf text;    /* folded text whose trigrams are not in `bits` yet */
    uint8_t *bits;      /* SIGNATURE_SIZE_MAX bytes, once the text is long; else NULL */
    uint64_t text_size; /* folded bytes */
    bool failed;
};

void signature_init(struct signature_builder *b);
void signature_release(struct signature_builder *b);

/* A piece of UTF-8 text, of any size; what is invalid counts as U+FFFD. */
void signature_add(struct signature_builder *b, struct str utf8);

/* Between texts that do not touch: no needle is found across it. */
void signature_gap(struct signature_builder *b);

/*
 * Appends the signature: a power of two of bytes, at most about a third of the text, at least an
 * eighth full, within the bounds above. False where memory or `out` was full. The builder may be
 * released or begin again.
 */
bool signature_finish(struct signature_builder *b, struct buf *out);

/* ---- looking ---- */

#define NEEDLE_TRIGRAMS_MAX 64

/* What is looked for, prepared once for all messages. */
struct search_needle {
    struct buf folded;
    uint32_t hashes[NEEDLE_TRIGRAMS_MAX];
    size_t hash_count;
};

/* `utf8` is UTF-8; false where it is too long (1,000 bytes) or memory is full. */
bool needle_init(struct search_needle *n, struct str utf8);
void needle_release(struct search_needle *n);

/* False: the text cannot hold the needle. An unknown form of signature is true. */
bool signature_may_contain(struct str signature, const struct search_needle *n);

/* The exact test, over decoded text that comes in pieces. */
struct search_matcher {
    const struct search_needle *needle;
    struct search_folder folder;
    struct buf window;
    bool found;
};

void matcher_init(struct search_matcher *m, const struct search_needle *needle);
void matcher_release(struct search_matcher *m);

/* True as soon as the needle has been found (and from then on). */
bool matcher_add(struct search_matcher *m, struct str utf8);
bool matcher_gap(struct search_matcher *m);

#endif
