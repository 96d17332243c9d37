#ifndef POSTERN_ROLES_CONFIG_READ_H
#define POSTERN_ROLES_CONFIG_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "codec/conf.h"
#include "roles/config.h"

/*
 * How directives become a struct config. What directives there are, with their arguments and where
 * they may stand, is the table in config_table.c; this is what walks over it.
 */
struct config_route_block {
    struct route_rule rule;
    bool has_tls;
};

struct config_reader {
    struct arena *arena;
    struct conf_errors *errors;
    struct config *config;
    struct config_listener *listener; /* inside a `listen` block: what its addresses become */
    struct config_route_block *route; /* inside a `route` block */
    struct config_policy *policy;     /* inside a `policy` block */
    bool no_memory;
};

struct config_table {
    const struct config_directive *rows;
    size_t count;
};

struct config_directive {
    const char *name;
    size_t args_min, args_max;
    bool repeats;
    void (*apply)(struct config_reader *r, const struct config_directive *row,
                  const struct conf_directive *given);

    /* For the general setters: a field of struct config, and its range. */
    size_t offset;
    uint64_t min, max;

    const struct config_table *block; /* NULL: it has none */
    bool block_needed;
};

/* The directives of a file's outermost level. */
extern const struct config_table config_table;

/* Applies each directive, and says what is unknown, given twice, or has wrong arguments. */
void config_read_block(struct config_reader *r, const struct config_table *table,
                       const struct conf_directive *first);

/* "NAME: "WORD" WRONG", at the word. */
void config_wrong_word(struct config_reader *r, const struct conf_directive *given, size_t word,
                       const char *wrong);

/*
 * A list with room for one more element behind its count ones: the same, or a larger copy. NULL
 * where there is no memory, which r then remembers.
 */
void *config_grow(struct config_reader *r, void *list, size_t count, size_t size);

#endif
