/*
 * The whole server in a world from a seed: clients that send and read over connections which break
 * anywhere, roles that die at any turn, a disk that fails and a clock that jumps; and after every
 * step a look whether all that was answered is there, once, and nothing else.
 */
#include "sim/life.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "sim/housekeeper.h"
#include "sim/imap.h"
#include "sim/operator.h"
#include "sim/pop.h"
#include "sim/sender.h"
#include "sim/sink.h"
#include "sim/vfs_fault.h"

enum { SENDERS = 4, IMAPS = 5, POPS = 2, LAST_ROUNDS = 400 };
#define TEN_YEARS_MS (3653LL * 24 * 60 * 60 * 1000)

/* So many turns a message is on its way from the final dot to the end of its row, and more. */
enum { WAY_TURNS = 40 };

struct life {
    struct world world;
    struct post post;
    struct sink sink;
    struct sender senders[SENDERS];
    struct operator operator;
    struct imap_client imaps[IMAPS];
    struct pop_client pops[POPS];
    struct housekeeper housekeepers[WORLD_ACCOUNTS];
    int64_t skew_ms; /* of the wall clock */
};

/* ---- Steps --------------------------------------------------------------------------------------
 */

static void hear_all(struct life *life)
{
    for (int i = 0; i < SENDERS; i++)
        sender_hear(&life->senders[i]);
    for (int i = 0; i < IMAPS; i++)
        imap_client_hear(&life->imaps[i]);
}

static void rest(struct life *life, bool whole)
{
    world_settle(&life->world);
    hear_all(life);
    post_check(&life->post, whole);
    sink_check(&life->sink);
    for (int i = 0; i < IMAPS; i++)
        imap_client_check_idle(&life->imaps[i]);
}

static uint32_t some_message(struct life *life)
{
    struct world *w = &life->world;
    unsigned person = (unsigned)world_draw(w, POST_ACCOUNTS + WORLD_ACCOUNTS);
    uint32_t old = world_draw(w, 2) ? post_unfinished(&life->post, person, POST_ALL) : 0;
    return old ? old : post_make(&life->post, 1 + (unsigned)world_draw(w, POST_ALL));
}

static void send_some(struct life *life)
{
    struct world *w = &life->world;
    struct sender *s = &life->senders[world_draw(w, SENDERS)];
    if (!s->in_use)
        sender_start(s, some_message(life), (unsigned)world_draw(w, 3));
    for (uint64_t n = world_draw(w, 4); n > 0; n--) {
        sender_speak(s, world_draw(w, 2));
        world_turns(w, (int)world_draw(w, 10));
    }
    if (world_draw(w, 25) == 0)
        sender_drop(s);
}

/* All speak, and some turns later somebody is not there any more. */
static void everybody_speaks(struct life *life)
{
    struct world *w = &life->world;
    for (int i = 0; i < SENDERS; i++)
        sender_speak(&life->senders[i], world_draw(w, 4) != 0);
    if (world_draw(w, 2))
        imap_client_step(&life->imaps[world_draw(w, IMAPS)]);
    world_turns(w, (int)world_draw(w, 8));
}

static void kill_somebody(struct life *life)
{
    enum world_role which = (enum world_role)world_draw(&life->world, WORLD_ROLES);
    everybody_speaks(life);
    if (which == WORLD_COURIER)
        sink_note_death(&life->sink);
    world_kill(&life->world, which);
}

/* The sink has taken something, and whoever should note it goes. */
static void strike_behind_a_dot(struct life *life)
{
    struct world *w = &life->world;
    uint64_t before = life->sink.all;
    world_pass(w, 5000); /* what was put off goes too */
    everybody_speaks(life);
    for (int i = 0; i < WAY_TURNS && life->sink.all == before; i++)
        world_turns(w, 1);
    world_turns(w, (int)world_draw(w, 3));
    if (world_draw(w, 3) == 0) {
        world_kill(w, WORLD_VAULT); /* the courier knows, and tells the next one */
        return;
    }
    sink_note_death(&life->sink);
    if (world_draw(w, 2))
        world_kill(w, WORLD_COURIER);
    else
        world_power_cut(w);
}

static void cut_power(struct life *life)
{
    everybody_speaks(life);
    sink_note_death(&life->sink);
    world_power_cut(&life->world);
}

static void drop_somebody(struct life *life)
{
    everybody_speaks(life);
    sender_drop(&life->senders[world_draw(&life->world, SENDERS)]);
}

static void break_disk(struct life *life)
{
    struct world *w = &life->world;
    enum fault fault = (enum fault)(FAULT_FULL + world_draw(w, 3));
    disk_set_fault(fault, 1 + world_draw(w, 100));
}

