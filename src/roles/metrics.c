#include "roles/metrics.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_SIZE = 48 };

struct entry {
    struct metric metric;
    enum metric_kind kind;
    const char *name, *help, *label_name;
    char label[LABEL_SIZE];
};

/* Entries never move (their owners keep pointers): each is allocated by itself. */
struct metrics {
    struct entry *entries[METRICS_MAX];
    size_t count;
    int process;
    struct metric nobody_sees;
};

struct metrics *metrics_new(int process)
{
    struct metrics *m = calloc(1, sizeof *m);
    if (m)
        m->process = process;
    return m;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->count; i++)
        free(m->entries[i]);
    free(m);
}

struct metric *metrics_get(struct metrics *m, enum metric_kind kind, const char *name,
                           const char *help, const char *label_name, const char *label)
{
    size_t at = m->count; /* behind the last of the same name: a family stands together */
    for (size_t i = 0; i < m->count; i++) {
        struct entry *e = m->entries[i];
        if (strcmp(e->name, name) != 0)
            continue;
        if (!label_name || strcmp(e->label, label) == 0)
            return &e->metric;
        at = i + 1;
    }
    struct entry *e = m->count < METRICS_MAX ? calloc(1, sizeof *e) : NULL;
    if (!e || (label_name && !str_to_c(str_from_c(label), e->label, LABEL_SIZE))) {
        free(e);
        return &m->nobody_sees;
    }
    e->kind = kind;
    e->name = name;
    e->help = help;
    e->label_name = label_name;
    memmove(&m->entries[at + 1], &m->entries[at], (m->count - at) * sizeof(struct entry *));
    m->entries[at] = e;
    m->count++;
    return &e->metric;
}

static void print_labels(const struct metrics *m, const struct entry *e, struct buf *out)
{
    if (m->process < 0 && !e->label_name)
        return;
    buf_append_byte(out, '{');
    if (m->process >= 0)
        buf_printf(out, "process=\"%d\"%s", m->process, e->label_name ? "," : "");
    if (e->label_name)
        buf_printf(out, "%s=\"%s\"", e->label_name, e->label);
    buf_append_byte(out, '}');
}

void metrics_print(const struct metrics *m, struct buf *out)
{
    const char *family = "";
    for (size_t i = 0; i < m->count; i++) {
        const struct entry *e = m->entries[i];
        bool counter = e->kind == METRIC_COUNTER;
        if (strcmp(family, e->name) != 0)
            buf_printf(out, "# TYPE %s %s\n# HELP %s %s\n", e->name, counter ? "counter" : "gauge",
                       e->name, e->help);
        family = e->name;
        buf_printf(out, "%s%s", e->name, counter ? "_total" : "");
        print_labels(m, e, out);
        buf_printf(out, " %llu\n", (unsigned long long)e->metric.value);
    }
}

/* ---- Several texts ------------------------------------------------------------------------------
 */

struct family {
    struct str head; /* TYPE and HELP */
    struct str samples;
};

static size_t line_size(struct str text)
{
    ptrdiff_t end = str_find_byte(text, '\n');
    return end < 0 ? text.len : (size_t)end + 1;
}

static bool next_family(struct str *rest, struct family *ret_family)
{
    static const struct str NEXT = {"\n# TYPE ", 8};
    ptrdiff_t end = str_find(*rest, NEXT);
    struct str block = end < 0 ? *rest : str_sub(*rest, 0, (size_t)end + 1);
    size_t head = line_size(block);
    head += line_size(str_skip(block, head));
    *rest = str_skip(*rest, block.len);
    *ret_family = (struct family){str_sub(block, 0, head), str_skip(block, head)};
    return block.len > 0;
}

void metrics_regroup(struct str texts, struct buf *out)
{
    struct family family, same;
    struct str rest = texts;
    for (size_t at = 0; next_family(&rest, &family); at = texts.len - rest.len) {
        if (str_find(str_sub(texts, 0, at), family.head) >= 0)
            continue; /* stands with the first */
        buf_append_str(out, family.head);
        buf_append_str(out, family.samples);
        for (struct str later = rest; next_family(&later, &same);)
            if (str_eq(same.head, family.head))
                buf_append_str(out, same.samples);
    }
}

void metrics_end(struct buf *out)
{
    buf_append_str(out, STR("# EOF\n"));
}
