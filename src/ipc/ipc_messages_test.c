/*
 * Every message of ipc.table, without knowing any of them: payloads are made from the type's shape
 * by the code here, and the generated decoder and encoder must give the same bytes back.
 */
#include "ipc/ipc_messages.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/testing.h"
#include "ipc/cursor.h"

enum { ROUNDS = 40, LIST_MAX = 3, BYTES_MAX = 9 };

static uint64_t seed = 88172645463325252u;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void put_letter(struct buf *out, char letter)
{
    static const char noise[BYTES_MAX] = "a\0b\r\n\xff\"c";
    switch (letter) {
    case '?':
        put_u8(out, draw() % 2);
        return;
    case 's':
        put_u8(out, draw() % STATUS_COUNT);
        return;
    case '*':
        put_bytes(out, str_make(noise, draw() % BYTES_MAX));
        return;
    default:
        for (int i = 0; i < letter - '0'; i++)
            put_u8(out, (uint8_t)draw());
    }
}

/* Writes one value of the shape, up to its end or the closing bracket; returns what is behind. */
static const char *put_shape(struct buf *out, const char *shape)
{
    while (*shape && *shape != ']') {
        if (*shape != '[') {
            put_letter(out, *shape++);
            continue;
        }
        uint32_t count = (uint32_t)(1 + draw() % LIST_MAX);
        put_u32(out, count);
        const char *end = NULL;
        for (uint32_t i = 0; i < count; i++)
            end = put_shape(out, shape + 1);
        shape = end + 1;
    }
    return shape;
}

static bool recode(const struct ipc_type *type, bool is_reply, struct str bytes, struct buf *out)
{
    struct arena arena;
    arena_init(&arena, LIMIT_IPC_LISTS_SIZE);
    struct cursor c = cursor_over(bytes, &arena);
    bool ok = type->recode(is_reply, &c, out);
    arena_reset(&arena);
    return ok;
}

static void check_shape(const struct ipc_type *type, bool is_reply, const char *shape)
{
    struct buf made, again;
    buf_init(&made, 1 << 20);
    buf_init(&again, 1 << 20);
    for (int round = 0; round < ROUNDS; round++) {
        buf_clear(&made);
        buf_clear(&again);
        put_shape(&made, shape);
        assert_true(recode(type, is_reply, buf_str(&made), &again));
        assert_true(str_eq(buf_str(&made), buf_str(&again)));
        for (size_t cut = 0; cut < made.len; cut++) {
            buf_clear(&again);
            assert_false(recode(type, is_reply, str_make(made.ptr, cut), &again));
        }
        buf_append_byte(&made, 0);
        buf_clear(&again);
        assert_false(recode(type, is_reply, buf_str(&made), &again));
    }
    buf_release(&made);
    buf_release(&again);
}

static void every_message_comes_back_as_it_was_and_no_part_of_it_passes_for_the_whole(void **state)
{
    (void)state;
    int seen = 0;
    for (int number = 0; number < 256; number++) {
        const struct ipc_type *type = ipc_type_find((uint8_t)number);
        if (!type)
            continue;
        seen++;
        assert_int_equal(type->number, number);
        assert_true(type->senders != 0 && type->receivers != 0);
        check_shape(type, false, type->in_shape);
        if (type->is_call)
            check_shape(type, true, type->out_shape);
    }
    assert_true(seen > 20);
}

static void a_count_that_the_bytes_cannot_hold_is_refused_before_memory_is_taken(void **state)
{
    (void)state;
    const char bytes[] = "\xff\xff\xff\xff"
                         "\0\0\0\0";
    struct buf out;
    buf_init(&out, 100);
    assert_false(recode(ipc_type_find(IPC_CONFIRM), false, str_make(bytes, 8), &out));
    buf_release(&out);
}

static void a_bool_or_status_out_of_range_is_malformed(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    assert_true(recode(ipc_type_find(IPC_STOP), false, STR("\1"), &out));
    assert_false(recode(ipc_type_find(IPC_STOP), false, STR("\2"), &out));
    assert_false(recode(ipc_type_find(IPC_SHUTDOWN), true, STR("\xee"), &out));
    buf_release(&out);
}

static void roles_are_found_by_name(void **state)
{
    (void)state;
    for (int role = 1; role < ROLE_END; role++) {
        const char *name = ipc_role_name((enum ipc_role)role);
        assert_int_equal(ipc_role_find(str_from_c(name)), role);
    }
    assert_int_equal(ipc_role_find(STR("intruder")), 0);
    assert_string_equal(ipc_role_name((enum ipc_role)0), "?");
    assert_string_equal(ipc_role_name(ROLE_END), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_back_as_it_was_and_no_part_of_it_passes_for_the_whole),
        cmocka_unit_test(a_count_that_the_bytes_cannot_hold_is_refused_before_memory_is_taken),
        cmocka_unit_test(a_bool_or_status_out_of_range_is_malformed),
        cmocka_unit_test(roles_are_found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
