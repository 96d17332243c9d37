#ifndef POSTERN_BASE_DIAG_H
#define POSTERN_BASE_DIAG_H

/*
 * Words for a person about why something failed. The caller owns it, starts it as {0} and may pass
 * NULL where nobody will read it. Functions leave it untouched on success; the innermost cause is
 * set first, and callers further out put their context in front of it.
 */
struct diag {
    char words[400];
};

void diag_set(struct diag *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "context: what it said already". */
void diag_prefix(struct diag *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
