#include "codec/preload.h"

#include "codec/charset.h"
#include "codec/idn.h"

#include "base/testing.h"

/* Every converter of the table exists in ICU's built-in data, without a file. */
static void everything_is_there_without_files(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(codec_preload(), STATUS_OK);
    assert_true(charset_to_utf8(&out, STR("iso-2022-kr"), STR("a")));
    assert_true(idn_to_ascii(&out, STR("\xC3\xBC.example")));
    assert_int_equal(codec_preload(), STATUS_OK);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_there_without_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
