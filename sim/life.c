/*
 * The whole server in a world from a seed: clients that send and read over connections which break
 * anywhere, roles that die at any turn, a disk that fails and a clock that jumps; and after every
 * step a look whether all that was answered is there, once, and nothing else.
 */
#include "sim/life.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "sim/post.h"
#include "sim/reader.h"
#include "sim/sender.h"
#include "sim/sink.h"
#include "sim/vfs_fault.h"

enum { SENDERS = 4, LAST_ROUNDS = 400 };
#define TEN_YEARS_MS (3653LL * 24 * 60 * 60 * 1000)

/* So many turns a message is on its way from the final dot to the end of its row, and more. */
enum { WAY_TURNS = 40 };

struct life {
    struct world world;
    struct post post;
    struct sink sink;
    struct sender senders[SENDERS];
    struct reader readers[WORLD_ACCOUNTS];
    int64_t skew_ms; /* of the wall clock */
};

/* ---- Steps --------------------------------------------------------------------------------------
 */

static void hear_all(struct life *life)
{
    for (int i = 0; i < SENDERS; i++)
        sender_hear(&life->senders[i]);
}

static void rest(struct life *life, bool whole)
{
    world_settle(&life->world);
    hear_all(life);
    post_check(&life->post, whole);
    sink_check(&life->sink);
}

static uint32_t some_message(struct life *life)
{
    struct world *w = &life->world;
    uint32_t old = world_draw(w, 2) ? post_unfinished(&life->post, POST_ALL) : 0;
    return old ? old : post_make(&life->post, 1 + (unsigned)world_draw(w, POST_ALL));
}

static void send_some(struct life *life)
{
    struct world *w = &life->world;
    struct sender *s = &life->senders[world_draw(w, SENDERS)];
    if (s->fd < 0)
        sender_start(s, some_message(life), (unsigned)world_draw(w, 3));
    else
        sender_speak(s, world_draw(w, 2));
    if (world_draw(w, 25) == 0)
        sender_drop(s);
}

/* All speak, and some turns later somebody is not there any more. */
static void everybody_speaks(struct life *life)
{
    struct world *w = &life->world;
    for (int i = 0; i < SENDERS; i++)
        sender_speak(&life->senders[i], world_draw(w, 4) != 0);
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

static void pass_time(struct life *life)
{
    struct world *w = &life->world;
    world_pass(w, world_draw(w, 50) == 0 ? 61000 : (int64_t)world_draw(w, 200));
}

static void read_some(struct life *life)
{
    struct world *w = &life->world;
    struct reader *r = &life->readers[world_draw(w, WORLD_ACCOUNTS)];
    rest(life, false);
    if (world_draw(w, 4) == 0)
        reader_pop(r);
    else
        reader_read(r);
    if (world_draw(w, 10) == 0)
        reader_drop(r);
}

static void step(struct life *life)
{
    struct world *w = &life->world;
    uint64_t chance = world_draw(w, 200);
    pass_time(life);
    if (chance < 8)
        kill_somebody(life);
    else if (chance < 10)
        cut_power(life);
    else if (chance < 13)
        break_disk(life);
    else if (chance < 16)
        move_clock(life);
    else if (chance < 20)
        drop_somebody(life);
    else if (chance < 26)
        strike_behind_a_dot(life);
    else if (chance < 46)
        read_some(life);
    else
        send_some(life);
    if (disk_struck() && world_draw(w, 4) == 0)
        disk_set_fault(FAULT_NONE, 0);
    rest(life, chance < 10);
}

/* ---- Lives --------------------------------------------------------------------------------------
 */

static void empty_queue(struct life *life)
{
    life->sink.friendly = true;
    for (int i = 0; sink_awaits(&life->sink) > 0; i++) {
        if (i > LAST_ROUNDS)
            world_wrong(&life->world, "%zu recipients elsewhere wait for ever",
                        sink_awaits(&life->sink));
        world_pass(&life->world, 5000);
        rest(life, false);
    }
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
    for (int i = 0; (message = post_unfinished(&life->post, POST_ALL)) != 0 || s->fd >= 0; i++) {
        if (i > LAST_ROUNDS * 10)
            world_wrong(w, "message %u cannot be delivered", message);
        if (s->fd < 0)
            sender_start(s, message, 100);
        sender_speak(s, true);
        rest(life, false);
    }
    empty_queue(life);
    world_power_cut(w);
    rest(life, true);
    for (uint32_t m = 1; m <= life->post.count; m++)
        for (int i = 0; i < WORLD_ACCOUNTS; i++)
            if (life->post.copies[m][i] != (life->post.states[m][i] == POST_KEPT))
                world_wrong(w, "message %u came to %s %u times", m, world_names[i],
                            life->post.copies[m][i]);
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
}

static void begin(struct life *life, const struct life_plan *plan)
{
    world_open(&life->world, plan->seed, plan->chatty);
    life->post.world = &life->world;
    for (int i = 0; i < SENDERS; i++)
        sender_init(&life->senders[i], &life->post);
    for (unsigned i = 0; i < WORLD_ACCOUNTS; i++)
        reader_init(&life->readers[i], &life->post, i);
    sink_open(&life->sink, &life->post);
}

static void end(struct life *life)
{
    for (int i = 0; i < SENDERS; i++)
        sender_release(&life->senders[i]);
    for (int i = 0; i < WORLD_ACCOUNTS; i++)
        reader_release(&life->readers[i]);
    sink_close(&life->sink);
    world_close(&life->world);
    free(life);
}

void life_run(const struct life_plan *plan, struct life_record *record)
{
    struct life *life = calloc(1, sizeof *life);
    invariant(life);
    begin(life, plan);
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
    end(life);
}
