#ifndef POSTERN_BASE_TESTING_SECRET_H
#define POSTERN_BASE_TESTING_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Does what was allocated in this process still hold a secret somewhere, freed or not? For
 * *_test.c only. A secret is given by its number, so that no copy of it is in the test itself.
 */
enum { TESTING_SECRET_SIZE = 25 };

/* A page of its own, with words and a secret between them; gone with testing_page_free. */
struct testing_page {
    char *ptr;
    size_t len;
};

struct testing_page testing_page_new(const char *before, unsigned number, const char *behind);
void testing_page_free(struct testing_page *p);

/* In the heap and in whatever else was mapped without a file; not on the stack. */
bool testing_memory_holds(unsigned number);

#endif
