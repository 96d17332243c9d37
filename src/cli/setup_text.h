#ifndef POSTERN_CLI_SETUP_TEXT_H
#define POSTERN_CLI_SETUP_TEXT_H

#include <stdio.h>

#include "base/buf.h"
#include "base/str.h"

/* One thing to fill in: "@HOSTNAME@" with the name. */
struct setup_word {
    const char *what; /* NULL: the end of the list */
    struct str with;
};

/* Appends the template with every word filled in. */
void setup_fill(struct buf *out, struct str template, const struct setup_word *words);

/* Which DNS records are needed, and what to do next. Names are A-labels. */
void setup_explain(FILE *out, struct str domain, struct str hostname);

#endif
