#include "roles/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/testing.h"

static char seen[3 * LOG_LINE_SIZE];

static void read_back(int fd)
{
    ssize_t n = read(fd, seen, sizeof seen - 1);
    seen[n > 0 ? n : 0] = 0;
}

static void write_sample(struct log *log, enum log_level level)
{
    struct log_line line;
    log_begin(&line, log, (struct now){.wall_ms = 1234}, level, "accepted");
    log_str(&line, "id", STR("01J"));
    log_text(&line, "from", text_from(STR("a b\r\n\"x\"\xff\xc3\xa4")));
    log_number(&line, "size", -5);
    log_bool(&line, "tls", true);
    log_end(&line);
}

static void a_line_is_logfmt_or_json_and_a_stranger_cannot_break_it(void **state)
{
    (void)state;
    int fds[2];
    struct log log;
    assert_int_equal(pipe(fds), 0);
    log_init(&log, fds[1], ROLE_EDGE);
    write_sample(&log, LOG_INFO);
    read_back(fds[0]);
    assert_string_equal(seen,
                        "time=1970-01-01T00:00:01.234Z level=info role=edge event=accepted id=01J "
                        "from=\"a b\\r\\n\\\"x\\\"\\xFF\xc3\xa4\" size=-5 tls=true\n");
    log.json = true;
    write_sample(&log, LOG_WARN);
    read_back(fds[0]);
    assert_string_equal(seen, "{\"time\":\"1970-01-01T00:00:01.234Z\",\"level\":\"warn\",\"role\":"
                              "\"edge\",\"event\":\"accepted\",\"id\":\"01J\",\"from\":\"a b\\u000d"
                              "\\u000a\\\"x\\\"\\u00ff\xc3\xa4\",\"size\":-5,\"tls\":true}\n");
    close(fds[0]);
    close(fds[1]);
}

static void what_a_terminal_would_obey_is_escaped_in_json_too(void **state)
{
    (void)state;
    int fds[2];
    struct log log;
    struct log_line line;
    assert_int_equal(pipe(fds), 0);
    log_init(&log, fds[1], ROLE_EDGE);
    log.json = true;
    log_begin(&line, &log, (struct now){0}, LOG_INFO, "odd");
    log_str(&line, "k", STR("\xC2\x9B\xE2\x80\xAE\x1B\xFF\xC3\xA9"));
    log_end(&line);
    read_back(fds[0]);
    assert_non_null(strstr(seen, "\"k\":\"\\u009b\\u202e\\u001b\\u00ff\xC3\xA9\""));
    close(fds[0]);
    close(fds[1]);
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    int fds[2];
    struct log log;
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    log_init(&log, fds[1], ROLE_VAULT);
    write_sample(&log, LOG_DEBUG);
    read_back(fds[0]);
    assert_string_equal(seen, "");
    close(fds[0]);
    close(fds[1]);
}

static void a_reader_that_is_too_slow_costs_lines_and_they_are_counted(void **state)
{
    (void)state;
    int fds[2];
    struct log log;
    char number[40];
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    log_init(&log, fds[1], ROLE_VAULT);
    while (log.dropped < 3)
        write_sample(&log, LOG_INFO);
    assert_int_equal(log.dropped_total, 3);
    do
        read_back(fds[0]);
    while (seen[0]);
    log_event(&log, (struct now){0}, LOG_ERROR, "back", "again");
    read_back(fds[0]);
    snprintf(number, sizeof number, " dropped=%d ", 3);
    assert_non_null(strstr(seen, number));
    assert_non_null(strstr(seen, " why=again\n"));
    assert_int_equal(log.dropped, 0);
    close(fds[0]);
    close(fds[1]);
}

static void a_line_that_would_be_too_long_loses_fields_not_its_end(void **state)
{
    (void)state;
    static char value[2 * LOG_VALUE_SIZE];
    int fds[2];
    struct log log;
    struct log_line line;
    memset(value, 'x', sizeof value);
    assert_int_equal(pipe(fds), 0);
    log_init(&log, fds[1], ROLE_EDGE);
    log_begin(&line, &log, (struct now){0}, LOG_INFO, "long");
    for (int i = 0; i < 20; i++)
        log_str(&line, "k", str_make(value, sizeof value));
    log_end(&line);
    read_back(fds[0]);
    assert_true(strlen(seen) <= LOG_LINE_SIZE);
    assert_int_equal(seen[strlen(seen) - 1], '\n');
    assert_non_null(strstr(seen, "xxx..."));
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_logfmt_or_json_and_a_stranger_cannot_break_it),
        cmocka_unit_test(what_a_terminal_would_obey_is_escaped_in_json_too),
        cmocka_unit_test(lines_below_the_level_are_not_written),
        cmocka_unit_test(a_reader_that_is_too_slow_costs_lines_and_they_are_counted),
        cmocka_unit_test(a_line_that_would_be_too_long_loses_fields_not_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
