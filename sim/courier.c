#include "sim/courier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

static uint64_t draw(struct sim_courier *c, uint64_t below)
{
    return c->draw(c->context, below);
}

void sim_courier_address(uint32_t number, char out[static 40])
{
    snprintf(out, 40, "r%u@d%u.test", number, number % SIM_DESTINATIONS);
}

static bool is_over(const struct sim_courier *c, uint32_t number)
{
    return c->over[number / 8] >> number % 8 & 1;
}

static struct sim_held *find(struct sim_courier *c, uint32_t number)
{
    for (size_t i = 0; i < c->held_count; i++)
        if (c->held[i].number == number)
            return &c->held[i];
    return NULL;
}

/* ---- Leasing -----------------------------------------------------------------------------------
 */

void sim_courier_lease(struct sim_courier *c, struct vault_batch *v, struct vault_ticket t)
{
    struct ipc_want wants[SIM_DESTINATIONS];
    t.owner = c;
    for (size_t i = 0; i < c->at_count; i++)
        wants[i] = (struct ipc_want){c->at[i], (uint32_t)draw(c, 4)};
    vault_lease(v, t,
                &(struct ipc_lease_in){.wants = wants,
                                       .wants_count = c->at_count,
                                       .fresh = (uint32_t)draw(c, 3),
                                       .troubled = (uint32_t)draw(c, 3),
                                       .messages = 1 + (uint32_t)draw(c, 3)});
}

static bool take(struct sim_courier *c, const struct ipc_job *job,
                 const struct ipc_job_recipient *r, const struct model *m, struct diag *why)
{
    unsigned number = 0;
    char words[40];
    if (!str_to_c(text_peek(r->recipient), words, sizeof words) ||
        sscanf(words, "r%u@", &number) != 1) {
        diag_set(why, "a recipient nobody named was leased: %s", words);
        return false;
    }
    if (find(c, number) || is_over(c, number) || !model_waits(m, number)) {
        diag_set(why, "%s was leased, though it %s", words,
                 find(c, number)      ? "is out already"
                 : is_over(c, number) ? "was answered to be over"
                                      : "does not wait");
        return false;
    }
    invariant(c->held_count < SIM_HELD);
    c->held[c->held_count++] = (struct sim_held){
        .id = r->id, .destination = job->destination, .number = number, .task = r->task};
    c->leased++;
    return true;
}

bool sim_courier_leased(struct sim_courier *c, const struct ipc_lease_out *out,
                        const struct model *m, struct diag *why)
{
    for (size_t i = 0; i < out->begun_count; i++) {
        invariant(c->at_count < SIM_DESTINATIONS);
        c->at[c->at_count++] = out->begun[i].destination;
    }
    for (size_t i = 0; i < out->jobs_count; i++)
        for (size_t n = 0; n < out->jobs[i].recipients_count; n++)
            if (!take(c, &out->jobs[i], &out->jobs[i].recipients[n], m, why))
                return false;
    return true;
}

/* ---- Outcomes ----------------------------------------------------------------------------------
 */

enum { DONE, FAILED, LATER, UNTRIED, MOVED };

/* What was said once is said again just so: it is what happened. */
static void decide(struct sim_courier *c, struct sim_held *h)
{
    static const uint8_t usual[] = {DONE, DONE, DONE, DONE, FAILED, LATER, LATER, UNTRIED, MOVED};
    if (h->said)
        c->repeated++;
    else
        h->outcome = h->task ? DONE : usual[draw(c, sizeof usual)];
    h->said = h->saying = true;
}

static void follow(struct model *m, const struct sim_held *h)
{
    if (h->outcome == DONE || h->outcome == FAILED)
        model_relayed(m, h->number);
    else if (h->outcome == LATER)
        model_deferred(m, h->number);
}

static size_t leave(struct sim_courier *c, struct ipc_arrival *arrivals)
{
    size_t count = 0;
    for (size_t i = 0; i < c->at_count; i++)
        if (draw(c, 4) == 0) {
            bool trouble = draw(c, 3) == 0;
            arrivals[count] = (struct ipc_arrival){
                .destination = c->at[i], .state = trouble, .retry_ms = (int64_t)draw(c, 4000)};
            c->leaving[count++] = c->at[i];
        }
    c->leaving_count = count;
    return count;
}

void sim_courier_outcomes(struct sim_courier *c, struct vault_batch *v, struct vault_ticket t,
                          int64_t at_ms, struct model *m)
{
    struct ipc_outcome outcomes[SIM_OUTCOMES];
    struct ipc_arrival arrivals[SIM_DESTINATIONS];
    char destination[40];
    size_t count = 0;
    snprintf(destination, sizeof destination, "dns:d%u.test", (unsigned)draw(c, SIM_DESTINATIONS));
    for (size_t i = 0; i < c->held_count && count < SIM_OUTCOMES; i++) {
        if (draw(c, 2))
            continue;
        decide(c, &c->held[i]);
        outcomes[count++] = (struct ipc_outcome){.recipient = c->held[i].id,
                                                 .outcome = c->held[i].outcome,
                                                 .retry_ms = (int64_t)draw(c, 4000),
                                                 .remote = text_from(STR("mx")),
                                                 .destination = str_from_c(destination)};
        follow(m, &c->held[i]);
    }
    t.owner = c;
    vault_outcomes(v, t,
                   &(struct ipc_outcomes_in){.at_ms = at_ms,
                                             .outcomes = outcomes,
                                             .outcomes_count = count,
                                             .arrivals = arrivals,
                                             .arrivals_count = leave(c, arrivals)});
}

static void settle(struct sim_courier *c, size_t index)
{
    const struct sim_held *h = &c->held[index];
    if (h->outcome == DONE || h->outcome == FAILED)
        c->over[h->number / 8] |= (unsigned char)(1 << h->number % 8);
    c->settled++;
    c->held[index] = c->held[--c->held_count];
}

static void left(struct sim_courier *c, uint64_t destination)
{
    for (size_t i = 0; i < c->at_count; i++)
        if (c->at[i] == destination)
            c->at[i] = c->at[--c->at_count];
}

void sim_courier_answered(struct sim_courier *c, bool good)
{
    for (size_t i = c->held_count; i > 0; i--) {
        bool saying = c->held[i - 1].saying;
        c->held[i - 1].saying = false;
        if (saying && good)
            settle(c, i - 1);
    }
    for (size_t i = 0; good && i < c->leaving_count; i++)
        left(c, c->leaving[i]);
    c->leaving_count = 0;
}

/* ---- Deaths ------------------------------------------------------------------------------------
 */

bool sim_courier_resume(struct sim_courier *c, struct vault_batch *v)
{
    struct ipc_held held[SIM_HELD];
    struct vault_reply reply;
    for (size_t i = 0; i < c->held_count; i++)
        held[i] = (struct ipc_held){c->held[i].id, 0};
    c->at_count = c->leaving_count = 0;
    vault_resume(v, (struct vault_ticket){c, 0},
                 &(struct ipc_resume_in){.held = held, .held_count = c->held_count});
    bool good = vault_batch_commit(v);
    while (good && vault_batch_reply(v, &reply))
        good = reply.status == STATUS_OK;
    return good;
}

void sim_courier_forget(struct sim_courier *c)
{
    c->held_count = c->at_count = c->leaving_count = 0;
}
