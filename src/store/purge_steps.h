#ifndef POSTERN_STORE_PURGE_STEPS_H
#define POSTERN_STORE_PURGE_STEPS_H

#include "store/write.h"

/*
 * What the two files of purging share (write_purge.c, write_aging.c). A step does one slice of one
 * thing; *ret_count: 0 where it found nothing to do.
 */

/* The slice may go on. */
bool purge_has_time(const struct purge *p);

/* Expunged or removed at a time that has not come yet: it counts from now. */
MUST_USE enum status_code purge_unborn(struct writer *w, struct purge *p, size_t *ret_count);

/* Steps of messages that are more than a month old. */
MUST_USE enum status_code purge_traces(struct writer *w, struct purge *p, size_t *ret_count);

/* What is found by looking at all there is, from p->kind on. */
MUST_USE enum status_code purge_old(struct writer *w, struct purge *p, size_t *ret_count);

#endif
