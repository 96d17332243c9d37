#include "cli/listing.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/bug.h"
#include "codec/date.h"
#include "codec/utf8.h"

enum { CELL_SIZE_MAX = 1 << 20, PAGE_ROWS = 1000 };

void listing_init(struct listing *l, const struct listing_column *columns, size_t count)
{
    invariant(count <= LISTING_COLUMNS_MAX);
    *l = (struct listing){.columns = columns, .column_count = count, .rows = json_array()};
    invariant(l->rows);
}

/* Takes the value; begins a row where none is open and ends it with its last cell. */
static void add(struct listing *l, json_t *value)
{
    if (!l->row) {
        l->row = json_object();
        l->at = 0;
    }
    int failed = json_object_set_new(l->row, l->columns[l->at].key, value);
    invariant(failed == 0);
    if (++l->at < l->column_count)
        return;
    failed = json_array_append_new(l->rows, l->row);
    invariant(failed == 0);
    l->row = NULL;
}

/* As JSON wants them: UTF-8, and nothing that moves a cursor. */
static json_t *words_value(struct str words)
{
    struct buf clean;
    buf_init(&clean, CELL_SIZE_MAX);
    utf8_put_shown(&clean, str_sub(words, 0, CELL_SIZE_MAX / 4));
    json_t *value = json_stringn(clean.ptr ? clean.ptr : "", clean.len);
    buf_release(&clean);
    return value;
}

void listing_words(struct listing *l, struct str words)
{
    invariant(l->columns[l->row ? l->at : 0].kind == LISTING_WORDS);
    add(l, words_value(words));
}

void listing_list(struct listing *l, const struct str *words, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, words_value(words[i]));
    add(l, list);
}

void listing_number(struct listing *l, int64_t number)
{
    enum listing_kind kind = l->columns[l->row ? l->at : 0].kind;
    if (kind != LISTING_TIME) {
        add(l, json_integer(number));
        return;
    }
    if (number == 0) {
        add(l, json_null());
        return;
    }
    struct buf date;
    buf_init(&date, 64);
    date_format_iso(&date, number);
    add(l, json_stringn(date.ptr, date.len));
    buf_release(&date);
}

void listing_yes_no(struct listing *l, bool value)
{
    add(l, json_boolean(value));
}

/* ---- Printing ----------------------------------------------------------------------------------
 */

