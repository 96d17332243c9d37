#ifndef POSTERN_CODEC_CONF_H
#define POSTERN_CODEC_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/*
 * The grammar of the configuration file: UTF-8, one directive a line.
 *
 *   line      = [ directive / "}" ] [ comment ] LF
 *   directive = 1*word [ "{" ]
 *   word      = 1*bare / DQUOTE *( quoted / "\" DQUOTE / "\\" ) DQUOTE
 *   comment   = "#" to the end of the line; the "#" begins a word
 *   bare      = any character but space, control, DQUOTE, "{", "}", and "#" at the front
 *
 * A "{" at a line's end opens a block, which a line with "}" alone closes. What the words mean is
 * not known here. Nothing else here reads or knows a file.
 */
struct conf_word {
    struct str text;
    int line, column; /* from 1; a column is a character, also a tab */
};

struct conf_directive {
    struct conf_directive *next;
    struct conf_word *words; /* the first one is its name */
    size_t word_count;       /* 1 or more */
    bool has_block;
    struct conf_directive *block; /* the first one in it */
};

/*
 * What is wrong with a file, in the order of its lines; all of it, up to CONF_ERRORS_MAX. Start
 * it with conf_errors_init; it lives in the arena.
 */
enum { CONF_ERRORS_MAX = 100 };

struct conf_error {
    struct conf_error *next;
    int line, column;
    struct str words;
};

struct conf_errors {
    struct arena *arena;
    struct conf_error *first;
    size_t count; /* may be more than are kept */
    bool no_memory;
};

void conf_errors_init(struct conf_errors *errors, struct arena *arena);
void conf_error_add(struct conf_errors *errors, int line, int column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Appends "file:line:column: words" and a line end for each. */
void conf_errors_print(const struct conf_errors *errors, struct str file_name, struct buf *out);

/*
 * Reads a text into directives, which live in the arena and borrow from text. Syntax errors are
 * added to errors, and what could be read is returned all the same. STATUS_NO_MEMORY where the
 * arena is spent; else STATUS_OK.
 */
enum status_code conf_parse(struct str text, struct arena *arena, struct conf_errors *errors,
                            struct conf_directive **ret_first) MUST_USE;

/* Appends a word that conf_parse reads as s, quoted where it must be; s has no control bytes. */
void conf_write_word(struct buf *out, struct str s);

#endif
