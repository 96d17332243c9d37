#include "mail/html.h"

#include "base/testing.h"

static void expect_text(const char *html, const char *expected)
{
    struct buf out;
    buf_init(&out, 10000);
    for (size_t piece = 1; piece < 50; piece += 7) {
        struct html_stripper h = {0};
        buf_clear(&out);
        for (struct str rest = str_from_c(html); rest.len > 0; rest = str_skip(rest, piece))
            html_strip(&h, &out, str_sub(rest, 0, piece));
        html_strip_end(&h, &out);
        if (!str_eq(buf_str(&out), str_from_c(expected)))
            fail_msg("%s in %zu: %.*s", html, piece, STR_ARG(buf_str(&out)));
    }
    buf_release(&out);
}

static void tags_go_and_words_stay(void **state)
{
    (void)state;
    expect_text("plain", "plain");
    expect_text("un<b>believ</B>able", "unbelievable");
    expect_text("a<br>b<p class='x'>c</p>d", "a b c d");
    expect_text("<td>1</td><td>2</td>", " 1  2 ");
    expect_text("1 < 2 > 0 <3 a<", "1 < 2 > 0 <3 a<");
    expect_text("a<!-- <b> -- > x -->b<!DOCTYPE html>c<?xml?>d", "ab c d");
    expect_text("x<tag never ends", "x");
}

static void scripts_and_styles_are_hidden(void **state)
{
    (void)state;
    expect_text("a<script>if (x < y) '</b>&amp;'</script>b", "a b");
    expect_text("a<STYLE type=x>p{}</style >b", "a b");
}

static void references_become_characters(void **state)
{
    (void)state;
    expect_text("a&amp;b&lt;c&gt;", "a&b<c>");
    expect_text("caf&eacute; &Uuml;ber&nbsp;x", "caf\xC3\xA9 \xC3\x9C"
                                                "ber\xC2\xA0x");
    expect_text("&#8364;&#x20ac;&#X41;&euro;", "\xE2\x82\xAC\xE2\x82\xAC"
                                               "A\xE2\x82\xAC");
    expect_text("a&b &unknown; &; & &toolongtobeaname; &amp",
                "a&b &unknown; &; & &toolongtobeaname; &");
    expect_text("&#0;&#x110000;&#99999999999;", "&#0;&#x110000;&#99999999999;");
    expect_text("a&<b>c", "a&c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_go_and_words_stay),
        cmocka_unit_test(scripts_and_styles_are_hidden),
        cmocka_unit_test(references_become_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
