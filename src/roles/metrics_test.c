#include "roles/metrics.h"

#include <stdio.h>

#include "base/testing.h"

static void metrics_print_as_openmetrics_families(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
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
    struct metrics *m = metrics_new();
    char label[10];
    for (int i = 0; i < METRICS_MAX + 2; i++) {
        snprintf(label, sizeof label, "%d", i);
        metric_add(metrics_get(m, METRIC_COUNTER, "postern_edge_x", "X.", "n", label), 1);
    }
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_print_as_openmetrics_families),
        cmocka_unit_test(there_is_always_a_metric_to_count_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
