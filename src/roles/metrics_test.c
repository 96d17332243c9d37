#include "roles/metrics.h"

#include <stdio.h>

#include "base/testing.h"

static void metrics_print_as_openmetrics_families(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(-1);
    struct buf out;
    buf_init(&out, 4096);
    struct metric *ok =
        metrics_get(m, METRIC_COUNTER, "postern_edge_replies", "Replies.", "code", "250");
    struct metric *open = metrics_get(m, METRIC_GAUGE, "postern_edge_open", "Open.", NULL, NULL);
    metric_add(ok, 2);
    metric_set(open, 7);
    metric_add(metrics_get(m, METRIC_COUNTER, "postern_edge_replies", "Replies.", "code", "550"),
               1);
    assert_ptr_equal(
        metrics_get(m, METRIC_COUNTER, "postern_edge_replies", "Replies.", "code", "250"), ok);
    metrics_print(m, &out);
    metrics_end(&out);
    assert_true(str_eq(buf_str(&out), STR("# TYPE postern_edge_replies counter\n"
                                          "# HELP postern_edge_replies Replies.\n"
                                          "postern_edge_replies_total{code=\"250\"} 2\n"
                                          "postern_edge_replies_total{code=\"550\"} 1\n"
                                          "# TYPE postern_edge_open gauge\n"
                                          "# HELP postern_edge_open Open.\n"
                                          "postern_edge_open 7\n"
                                          "# EOF\n")));
    buf_release(&out);
    metrics_free(m);
}

static void there_is_always_a_metric_to_count_in(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(-1);
    char label[10];
    for (int i = 0; i < METRICS_MAX + 2; i++) {
        snprintf(label, sizeof label, "%d", i);
        metric_add(metrics_get(m, METRIC_COUNTER, "postern_edge_x", "X.", "n", label), 1);
    }
    metrics_free(m);
}

static void print_one(int process, const char *code, struct buf *out)
{
    struct metrics *m = metrics_new(process);
    metric_add(metrics_get(m, METRIC_COUNTER, "postern_edge_replies", "Replies.", "code", code), 1);
    metrics_get(m, METRIC_GAUGE, "postern_edge_open", "Open.", NULL, NULL);
    metrics_print(m, out);
    metrics_free(m);
}

static void several_processes_are_told_apart_and_their_families_stay_whole(void **state)
{
    struct buf texts, out;
    (void)state;
    buf_init(&texts, 4096);
    buf_init(&out, 4096);
    print_one(0, "250", &texts);
    print_one(1, "550", &texts);
    metrics_regroup(buf_str(&texts), &out);
    assert_true(
        str_eq(buf_str(&out), STR("# TYPE postern_edge_replies counter\n"
                                  "# HELP postern_edge_replies Replies.\n"
                                  "postern_edge_replies_total{process=\"0\",code=\"250\"} 1\n"
                                  "postern_edge_replies_total{process=\"1\",code=\"550\"} 1\n"
                                  "# TYPE postern_edge_open gauge\n"
                                  "# HELP postern_edge_open Open.\n"
                                  "postern_edge_open{process=\"0\"} 0\n"
                                  "postern_edge_open{process=\"1\"} 0\n")));
    buf_release(&texts);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_print_as_openmetrics_families),
        cmocka_unit_test(there_is_always_a_metric_to_count_in),
        cmocka_unit_test(several_processes_are_told_apart_and_their_families_stay_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
