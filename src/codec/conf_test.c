#include "codec/conf.h"

#include "base/testing.h"

struct read {
    struct arena arena;
    struct conf_errors errors;
    struct conf_directive *first;
    struct buf printed;
};

static void read_text(struct read *r, const char *text)
{
    arena_init(&r->arena, 1 << 20);
    conf_errors_init(&r->errors, &r->arena);
    assert_int_equal(conf_parse(str_from_c(text), &r->arena, &r->errors, &r->first), STATUS_OK);
    buf_init(&r->printed, 1 << 20);
    conf_errors_print(&r->errors, STR("f"), &r->printed);
}

static void release(struct read *r)
{
    buf_release(&r->printed);
    arena_reset(&r->arena);
}

/* The tree as text: name(word,word){...}. */
static void write_tree(struct buf *out, const struct conf_directive *d)
{
    for (; d; d = d->next) {
        for (size_t i = 0; i < d->word_count; i++) {
            buf_append_str(out, i ? STR("|") : STR(""));
            buf_append_str(out, d->words[i].text);
        }
        if (d->has_block) {
            buf_append_str(out, STR("{"));
            write_tree(out, d->block);
            buf_append_str(out, STR("}"));
        }
        buf_append_str(out, STR(";"));
    }
}

static void expect_tree(const char *text, const char *tree)
{
    struct read r;
    struct buf out;
    buf_init(&out, 10000);
    read_text(&r, text);
    write_tree(&out, r.first);
    buf_append_byte(&out, '\0');
    assert_int_equal(r.errors.count, 0);
    assert_string_equal(out.ptr, tree);
    buf_release(&out);
    release(&r);
}

static void expect_errors(const char *text, const char *errors)
{
    struct read r;
    read_text(&r, text);
    buf_append_byte(&r.printed, '\0');
    assert_string_equal(r.printed.ptr, errors);
    release(&r);
}

static void words_quotes_comments_and_blocks_are_read(void **state)
{
    (void)state;
    expect_tree("", "");
    expect_tree("# all\n\n  \t\n", "");
    expect_tree("a b c", "a|b|c;");
    expect_tree("a b # c\r\nd#e  f\r\n", "a|b;d#e|f;");
    expect_tree("a \"b # { } c\" \"\" \"\\\"x\\\\\"\n", "a|b # { } c||\"x\\;");
    expect_tree("a b {\n  c {\n    d 1\n  }\n  e\n} # end\nf{\n}\n", "a|b{c{d|1;};e;};f{};");
    expect_tree("gr\xC3\xBC\xC3\x9F"
                "e x",
                "gr\xC3\xBC\xC3\x9F"
                "e|x;");
}

static void every_error_is_told_with_its_place(void **state)
{
    (void)state;
    expect_errors("a \"b\nc }\nd \"\\n\" e\n}\n",
                  "f:1:3: the quotes are not closed\n"
                  "f:2:3: unexpected \"}\"\n"
                  "f:3:3: only \\\" and \\\\ may follow a backslash in quotes\n"
                  "f:4:1: this \"}\" closes nothing\n");
    expect_errors("\xC3\xBC {\n", "f:1:3: this \"{\" is not closed\n");
    expect_errors("a {b\n} c\n{\n}\n", "f:1:4: a block's first directive begins on the next line\n"
                                       "f:2:3: a \"}\" stands alone on its line\n"
                                       "f:3:1: a block needs a name before it\n");
    expect_errors("a { b c } # d\n}\n", "f:1:5: a block's first directive begins on the next line\n"
                                        "f:2:1: this \"}\" closes nothing\n");
    expect_errors("a \"b\"c\n", "f:1:6: there must be a space here\n");
    expect_errors("a \x01\n b\xFF\n\xC2\x85",
                  "f:1:3: a control character (0x01) has no place here\n"
                  "f:2:3: this is not UTF-8\n"
                  "f:3:1: a control character (0x85) has no place here\n");
}

static void the_inside_of_a_wrong_block_stays_inside(void **state)
{
    (void)state;
    struct read r;
    read_text(&r, "a \"x {\n  b\n}\nc\n");
    assert_int_equal(r.errors.count, 1);
    assert_true(str_eq(r.first->words[0].text, STR("c")));
    assert_null(r.first->next);
    release(&r);
    expect_errors("a {\nb {\nc {\nd {\ne {\n}\n}\n}\n}\n}\n",
                  "f:5:3: blocks are nested too deeply\n");
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    static const char *const words[] = {"plain", "", "two words", "#x", "q\"u\\o", "{", "a#b"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct read r;
        struct buf text;
        buf_init(&text, 100);
        buf_append_str(&text, STR("x "));
        conf_write_word(&text, str_from_c(words[i]));
        buf_append_byte(&text, '\0');
        read_text(&r, text.ptr);
        assert_int_equal(r.errors.count, 0);
        assert_true(str_eq(r.first->words[1].text, str_from_c(words[i])));
        release(&r);
        buf_release(&text);
    }
}

static void errors_and_memory_are_bounded(void **state)
{
    (void)state;
    struct read r;
    struct buf text;
    buf_init(&text, 1 << 16);
    for (int i = 0; i < 150; i++)
        buf_append_str(&text, STR("}\n"));
    buf_append_byte(&text, '\0');
    read_text(&r, text.ptr);
    assert_int_equal(r.errors.count, 150);
    assert_true(str_ends(buf_str(&r.printed), STR("f: and 50 errors more\n")));
    release(&r);
    struct arena small;
    arena_init(&small, 64);
    conf_errors_init(&r.errors, &small);
    assert_int_equal(conf_parse(STR("a b c\nd e f\n"), &small, &r.errors, &r.first),
                     STATUS_NO_MEMORY);
    arena_reset(&small);
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_quotes_comments_and_blocks_are_read),
        cmocka_unit_test(every_error_is_told_with_its_place),
        cmocka_unit_test(the_inside_of_a_wrong_block_stays_inside),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(errors_and_memory_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
