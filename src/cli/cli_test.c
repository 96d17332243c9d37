#include "cli/cli.h"

#include <stdlib.h>

#include "base/testing.h"
#include "cli/setup_text.h"

/* Runs a command line and gives its exit status, output and errors. */
struct ran {
    int code;
    char *out;
    char *err;
};

static struct ran run(const char *const *words, int count)
{
    struct ran r = {0};
    size_t out_size, err_size;
    char *argv[16];
    FILE *out = open_memstream(&r.out, &out_size), *err = open_memstream(&r.err, &err_size);
    for (int i = 0; i < count; i++)
        argv[i] = strdup(words[i]);
    r.code = cli_main(count, argv, stdin, out, err);
    fclose(out);
    fclose(err);
    for (int i = 0; i < count; i++)
        free(argv[i]);
    return r;
}

static void expect(int code, const char *out, const char *err, const char *const *words, int count)
{
    struct ran r = run(words, count);
    assert_int_equal(r.code, code);
    assert_non_null(strstr(r.out, out));
    assert_non_null(strstr(r.err, err));
    free(r.out);
    free(r.err);
}

#define EXPECT(code, out, err, ...)                                                                \
    do {                                                                                           \
        static const char *const words[] = {"postern", __VA_ARGS__};                               \
        expect(code, out, err, words, sizeof(words) / sizeof(words[0]));                           \
    } while (0)

static void options_come_in_every_usual_shape(void **state)
{
    (void)state;
    EXPECT(CLI_OK, "{\n  \"version\"", "", "version", "--json");
    EXPECT(CLI_OK, "usage: postern account add NAME", "", "account", "add", "--help");
    EXPECT(CLI_OK, "usage: postern account add NAME", "", "account", "add", "--quota=1", "-h");
    EXPECT(CLI_OK, "postern ", "", "--version");
    EXPECT(CLI_USAGE, "", "there is no option --frob", "version", "--frob");
    EXPECT(CLI_USAGE, "", "there is no option -x", "version", "-x");
    EXPECT(CLI_USAGE, "", "--json takes no value", "version", "--json=1");
    EXPECT(CLI_USAGE, "", "--quota needs a value", "account", "add", "a", "--quota");
    EXPECT(CLI_USAGE, "", "too many arguments, the first of them --help", "version", "--",
           "--help");
}

static void a_slip_is_explained(void **state)
{
    (void)state;
    EXPECT(CLI_USAGE, "", "there is no command frob", "frob");
    EXPECT(CLI_USAGE, "", "domain add DOMAIN", "domain");
    EXPECT(CLI_USAGE, "", "domain add DOMAIN", "domain", "frob");
    EXPECT(CLI_OK, "domain add DOMAIN", "", "domain", "--help");
    EXPECT(CLI_USAGE, "", "an argument is missing: postern domain add DOMAIN", "domain", "add");
    EXPECT(CLI_OK, "usage: postern COMMAND", "", "help");
}

static void a_missing_configuration_is_named(void **state)
{
    (void)state;
    EXPECT(CLI_NOT_FOUND, "", "/nonexistent/conf", "domain", "list", "-c", "/nonexistent/conf");
}

static void sizes_have_units(void **state)
{
    (void)state;
    uint64_t size = 1;
    assert_true(cli_size("none", &size) && size == 0);
    assert_true(cli_size("500", &size) && size == 500);
    assert_true(cli_size("2k", &size) && size == 2048);
    assert_true(cli_size("3G", &size) && size == 3ULL << 30);
    assert_false(cli_size("", &size));
    assert_false(cli_size("G", &size));
    assert_false(cli_size("-1", &size));
    assert_false(cli_size("1.5G", &size));
    assert_false(cli_size("9999999999T", &size));
    assert_true(size == 3ULL << 30);
}

static void templates_are_filled_in(void **state)
{
    (void)state;
    const struct setup_word words[] = {{"@A@", STR("one")}, {"@B@", STR("@A@")}, {NULL, {0}}};
    struct buf out;
    buf_init(&out, 1000);
    setup_fill(&out, STR("x@A@y@B@ a@b @C@"), words);
    assert_true(str_eq(buf_str(&out), STR("xoney@A@ a@b @C@")));
    buf_release(&out);
}

static void an_error_moves_no_cursor(void **state)
{
    (void)state;
    static const char name[] = "/no\x1b[2J\xc2\x9b"
                               "2J";
    const char *const words[] = {"postern", "config", "check", name};
    struct ran r = run(words, 4);
    assert_null(strchr(r.err, 0x1b));
    assert_null(strstr(r.err, "\xc2\x9b"));
    assert_non_null(strstr(r.err, "/no [2J 2J: "));
    free(r.out);
    free(r.err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_moves_no_cursor),
        cmocka_unit_test(options_come_in_every_usual_shape),
        cmocka_unit_test(a_slip_is_explained),
        cmocka_unit_test(a_missing_configuration_is_named),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(templates_are_filled_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
