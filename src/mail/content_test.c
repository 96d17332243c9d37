#include "mail/content.h"

#include "base/buf.h"
#include "base/testing.h"

/* "type/subtype" and each parameter as " name=[value]". */
static void expect_content(const char *value, const char *expected)
{
    char copy[200];
    struct content c;
    struct buf out;
    buf_init(&out, 1000);
    assert_true(str_to_c(str_from_c(value), copy, sizeof copy));
    if (content_parse(copy, strlen(copy), &c)) {
        buf_printf(&out, "%.*s/%.*s", STR_ARG(c.type), STR_ARG(c.subtype));
        for (size_t i = 0; i < c.param_count; i++)
            buf_printf(&out, " %.*s=[%.*s]", STR_ARG(c.params[i].name), STR_ARG(c.params[i].value));
    }
    if (!str_eq(buf_str(&out), str_from_c(expected)))
        fail_msg("%s gives %.*s", value, STR_ARG(buf_str(&out)));
    buf_release(&out);
}

static void values_are_read_as_software_writes_them(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"text/plain", "text/plain"},
        {" Text / HTML ; CharSet = UTF-8 ", "text/html charset=[UTF-8]"},
        {"a/b; x=\"q; \\\"r\\\"\"; y=z", "a/b x=[q; \"r\"] y=[z]"},
        {"a/b; x=my file.pdf; y=z", "a/b x=[my file.pdf] y=[z]"},
        {"a/b; x=1 (comment; y=2); z=3", "a/b x=[1] z=[3]"},
        {"(c) a/(d)b (e)", "a/b"},
        {"a/b; x=\"1\" y=2", "a/b x=[1] y=[2]"},
        {"a/b;; ;x=1;", "a/b x=[1]"},
        {"a/b; x; y=2", "a/b y=[2]"},
        {"a/b; x=", "a/b x=[]"},
        {"a/b; x=\"never ends; y=2", "a/b x=[never ends; y=2]"},
        {"a/b; boundary=----=_Part_1/2", "a/b boundary=[----=_Part_1/2]"},
        {"a/b; filename*0*=utf-8''a; filename*1=b", "a/b filename*0*=[utf-8''a] filename*1=[b]"},
        {"inline", "inline/"},
        {"a/b x=1", "a/b x=[1]"},
        {"", ""},
        {"=", ""},
        {"(never ends", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_content(cases[i][0], cases[i][1]);
}

static void too_many_parameters_are_left_out(void **state)
{
    (void)state;
    struct content c;
    struct buf value;
    buf_init(&value, 10000);
    buf_append_str(&value, STR("a/b"));
    for (int i = 0; i < 100; i++)
        buf_printf(&value, ";p%d=x", i);
    assert_true(content_parse(value.ptr, value.len, &c));
    assert_int_equal(c.param_count, CONTENT_PARAMS_MAX);
    buf_release(&value);
}

static void a_token_is_lower_case(void **state)
{
    (void)state;
    char value[] = " (c) Base64 ; x";
    assert_true(str_eq(content_token(value, sizeof value - 1), STR("base64")));
    assert_true(str_empty(content_token(value, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read_as_software_writes_them),
        cmocka_unit_test(too_many_parameters_are_left_out),
        cmocka_unit_test(a_token_is_lower_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
