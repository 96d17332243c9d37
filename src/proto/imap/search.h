#ifndef POSTERN_PROTO_IMAP_SEARCH_H
#define POSTERN_PROTO_IMAP_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/imap/parse.h"
#include "proto/imap/rangeset.h"
#include "proto/imap/server.h"
#include "proto/imap/view.h"

/*
 * A search (RFC 3501 §6.4.4) as a program: a tree of keys, small and bounded. Keys about what the
 * index knows are decided from a message's record, keys about text only by the owner; so a key of
 * a message is true, false, or not known yet, and so is the whole.
 */
enum search_op {
    SEARCH_AND, /* of all children; without any: true */
    SEARCH_OR,
    SEARCH_NOT,
    /* leaves */
    SEARCH_FLAG,    /* flag is set */
    SEARCH_KEYWORD, /* text is among the keywords */
    SEARCH_RECENT,
    SEARCH_SET,    /* set holds the UID */
    SEARCH_BEFORE, /* internal date, in days (UTC) */
    SEARCH_ON,
    SEARCH_SINCE,
    SEARCH_SENT_BEFORE, /* Date field, in days of its own zone */
    SEARCH_SENT_ON,
    SEARCH_SENT_SINCE,
    SEARCH_LARGER,
    SEARCH_SMALLER,
    SEARCH_TEXT, /* a question for the owner */
};

struct search_node {
    enum search_op op;
    struct search_node *child; /* the first */
    struct search_node *next;  /* sibling */
    size_t leaf;               /* index among the leaves */
    uint8_t flag;
    int64_t number; /* days, or octets */
    struct str text;
    struct imap_set set;
    struct imap_text_key key;
};

struct search_program {
    struct search_node *root;
    struct search_node **leaves;
    size_t leaf_count;
    unsigned need; /* of records, to decide all leaves but SEARCH_TEXT */
    bool bad_charset;
};

/* What a leaf needs to know beside the record. */
struct search_facts {
    const struct imap_message *message;
    bool is_recent;
    bool has_sent_day;
    int64_t sent_day;
};

/*
 * ["CHARSET" SP astring SP] search-key *(SP search-key), to the end of the command. Sequence sets
 * are turned into UIDs by `resolve`, which may refuse. False: BAD.
 */
struct imap_server;
bool imap_search_parse(struct imap_server *e, struct imap_cursor *c,
                       struct search_program *ret_program);

/* Decides a leaf that is not SEARCH_TEXT. */
bool imap_search_decide(const struct search_node *leaf, const struct search_facts *facts);

enum search_truth { SEARCH_FALSE, SEARCH_TRUE, SEARCH_UNKNOWN };

/* The truth of the whole, where leaf i has truths[i * stride]. */
enum search_truth imap_search_evaluate(const struct search_node *node, const uint8_t *truths,
                                       size_t stride);

#endif
