#include "codec/base64.h"

#include "base/testing.h"

static void expect_pair(struct str plain, struct str text)
{
    struct buf out;
    buf_init(&out, 1000);
    base64_encode(&out, plain);
    assert_true(str_eq(buf_str(&out), text));
    buf_clear(&out);
    assert_true(base64_decode(&out, text));
    assert_true(str_eq(buf_str(&out), plain));
    buf_release(&out);
}

static void the_vectors_of_rfc_4648(void **state)
{
    (void)state;
    expect_pair(STR(""), STR(""));
    expect_pair(STR("f"), STR("Zg=="));
    expect_pair(STR("fo"), STR("Zm8="));
    expect_pair(STR("foo"), STR("Zm9v"));
    expect_pair(STR("foob"), STR("Zm9vYg=="));
    expect_pair(STR("fooba"), STR("Zm9vYmE="));
    expect_pair(STR("foobar"), STR("Zm9vYmFy"));
    expect_pair(STR("\0\xFF\xFE\x80"), STR("AP/+gA=="));
}

static void strict_decoding_refuses_everything_unusual(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Zg",    "Zg=",      "Zg==\n", "Zh==",     "Zm9=",  "=",    "====",    "Z===",
        "Zg= =", "Zg==Zg==", "Z m9v",  "Zm9v====", "Zm-_8", "Zm-_", "\xFFm9v",
    };
    struct buf out;
    buf_init(&out, 1000);
    buf_append_byte(&out, 'x');
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(base64_decode(&out, str_from_c(bad[i])));
        assert_true(str_eq(buf_str(&out), STR("x")));
    }
    buf_release(&out);
}

static void a_body_is_read_in_any_pieces(void **state)
{
    (void)state;
    struct str text = STR("Zm9v\r\nYm!Fy\r\nZg==\r\nZm8=\r\n.Zm9");
    for (size_t piece = 1; piece <= text.len; piece++) {
        struct base64_decoder d = {0};
        struct buf out;
        buf_init(&out, 1000);
        for (size_t at = 0; at < text.len; at += piece)
            base64_decode_body(&d, &out, str_sub(text, at, piece));
        assert_true(str_eq(buf_str(&out), STR("foobarffofo")));
        buf_release(&out);
    }
}

static void a_body_is_written_in_lines(void **state)
{
    (void)state;
    char octets[200];
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (char)(i * 7);
    for (size_t len = 0; len <= sizeof octets; len += 19) {
        for (size_t piece = 1; piece < 80; piece += 7) {
            struct base64_encoder e = {0};
            struct base64_decoder d = {0};
            struct buf out, back;
            buf_init(&out, 1000);
            buf_init(&back, 1000);
            for (size_t at = 0; at < len; at += piece)
                base64_encode_body(&e, &out, str_sub(str_make(octets, len), at, piece));
            base64_encode_body_end(&e, &out);
            assert_int_equal(out.len, (len + 2) / 3 * 4 + (len > 0 ? (len - 1) / 57 * 2 : 0));
            base64_decode_body(&d, &back, buf_str(&out));
            assert_true(str_eq(buf_str(&back), str_make(octets, len)));
            buf_release(&out);
            buf_release(&back);
        }
    }
}

static void a_full_buf_is_told(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 3);
    base64_encode(&out, STR("a"));
    assert_true(out.failed);
    buf_clear(&out);
    assert_false(base64_decode(&out, STR("Zm9vYg==")));
    assert_int_equal(out.len, 0);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_4648),
        cmocka_unit_test(strict_decoding_refuses_everything_unusual),
        cmocka_unit_test(a_body_is_read_in_any_pieces),
        cmocka_unit_test(a_body_is_written_in_lines),
        cmocka_unit_test(a_full_buf_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
