#include "cli/setup_root.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/testing.h"

/* A folder with root/ and outside/ in it. */
struct world {
    char folder[64], root_path[80], outside[80];
    struct setup_root root;
};

static int begin(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->folder, sizeof w->folder, "/tmp/postern-setup-root-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->root_path, sizeof w->root_path, "%s/root", w->folder);
    snprintf(w->outside, sizeof w->outside, "%s/outside", w->folder);
    assert_int_equal(mkdir(w->root_path, 0700), 0);
    assert_int_equal(mkdir(w->outside, 0700), 0);
    assert_int_equal(setup_root_open(w->root_path, &w->root, NULL), STATUS_OK);
    *state = w;
    return 0;
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *where)
{
    (void)facts, (void)kind, (void)where;
    return remove(path);
}

static int end(void **state)
{
    struct world *w = *state;
    setup_root_close(&w->root);
    assert_int_equal(nftw(w->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(w);
    return 0;
}

static void link_in_root(const struct world *w, const char *name, const char *to)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", w->root_path, name);
    assert_int_equal(symlink(to, path), 0);
}

static bool is_in_root(const struct world *w, const char *name)
{
    char path[160];
    struct stat there;
    snprintf(path, sizeof path, "%s/%s", w->root_path, name);
    return lstat(path, &there) == 0;
}

static bool is_outside_empty(const struct world *w)
{
    return rmdir(w->outside) == 0 && mkdir(w->outside, 0700) == 0;
}

static void a_file_and_its_folders_are_made_below(void **state)
{
    struct world *w = *state;
    struct setup_place p;
    struct buf text;
    char real[PATH_MAX], wanted[160];
    struct stat facts;
    umask(077);
    assert_int_equal(setup_place_open(&w->root, "/etc/postern/a.conf", &p, NULL), STATUS_OK);
    assert_false(setup_place_exists(&p));
    assert_int_equal(setup_place_write(&p, STR("words"), 0644, NULL), STATUS_OK);
    assert_true(setup_place_exists(&p) && is_in_root(w, "etc/postern/a.conf"));
    buf_init(&text, 100);
    assert_int_equal(setup_place_read(&p, &text, NULL), STATUS_OK);
    assert_true(str_eq(buf_str(&text), STR("words")));
    buf_release(&text);
    snprintf(wanted, sizeof wanted, "%s/etc/postern", w->root_path);
    assert_int_equal(setup_place_folder(&p, real, NULL), STATUS_OK);
    assert_string_equal(real, wanted);
    assert_int_equal(stat(wanted, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0755);
    snprintf(wanted, sizeof wanted, "%s/etc/postern/a.conf", w->root_path);
    assert_string_equal(p.shown, wanted);
    setup_place_close(&p);
}

static void links_lead_where_they_would_if_the_root_were_the_machine(void **state)
{
    struct world *w = *state;
    struct setup_place p;
    link_in_root(w, "etc", w->outside); /* which is not there, seen from the root */
    struct diag diag = {0};
    assert_int_equal(setup_place_open(&w->root, "/etc/a", &p, &diag), STATUS_NOT_FOUND);
    assert_non_null(strstr(diag.words, "/root/etc: No such file"));
    link_in_root(w, "run", "/../../../../usr/lib");
    link_in_root(w, "lib", "usr/lib");
    assert_int_equal(setup_place_open(&w->root, "/usr/lib/x", &p, NULL), STATUS_OK);
    setup_place_close(&p);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(setup_place_open(&w->root, i ? "/run/b" : "/lib/a", &p, NULL), STATUS_OK);
        assert_int_equal(setup_place_write(&p, STR("x"), 0600, NULL), STATUS_OK);
        setup_place_close(&p);
    }
    assert_true(is_in_root(w, "usr/lib/a") && is_in_root(w, "usr/lib/b"));
    assert_true(is_outside_empty(w));
}

static void a_link_in_the_file_s_own_place_is_not_followed(void **state)
{
    struct world *w = *state;
    struct setup_place p;
    struct buf text;
    char there[160];
    snprintf(there, sizeof there, "%s/target", w->outside);
    link_in_root(w, "a", there);
    link_in_root(w, "a.new", there);
    assert_int_equal(setup_place_open(&w->root, "/a", &p, NULL), STATUS_OK);
    assert_true(setup_place_exists(&p));
    buf_init(&text, 100);
    assert_int_equal(setup_place_read(&p, &text, NULL), STATUS_INVALID);
    buf_release(&text);
    assert_int_equal(setup_place_write(&p, STR("x"), 0600, NULL), STATUS_OK);
    assert_int_equal(setup_place_link(&p, "x", NULL), STATUS_EXISTS);
    setup_place_close(&p);
    assert_true(is_outside_empty(w));
}

static void what_cannot_be_is_named(void **state)
{
    struct world *w = *state;
    struct setup_place p;
    struct setup_root none;
    struct diag diag = {0};
    assert_int_equal(setup_root_open("/no/such/root", &none, &diag), STATUS_NOT_FOUND);
    assert_non_null(strstr(diag.words, "/no/such/root: No such file"));
    assert_int_equal(setup_place_open(&w->root, "/file", &p, NULL), STATUS_OK);
    assert_int_equal(setup_place_write(&p, STR("x"), 0600, NULL), STATUS_OK);
    setup_place_close(&p);
    assert_int_not_equal(setup_place_open(&w->root, "/file/x", &p, &diag), STATUS_OK);
    assert_non_null(strstr(diag.words, "/root/file: Not a directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_and_its_folders_are_made_below, begin, end),
        cmocka_unit_test_setup_teardown(links_lead_where_they_would_if_the_root_were_the_machine,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_link_in_the_file_s_own_place_is_not_followed, begin, end),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_named, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
