#ifndef POSTERN_ROLES_CONFIG_SET_H
#define POSTERN_ROLES_CONFIG_SET_H

#include "roles/config_read.h"

/* What the tables of directives are made of. */

#define CONFIG_TABLE(rows)                                                                         \
    &(const struct config_table)                                                                   \
    {                                                                                              \
        (rows), sizeof(rows) / sizeof((rows)[0])                                                   \
    }

#define CONFIG_SECOND UINT64_C(1000)
#define CONFIG_DAY    (86400 * CONFIG_SECOND)

enum { CONFIG_PATH_LEN_MAX = 4095 };

/* The word behind the directive's name with that number, from 1. */
struct str config_argument(const struct conf_directive *given, size_t word);

/* Says what is wrong with a word, if anything; true where nothing is. */
bool config_is_right(struct config_reader *r, const struct conf_directive *given, size_t word,
                     const char *wrong);

/* Appends each argument. */
void config_add_networks(struct config_reader *r, const struct conf_directive *given,
                         struct networks *networks);

/*
 * Setters of one argument, for rows: the field at the row's offset in struct config becomes it,
 * within the row's min and max.
 */
void config_set_count(struct config_reader *r, const struct config_directive *row,
                      const struct conf_directive *given);
void config_set_size(struct config_reader *r, const struct config_directive *row,
                     const struct conf_directive *given);
void config_set_duration(struct config_reader *r, const struct config_directive *row,
                         const struct conf_directive *given);
void config_set_yes_no(struct config_reader *r, const struct config_directive *row,
                       const struct conf_directive *given);
void config_set_domain(struct config_reader *r, const struct config_directive *row,
                       const struct conf_directive *given);

/* An absolute path of at most row->max bytes. */
void config_set_path(struct config_reader *r, const struct config_directive *row,
                     const struct conf_directive *given);

/* Of all arguments; repeated, they add up. */
void config_set_networks(struct config_reader *r, const struct config_directive *row,
                         const struct conf_directive *given);

#endif
