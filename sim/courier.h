#ifndef POSTERN_SIM_COURIER_H
#define POSTERN_SIM_COURIER_H

#include "roles/vault_batch.h"
#include "sim/model.h"

/*
 * A courier as the vault knows it: it leases, decides what became of each recipient, says so until
 * it is answered, and comes back with what it holds after the vault or itself has died. It checks
 * that it is never given what it holds, nor what it was answered to be rid of.
 */
enum { SIM_HELD = 1024, SIM_DESTINATIONS = 6, SIM_OUTCOMES = 8 };

struct sim_held {
    uint64_t id;
    uint64_t destination;
    uint32_t number;
    uint8_t task;
    uint8_t outcome; /* decided, when `said` */
    bool said;       /* in the batch that is under way, or in one that failed */
    bool saying;     /* in the batch that is under way */
};

struct sim_courier {
    struct sim_held held[SIM_HELD];
    size_t held_count;
    uint64_t at[SIM_DESTINATIONS]; /* destinations it is at */
    size_t at_count;
    uint64_t leaving[SIM_DESTINATIONS];
    size_t leaving_count;
    unsigned char *over; /* a bit for each recipient whose end was answered */
    uint64_t (*draw)(void *context, uint64_t below);
    void *context;
    uint64_t leased, settled, repeated;
};

enum { SIM_NUMBERS = 1 << 22 };

void sim_courier_address(uint32_t number, char out[static 40]);

/* Asks for work. The answer is the last reply of the batch. */
void sim_courier_lease(struct sim_courier *c, struct vault_batch *v, struct vault_ticket t);
bool sim_courier_leased(struct sim_courier *c, const struct ipc_lease_out *out,
                        const struct model *m, struct diag *why);

/* Says what became of some of what it holds, and leaves some destinations; `m` follows. */
void sim_courier_outcomes(struct sim_courier *c, struct vault_batch *v, struct vault_ticket t,
                          int64_t at_ms, struct model *m);

/* It was told so, or that nothing of it happened. */
void sim_courier_answered(struct sim_courier *c, bool good);

/* The vault is another. False: it did not take what the courier holds. */
bool sim_courier_resume(struct sim_courier *c, struct vault_batch *v);

/* It has died, and with it what it held. */
void sim_courier_forget(struct sim_courier *c);

#endif