static void put_size(struct buf *out, int64_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)size;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    buf_printf(out, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static void put_cell(struct buf *out, enum listing_kind kind, const json_t *value)
{
    switch (kind) {
    case LISTING_WORDS:
    case LISTING_TIME:
        buf_append_str(out, json_string_length(value) > 0
                                ? str_make(json_string_value(value), json_string_length(value))
                                : STR("-"));
        break;
    case LISTING_LIST:
        for (size_t i = 0; i < json_array_size(value); i++)
            buf_printf(out, "%s%s", i ? ", " : "", json_string_value(json_array_get(value, i)));
        if (json_array_size(value) == 0)
            buf_append_str(out, STR("-"));
        break;
    case LISTING_NUMBER:
        buf_printf(out, "%lld", (long long)json_integer_value(value));
        break;
    case LISTING_SIZE:
        put_size(out, json_integer_value(value));
        break;
    case LISTING_QUOTA:
        if (json_integer_value(value) == 0)
            buf_append_str(out, STR("none"));
        else
            put_size(out, json_integer_value(value));
        break;
    case LISTING_YES_NO:
        buf_append_str(out, json_is_true(value) ? STR("yes") : STR("no"));
        break;
    }
}

static struct str cell_words(struct buf *scratch, const struct listing_column *column,
                             const json_t *row)
{
    buf_clear(scratch);
    put_cell(scratch, column->kind, json_object_get(row, column->key));
    return buf_str(scratch);
}

/* Characters, not bytes: what a terminal shows of common scripts. */
static size_t width(struct str words)
{
    size_t count = 0;
    uint32_t c;
    for (; !str_empty(words); count++)
        utf8_next(&words, &c);
    return count;
}

static void pad(FILE *out, size_t count)
{
    for (; count > 0; count--)
        fputc(' ', out);
}

static void measure(struct listing *l, struct buf *scratch)
{
    for (size_t c = 0; c < l->column_count; c++) {
        size_t title = strlen(l->columns[c].title);
        if (l->widths[c] < title)
            l->widths[c] = title;
        for (size_t r = 0; r < json_array_size(l->rows); r++) {
            size_t w = width(cell_words(scratch, &l->columns[c], json_array_get(l->rows, r)));
            if (w > l->widths[c])
                l->widths[c] = w;
        }
    }
}

static void print_row(const struct listing *l, FILE *out, const json_t *row, struct buf *scratch)
{
    for (size_t c = 0; c < l->column_count; c++) {
        struct str words =
            row ? cell_words(scratch, &l->columns[c], row) : str_from_c(l->columns[c].title);
        fwrite(words.ptr, 1, words.len, out);
        if (c + 1 < l->column_count)
            pad(out, l->widths[c] - width(words) + 2);
    }
    fputc('\n', out);
}

void listing_release(struct listing *l)
{
    json_decref(l->row);
    json_decref(l->rows);
    *l = (struct listing){0};
}

static void print_json(const json_t *value, FILE *out)
{
    json_dumpf(value, out, JSON_INDENT(2));
    fputc('\n', out);
}

static void print_record(const struct listing *l, FILE *out, const json_t *row, struct buf *scratch)
{
    for (size_t c = 0; c < l->column_count; c++) {
        struct str words = cell_words(scratch, &l->columns[c], row);
        fprintf(out, "%-16s %.*s\n", l->columns[c].title, STR_ARG(words));
    }
}

/* One row of an array, as it looks within: "\n  {...}". */
static void print_element(const json_t *row, FILE *out)
{
    json_t *array = json_array();
    int failed = json_array_append(array, (json_t *)(uintptr_t)row);
    char *text = failed ? NULL : json_dumps(array, JSON_INDENT(2));
    invariant(text);
    struct str inner = str_from_c(text); /* without "[" and "\n]" */
    inner = str_sub(inner, 1, inner.len - 3);
    fwrite(inner.ptr, 1, inner.len, out);
    free(text);
    json_decref(array);
}

static void print_rows(struct listing *l, FILE *out, bool json, enum listing_shape shape)
{
    struct buf scratch;
    invariant(!l->row);
    buf_init(&scratch, CELL_SIZE_MAX);
    if (!json && shape == LISTING_TABLE)
        measure(l, &scratch);
    for (size_t r = 0; r < json_array_size(l->rows); r++, l->printed++) {
        const json_t *row = json_array_get(l->rows, r);
        bool first = l->printed == 0;
        if (json) {
            fputc(first ? '[' : ',', out);
            print_element(row, out);
        } else if (shape == LISTING_RECORDS) {
            fputs(first ? "" : "\n", out);
            print_record(l, out, row, &scratch);
        } else {
            if (first)
                print_row(l, out, NULL, &scratch);
            print_row(l, out, row, &scratch);
        }
    }
    json_array_clear(l->rows);
    buf_release(&scratch);
}

void listing_print_page(struct listing *l, FILE *out, bool json, enum listing_shape shape)
{
    if (!l->row && json_array_size(l->rows) >= PAGE_ROWS)
        print_rows(l, out, json, shape);
}

static void print_end(struct listing *l, FILE *out, bool json, enum listing_shape shape,
                      const char *none)
{
    print_rows(l, out, json, shape);
    if (json)
        fputs(l->printed > 0 ? "\n]\n" : "[]\n", out);
    else if (l->printed == 0)
        fputs(none, out);
    listing_release(l);
}

void listing_print_table(struct listing *l, FILE *out, bool json, const char *none)
{
    char line[200];
    snprintf(line, sizeof(line), "%s\n", none);
    print_end(l, out, json, LISTING_TABLE, line);
}

void listing_print_records(struct listing *l, FILE *out, bool json)
{
    print_end(l, out, json, LISTING_RECORDS, "");
}

void listing_print_record(struct listing *l, FILE *out, bool json)
{
    invariant(json_array_size(l->rows) == 1);
    if (!json) {
        listing_print_records(l, out, false);
        return;
    }
    invariant(!l->row);
    print_json(json_array_get(l->rows, 0), out);
    listing_release(l);
}
