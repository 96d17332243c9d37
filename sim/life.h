#ifndef POSTERN_SIM_LIFE_H
#define POSTERN_SIM_LIFE_H

#include <stdbool.h>
#include <stdint.h>

/* One life of the world (sim/README.md). */
struct life_plan {
    uint64_t seed, steps;
    const bool *left_out; /* of these steps nothing happens; or NULL */
    bool chatty;          /* the roles' log is shown */
    bool quiet;           /* no summary */
};

/* Filled in while it goes on, so that somebody who shares the memory sees where it ended. */
struct life_record {
    uint64_t step;
    char wrong[64];  /* what was */
    uint64_t digest; /* at the end; two lives of one plan have the same */
};

/* Ends the process with status 1, or by abort, where anything is wrong. */
void life_run(const struct life_plan *plan, struct life_record *record);

#endif
