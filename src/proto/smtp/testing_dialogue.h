#ifndef POSTERN_PROTO_SMTP_TESTING_DIALOGUE_H
#define POSTERN_PROTO_SMTP_TESTING_DIALOGUE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * How a dialogue is written down (tests/dialogues/README.md), for the tests that run them. All fail
 * the test where something is wrong.
 */

enum { DIALOGUE_SIZE_MAX = 1 << 20 };

/* Takes the next "key: value" off *text, over empty lines and comments; counts lines. */
bool dialogue_line(const char *name, struct str *text, int *number, struct str *ret_key,
                   struct str *ret_value);

/* Takes the first word, and the spaces around it, off *rest. */
struct str dialogue_word(struct str *rest);

/* Appends s with \r \n \t \0 \\ \xHH made into octets. */
void dialogue_unescape(struct buf *out, struct str s);

/* The file's text, to be freed. */
struct str dialogue_load(const char *folder, const char *name);

/*
 * Runs each dialogue in the folder of that name in tests/dialogues ("" is that folder itself), with
 * the folder's path and the file's name; returns how many there were.
 */
int dialogue_run_all(const char *name, void (*run_file)(const char *folder, const char *file));

_Noreturn void dialogue_give_up(const char *name, int line, const char *what, struct str word);

#endif