/* The wall clock may be set, to whatever: nothing is forgotten by it. */
static void move_clock(struct life *life)
{
    struct world *w = &life->world;
    int64_t skew_ms = (int64_t)world_draw(w, 2 * TEN_YEARS_MS) - TEN_YEARS_MS;
    w->clock.wall_ms += skew_ms - life->skew_ms;
    life->skew_ms = skew_ms;
}

/* Mostly a moment; now and then a time-out, and seldom an hour, over which mail grows late. */
static void pass_time(struct life *life)
{
    struct world *w = &life->world;
    uint64_t chance = world_draw(w, 400);
    world_pass(w, chance == 0 ? 3600000 : chance < 8 ? 61000 : (int64_t)world_draw(w, 200));
}

/* Several at once: what they say meets in the server. */
static void read_some(struct life *life)
{
    struct world *w = &life->world;
    for (uint64_t n = 1 + world_draw(w, 12); n > 0; n--) {
        imap_client_step(&life->imaps[world_draw(w, IMAPS)]);
        if (world_draw(w, 3) == 0)
            world_turns(w, (int)world_draw(w, 10));
    }
    if (world_draw(w, 40) == 0)
        imap_client_drop(&life->imaps[world_draw(w, IMAPS)]);
}

static void audit_some(struct life *life)
{
    rest(life, false);
    imap_client_audit(&life->imaps[world_draw(&life->world, IMAPS)]);
}

static void fetch_by_pop(struct life *life)
{
    rest(life, false);
    pop_client_step(&life->pops[world_draw(&life->world, POPS)]);
}

static void keep_house(struct life *life)
{
    rest(life, false);
    housekeeper_step(&life->housekeepers[world_draw(&life->world, WORLD_ACCOUNTS)]);
}

static void meddle(struct life *life)
{
    if (world_draw(&life->world, 3) == 0)
        everybody_speaks(life);
    operator_meddle(&life->operator);
}

/* Weights, of 200. */
static const struct {
    uint64_t below;
    void (*act)(struct life *life);
    const char *name;
} acts[] = {
    {5, kill_somebody, "kill_somebody"},
    {7, cut_power, "cut_power"},
    {10, break_disk, "break_disk"},
    {13, move_clock, "move_clock"},
    {16, drop_somebody, "drop_somebody"},
    {20, strike_behind_a_dot, "strike_behind_a_dot"},
    {25, meddle, "meddle"},
    {40, fetch_by_pop, "fetch_by_pop"},
    {60, audit_some, "audit_some"},
    {80, keep_house, "keep_house"},
    {135, read_some, "read_some"},
    {200, send_some, "send_some"},
};

static void step(struct life *life)
{
    struct world *w = &life->world;
    uint64_t chance = world_draw(w, 200);
    size_t i = 0;
    operator_begin_step(&life->operator);
    pass_time(life);
    while (chance >= acts[i].below)
        i++;
    world_note(w, "step %llu: %s", (unsigned long long)w->step, acts[i].name);
    acts[i].act(life);
    if (disk_struck() && world_draw(w, 4) == 0)
        disk_set_fault(FAULT_NONE, 0);
    sink_wake(&life->sink);
    rest(life, chance < 7);
}

/* ---- Lives --------------------------------------------------------------------------------------
 */

static void empty_queue(struct life *life)
{
    life->sink.friendly = true;
    for (int i = 0; sink_awaits(&life->sink) > 0; i++) {
        sink_wake(&life->sink);
        if (i > LAST_ROUNDS)
            world_wrong(&life->world, "%zu recipients elsewhere wait for ever",
                        sink_awaits(&life->sink));
        world_pass(&life->world, 5000);
        rest(life, false);
    }
}

static uint32_t any_unfinished(const struct post *p)
{
    uint32_t message = 0;
    for (unsigned i = 0; message == 0 && i < POST_ACCOUNTS + WORLD_ACCOUNTS; i++)
        message = post_unfinished(p, i, POST_ALL);
    return message;
}

/* Nothing breaks any more: all that was ever wanted arrives, and what arrived before stays single.
 */
static void finish(struct life *life)
{
    struct world *w = &life->world;
    struct sender *s = &life->senders[0];
    uint32_t message;
    disk_set_fault(FAULT_NONE, 0);
    for (int i = 0; i < SENDERS; i++)
        sender_drop(&life->senders[i]);
    rest(life, true);
    operator_relent(&life->operator);
    operator_begin_step(&life->operator);
    for (int i = 0; (message = any_unfinished(&life->post)) != 0 || s->in_use; i++) {
        if (i > LAST_ROUNDS * 10)
            world_wrong(w, "message %u cannot be delivered", message);
        if (!s->in_use)
            sender_start(s, message, 100);
        sender_speak(s, true);
        world_pass(w, 1000); /* whoever failed to log in has to wait */
        rest(life, false);
    }
    for (int i = 0; i < IMAPS; i++)
        imap_client_audit(&life->imaps[i]);
    empty_queue(life);
    sink_check_told(&life->sink);
    world_power_cut(w);
    rest(life, true);
    for (int i = 0; i < WORLD_ACCOUNTS; i++)
        housekeeper_check(&life->housekeepers[i]);
    for (uint32_t n = 1; n <= life->post.count; n++)
        for (int i = 0; i < WORLD_ACCOUNTS; i++) {
            const struct post_message *m = &life->post.messages[n];
            if (m->copies[i] != (m->states[i] == POST_KEPT) && !(m->excused >> i & 1))
                world_wrong(w, "message %u came to %s %u times", n, world_names[i], m->copies[i]);
        }
}

