#ifndef POSTERN_MAIL_CONTENT_H
#define POSTERN_MAIL_CONTENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/*
 * Reads values of the form of Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2183):
 * tokens and parameters, as real software writes them. It works inside the bytes it is given: they
 * are rewritten (lower case, quotes gone), and every str points into them.
 */
#define CONTENT_PARAMS_MAX 64

struct content_param {
    struct str name; /* lower case */
    struct str value;
};

struct content {
    struct str type;    /* lower case; of Content-Disposition: the disposition */
    struct str subtype; /* empty where there is no "/" */
    struct content_param params[CONTENT_PARAMS_MAX];
    size_t param_count;
};

/* False where there is no token to begin with. More parameters than fit are left out. */
bool content_parse(char *value, size_t len, struct content *ret_content);

/* The first token in lower case, for Content-Transfer-Encoding; empty where there is none. */
struct str content_token(char *value, size_t len);

#endif
