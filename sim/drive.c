/*
 * Lives of the world, each in a process of its own.
 *
 *   postern_world SEED [STEPS [LEFT-OUT]]   one life. LEFT-OUT: steps in which nothing happens, as
 *                                           --shrink prints them: 3-17,20
 *   postern_world --twice SEED [STEPS]      the same life twice: did both do the same?
 *   postern_world --many COUNT SEED [STEPS] lives of that seed and those behind it; ends at the
 *                                           first that fails, and shrinks it
 *   postern_world --shrink SEED [STEPS]     leaves out of a life that fails what it fails without
 *
 * WORLD_LOG=1 shows the roles' own log.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/str.h"
#include "sim/life.h"

enum { STEPS = 2000, SHRINK_SECONDS = 300, HUNG_SECONDS = 600 };

/* True where the life went well. Whoever hangs is ended. */
static bool live(const struct life_plan *plan, bool hushed, struct life_record *ret_record)
{
    struct life_record *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0;
    invariant(shared != MAP_FAILED);
    fflush(NULL);
    pid_t child = fork();
    invariant(child >= 0);
    if (child == 0) {
        alarm(HUNG_SECONDS);
        if (hushed)
            invariant(freopen("/dev/null", "w", stderr));
        life_run(plan, shared);
        exit(0);
    }
    invariant(waitpid(child, &status, 0) == child);
    *ret_record = *shared;
    munmap(shared, sizeof *shared);
    if (WIFSIGNALED(status) && !hushed)
        fprintf(stderr, "world: seed %llu, step %llu: ended by signal %d\n",
                (unsigned long long)plan->seed, (unsigned long long)ret_record->step,
                WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- Steps left out ---------------------------------------------------------------------------
 */

static void print_left_out(const bool *left_out, uint64_t steps)
{
    const char *between = "";
    for (uint64_t i = 1; i <= steps; i++) {
        uint64_t first = i;
        if (!left_out[i])
            continue;
        while (i < steps && left_out[i + 1])
            i++;
        printf("%s%llu-%llu", between, (unsigned long long)first, (unsigned long long)i);
        between = ",";
    }
}

static bool *read_left_out(const char *words, uint64_t steps)
{
    bool *left_out = calloc(steps + 1, 1);
    char *end;
    invariant(left_out);
    while (words && *words) {
        uint64_t first = strtoull(words, &end, 10), last = first;
        if (*end == '-')
            last = strtoull(end + 1, &end, 10);
        for (; first <= last && first <= steps; first++)
            left_out[first] = true;
        words = *end == ',' ? end + 1 : "";
    }
    return left_out;
}

/* But for numbers. */
static bool same_words(const char *a, const char *b)
{
    while (*a && *b) {
        if (ascii_is_digit(*a) && ascii_is_digit(*b)) {
            a += strspn(a, "0123456789");
            b += strspn(b, "0123456789");
        } else if (*a++ != *b++) {
            return false;
        }
    }
    return true;
}

/* Leaves out these steps too, if it still fails so then. */
static bool try_without(struct life_plan *plan, const char *wrong, bool *left_out, uint64_t first,
                        uint64_t count)
{
    struct life_record record;
    bool kept[STEPS * 10];
    bool news = false;
    if (plan->steps + 1 > sizeof kept)
        return false;
    memcpy(kept, left_out, plan->steps + 1);
    for (uint64_t i = first; i < first + count && i <= plan->steps; i++) {
        news |= !left_out[i];
        left_out[i] = true;
    }
    if (news && !live(plan, true, &record) && same_words(record.wrong, wrong))
        return true;
    memcpy(left_out, kept, plan->steps + 1);
    return false;
}

/* Halves, quarters and so on, down to single steps; as far as it comes in its time. */
static int shrink(struct life_plan plan)
{
    struct life_record record;
    time_t until = time(NULL) + SHRINK_SECONDS;
    bool *left_out = calloc(plan.steps + 1, 1);
    invariant(left_out);
    plan.quiet = true;
    plan.left_out = left_out;
    if (live(&plan, false, &record)) {
        printf("world %llu: does not fail\n", (unsigned long long)plan.seed);
        free(left_out);
        return 0;
    }
    char wrong[sizeof record.wrong];
    memcpy(wrong, record.wrong, sizeof wrong);
    plan.steps = record.step;
    for (uint64_t size = (plan.steps + 1) / 2; size > 0 && time(NULL) < until; size /= 2)
        for (uint64_t at = 1; at <= plan.steps && time(NULL) < until; at += size)
            try_without(&plan, wrong, left_out, at, size);
    printf("postern_world %llu %llu ", (unsigned long long)plan.seed,
           (unsigned long long)plan.steps);
    print_left_out(left_out, plan.steps);
    printf("   fails as well:\n");
    live(&plan, false, &record);
    free(left_out);
    return 1;
}

/* ---- Kinds of runs ----------------------------------------------------------------------------
 */

static int twice(struct life_plan plan)
{
    struct life_record first, again;
    if (!live(&plan, false, &first))
        return 1;
    plan.quiet = true;
    if (!live(&plan, false, &again))
        return 1;
    if (first.digest == again.digest)
        return 0;
    fprintf(stderr, "world %llu: two lives of one seed did not do the same\n",
            (unsigned long long)plan.seed);
    return 1;
}

static int many(struct life_plan plan, uint64_t count)
{
    struct life_record record;
    for (; count > 0; count--, plan.seed++)
        if (!live(&plan, false, &record))
            return shrink(plan);
    return 0;
}

int main(int argc, char **argv)
{
    struct life_record record;
    struct life_plan plan = {.steps = STEPS, .chatty = getenv("WORLD_LOG") != NULL};
    const char *kind = argc > 1 && argv[1][0] == '-' ? argv[1] : "";
    int at = *kind ? 2 : 1;
    uint64_t count = 0;
    if (strcmp(kind, "--many") == 0 && argc > at)
        count = strtoull(argv[at++], NULL, 10);
    plan.seed = argc > at ? strtoull(argv[at], NULL, 10) : (uint64_t)time(NULL);
    if (argc > at + 1)
        plan.steps = strtoull(argv[at + 1], NULL, 10);
    if (strcmp(kind, "--twice") == 0)
        return twice(plan);
    if (strcmp(kind, "--many") == 0)
        return many(plan, count);
    if (strcmp(kind, "--shrink") == 0)
        return shrink(plan);
    bool *left_out = read_left_out(argc > at + 2 ? argv[at + 2] : NULL, plan.steps);
    plan.left_out = left_out;
    life_run(&plan, &record);
    free(left_out);
    return 0;
}
