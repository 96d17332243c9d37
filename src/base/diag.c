#include "base/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void diag_set(struct diag *d, const char *format, ...)
{
    if (!d)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(d->words, sizeof d->words, format, args);
    va_end(args);
}

void diag_prefix(struct diag *d, const char *format, ...)
{
    if (!d)
        return;
    struct diag old = *d;
    va_list args;
    va_start(args, format);
    vsnprintf(d->words, sizeof d->words, format, args);
    va_end(args);
    size_t len = strlen(d->words);
    snprintf(d->words + len, sizeof d->words - len, ": %s", old.words);
}
