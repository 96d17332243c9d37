#ifndef POSTERN_BASE_BUG_H
#define POSTERN_BASE_BUG_H

/*
 * A bug ends the process, in release builds too: a mail server that has lost track of its own
 * state must not go on to answer 250. Bad input is never a bug; it is a protocol value.
 */

_Noreturn void bug_at(const char *file, int line, const char *what);

#define bug(what) bug_at(__FILE__, __LINE__, (what))

/* Like assert(), but never compiled out. The expression must have no side effects. */
#define invariant(expr)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(expr), 0))                                                          \
            bug_at(__FILE__, __LINE__, #expr);                                                     \
    } while (0)

#endif
