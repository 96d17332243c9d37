#include "store/wal_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/testing.h"
#include "store/db.h"
#include "store/write.h"

struct world {
    char folder[64], path[96], index[112];
    int go[2], done[2]; /* between us and the child that uses the database */
    pid_t child;
};

static void await(int fd)
{
    char octet;
    if (read(fd, &octet, 1) != 1)
        _exit(1);
}

static void let_go(int fd)
{
    if (write(fd, "", 1) != 1)
        _exit(1);
}

enum act { COMMIT, BEGIN, END };
static const enum act acts[] = {BEGIN, COMMIT, END, COMMIT, BEGIN, COMMIT, END};

/* We ourselves never open it: see the header. Each act waits for a word. */
static void use(const struct world *w)
{
    struct writer writer = {0};
    struct db *reader = NULL;
    struct diag d = {0};
    bool good = db_open(w->path, DB_WRITE, &writer.db, &d) == STATUS_OK &&
                db_open(w->path, DB_READ, &reader, &d) == STATUS_OK;
    for (size_t i = 0; good && i < sizeof acts / sizeof *acts; i++) {
        await(w->go[0]);
        if (acts[i] == COMMIT)
            good = writer_begin(&writer) == STATUS_OK && writer_commit(&writer) == STATUS_OK;
        else if (acts[i] == BEGIN)
            good = db_snapshot_begin(reader) == STATUS_OK &&
                   query_run(db_query(reader, "SELECT 1 FROM counter")) == STATUS_OK;
        else
            db_snapshot_end(reader);
        let_go(w->done[1]);
    }
    _exit(good ? 0 : 1);
}

static pid_t oldest(struct world *w)
{
    pid_t pid = -1;
    assert_int_equal(wal_index_oldest_reader(w->index, &pid), STATUS_OK);
    return pid;
}

static void who_reads_what_is_behind_the_last_commit_is_found(void **state)
{
    struct world w;
    (void)state;
    snprintf(w.folder, sizeof w.folder, "/tmp/postern-index-XXXXXX");
    assert_non_null(mkdtemp(w.folder));
    snprintf(w.path, sizeof w.path, "%s/postern.db", w.folder);
    snprintf(w.index, sizeof w.index, "%s-shm", w.path);
    assert_int_equal(pipe(w.go) | pipe(w.done), 0);
    w.child = fork();
    if (w.child == 0)
        use(&w);
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        let_go(w.go[1]);
        await(w.done[0]);
        /* Only he who is behind a commit keeps anything. */
        assert_int_equal(oldest(&w),
                         i > 0 && acts[i] == COMMIT && acts[i - 1] == BEGIN ? w.child : 0);
    }
    int status = 1;
    assert_int_equal(waitpid(w.child, &status, 0), w.child);
    assert_int_equal(status, 0);
    pid_t pid;
    static const char *const endings[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", w.path, endings[i]);
        unlink(name);
    }
    assert_int_equal(wal_index_oldest_reader(w.index, &pid), STATUS_NOT_FOUND);
    assert_int_equal(rmdir(w.folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_reads_what_is_behind_the_last_commit_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