static void tell(const struct life *life)
{
    const struct world *w = &life->world;
    const struct sink *s = &life->sink;
    printf("world %llu: %llu steps, %u messages, %llu roles started again, %llu power cuts, "
           "disk calls %llu\n",
           (unsigned long long)w->seed, (unsigned long long)w->step, life->post.count,
           (unsigned long long)w->restarts, (unsigned long long)w->power_cuts,
           (unsigned long long)disk_calls());
    printf("      elsewhere: %llu came, %llu of them again, %llu met a death, %llu reports\n",
           (unsigned long long)s->all, (unsigned long long)s->again, (unsigned long long)s->caught,
           (unsigned long long)s->reports);
    uint64_t commands = 0, logins = 0, sent_logins = 0, pops = 0;
    for (int i = 0; i < IMAPS; i++) {
        commands += life->imaps[i].commands;
        logins += life->imaps[i].logins;
    }
    for (int i = 0; i < POPS; i++)
        pops += life->pops[i].sessions;
    for (int i = 0; i < SENDERS; i++)
        sent_logins += life->senders[i].logins;
    printf("      %llu IMAP commands in %llu sessions, %llu changes, %llu of them beside others; "
           "%llu POP3 sessions, %llu submissions, %llu acts of the operator\n",
           (unsigned long long)commands, (unsigned long long)logins,
           (unsigned long long)life->post.claimed, (unsigned long long)life->post.contested,
           (unsigned long long)pops, (unsigned long long)sent_logins,
           (unsigned long long)life->operator.changes);
    uint64_t house = 0, lost = 0;
    for (int i = 0; i < WORLD_ACCOUNTS; i++) {
        house += life->housekeepers[i].commands;
        lost += life->housekeepers[i].lost;
    }
    printf("      %llu commands about folders, %llu of them without an answer\n",
           (unsigned long long)house, (unsigned long long)lost);
}

static void begin(struct life *life, const struct life_plan *plan)
{
    world_open(&life->world, plan->seed, plan->chatty);
    life->post.world = &life->world;
    for (int i = 0; i < SENDERS; i++)
        sender_init(&life->senders[i], &life->post);
    for (unsigned i = 0; i < IMAPS; i++)
        imap_client_init(&life->imaps[i], &life->post, i % WORLD_ACCOUNTS);
    for (unsigned i = 0; i < WORLD_ACCOUNTS; i++)
        housekeeper_init(&life->housekeepers[i], &life->post, i);
    for (unsigned i = 0; i < POPS; i++)
        pop_client_init(&life->pops[i], &life->post, i % WORLD_ACCOUNTS);
    sink_open(&life->sink, &life->post);
    operator_set_up(&life->operator, & life->post, &life->sink);
}

/* Those of this process; the folder that is read is one. */
static size_t count_descriptors(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    invariant(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* Frees the world; what it had open is closed again. */
static void end(struct life *life, size_t descriptors)
{
    for (int i = 0; i < SENDERS; i++)
        sender_release(&life->senders[i]);
    for (int i = 0; i < IMAPS; i++)
        imap_client_release(&life->imaps[i]);
    for (int i = 0; i < POPS; i++)
        pop_client_release(&life->pops[i]);
    for (int i = 0; i < WORLD_ACCOUNTS; i++)
        housekeeper_release(&life->housekeepers[i]);
    sink_close(&life->sink);
    world_close(&life->world);
    if (count_descriptors() > descriptors)
        world_wrong(&life->world, "%zu descriptors are left open, %zu were before",
                    count_descriptors(), descriptors);
    free(life);
}

void life_run(const struct life_plan *plan, struct life_record *record)
{
    struct life *life = calloc(1, sizeof *life);
    size_t descriptors = count_descriptors();
    invariant(life);
    begin(life, plan);
    life->world.ret_wrong = record->wrong;
    for (uint64_t i = 1; i <= plan->steps; i++) {
        record->step = i;
        if (plan->left_out && plan->left_out[i])
            continue;
        world_begin_step(&life->world, i);
        step(life);
    }
    record->step = plan->steps;
    world_begin_step(&life->world, plan->steps + 1);
    finish(life);
    record->digest = disk_digest();
    if (!plan->quiet)
        tell(life);
    end(life, descriptors);
}
