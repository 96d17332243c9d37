#ifndef POSTERN_CLI_LISTING_H
#define POSTERN_CLI_LISTING_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/str.h"

/*
 * What a command shows: rows of named columns, printed as an aligned table, as one record with a
 * line a column, or as JSON. The cells of a row are added in the order of the columns; each adder
 * must fit the kind of its column. Control characters never reach a terminal.
 */
enum listing_kind {
    LISTING_WORDS,
    LISTING_LIST, /* several words: an array in JSON, with ", " between them in a table */
    LISTING_NUMBER,
    LISTING_SIZE,  /* bytes: a number in JSON, "1.5 GiB" in a table */
    LISTING_QUOTA, /* bytes: the same, but 0 is "none" in a table */
    LISTING_TIME,  /* Unix milliseconds: RFC 3339 in both; 0 is none */
    LISTING_YES_NO,
};

struct listing_column {
    const char *title; /* "CREATED" */
    const char *key;   /* "created" */
    enum listing_kind kind;
};

enum { LISTING_COLUMNS_MAX = 20 };

struct listing {
    const struct listing_column *columns;
    size_t column_count;
    void *rows; /* json_t: an array of objects */
    void *row;
    size_t at;
    size_t printed;                     /* rows that were printed and forgotten */
    size_t widths[LISTING_COLUMNS_MAX]; /* of a table, so far */
};

enum listing_shape { LISTING_TABLE, LISTING_RECORDS };

/* The columns are borrowed. */
void listing_init(struct listing *l, const struct listing_column *columns, size_t count);

void listing_words(struct listing *l, struct str words);
void listing_list(struct listing *l, const struct str *words, size_t count);
void listing_number(struct listing *l, int64_t number); /* NUMBER, SIZE, TIME */
void listing_yes_no(struct listing *l, bool value);

/* Without printing. */
void listing_release(struct listing *l);

/*
 * For lists that do not fit into memory: once a page of rows is there, prints and forgets it. The
 * listing's end is printed with the same shape. A table's columns are as wide as was needed so far.
 */
void listing_print_page(struct listing *l, FILE *out, bool json, enum listing_shape shape);

/* Each prints and releases. `none` is said in place of a table without rows. */
void listing_print_table(struct listing *l, FILE *out, bool json, const char *none);
void listing_print_record(struct listing *l, FILE *out, bool json);

/* The same for any number of them: with empty lines between them, or as an array. */
void listing_print_records(struct listing *l, FILE *out, bool json);

#endif
