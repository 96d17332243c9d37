#include "roles/config_read.h"

#include "base/bug.h"

enum { NAME_MAX_LEN = 31, ROWS_MAX = 64, WORD_SHOWN_MAX = 60 };

void config_wrong_word(struct config_reader *r, const struct conf_directive *given, size_t word,
                       const char *wrong)
{
    const struct conf_word *w = &given->words[word];
    struct str shown = str_sub(w->text, 0, WORD_SHOWN_MAX);
    conf_error_add(r->errors, w->line, w->column, "%.*s: \"%.*s%s\" %s",
                   STR_ARG(given->words[0].text), STR_ARG(shown),
                   shown.len < w->text.len ? "..." : "", wrong);
}

void *config_grow(struct config_reader *r, void *list, size_t count, size_t size)
{
    bool full = (count & (count - 1)) == 0; /* the room is a power of two */
    if (!full)
        return list;
    void *more = arena_alloc_array(r->arena, count ? 2 * count : 1, size);
    if (!more)
        r->no_memory = true;
    else if (count > 0)
        memcpy(more, list, count * size);
    return more;
}

/* ---- Did you mean ---------------------------------------------------------------------------- */

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Levenshtein's distance: how many letters must be put in, left out or changed. */
static size_t edit_distance(struct str a, struct str b)
{
    size_t row[NAME_MAX_LEN + 1];
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t above = row[j];
            size_t change = diagonal + (ascii_lower(a.ptr[i - 1]) != ascii_lower(b.ptr[j - 1]));
            row[j] = min3(above + 1, row[j - 1] + 1, change);
            diagonal = above;
        }
    }
    return row[b.len];
}

static const char *nearest_name(const struct config_table *table, struct str name)
{
    const char *nearest = NULL;
    size_t least = 1 + (name.len + 1) / 3;
    if (name.len > NAME_MAX_LEN)
        return NULL;
    for (size_t i = 0; i < table->count; i++) {
        size_t distance = edit_distance(name, str_from_c(table->rows[i].name));
        if (distance < least) {
            least = distance;
            nearest = table->rows[i].name;
        }
    }
    return nearest;
}

/* The directive in whose block a name belongs, or NULL. */
static const char *owner_of(struct str name)
{
    for (size_t i = 0; i < config_table.count; i++) {
        const struct config_table *block = config_table.rows[i].block;
        for (size_t j = 0; block && j < block->count; j++)
            if (str_eq(name, str_from_c(block->rows[j].name)))
                return config_table.rows[i].name;
    }
    return NULL;
}

static void say_unknown(struct config_reader *r, const struct config_table *table,
                        const struct conf_word *name)
{
    struct str shown = str_sub(name->text, 0, WORD_SHOWN_MAX);
    const char *owner = owner_of(name->text);
    const char *near = nearest_name(table, name->text);
    if (owner)
        conf_error_add(r->errors, name->line, name->column,
                       "the directive \"%.*s\" belongs into the block of \"%s\"", STR_ARG(shown),
                       owner);
    else if (near)
        conf_error_add(r->errors, name->line, name->column,
                       "there is no directive \"%.*s\" here; did you mean \"%s\"?", STR_ARG(shown),
                       near);
    else
        conf_error_add(r->errors, name->line, name->column, "there is no directive \"%.*s\" here",
                       STR_ARG(shown));
}

/* ---- Applying -------------------------------------------------------------------------------- */

static const struct config_directive *find_row(const struct config_table *table, struct str name)
{
    for (size_t i = 0; i < table->count; i++)
        if (str_eq(name, str_from_c(table->rows[i].name)))
            return &table->rows[i];
    return NULL;
}

/* Arguments and block as the row has them. */
static bool check_shape(struct config_reader *r, const struct config_directive *row,
                        const struct conf_directive *given)
{
    size_t args = given->word_count - 1;
    const struct conf_word *name = &given->words[0];
    const struct conf_word *last = &given->words[args];
    bool ok = true;
    if (args < row->args_min) {
        conf_error_add(r->errors, last->line, last->column, "%s: %s", row->name,
                       args == 0 ? "an argument is missing" : "more arguments are needed");
        ok = false;
    } else if (args > row->args_max) {
        conf_error_add(r->errors, last->line, given->words[row->args_max + 1].column,
                       "%s: this is one argument too many", row->name);
        ok = false;
    }
    if (given->has_block && !row->block) {
        conf_error_add(r->errors, name->line, name->column, "%s has no block", row->name);
        ok = false;
    } else if (!given->has_block && row->block_needed) {
        conf_error_add(r->errors, name->line, name->column, "%s needs a block: { ... }", row->name);
        ok = false;
    }
    return ok;
}

void config_read_block(struct config_reader *r, const struct config_table *table,
                       const struct conf_directive *first)
{
    int seen_at[ROWS_MAX] = {0};
    invariant(table->count <= ROWS_MAX);
    for (const struct conf_directive *given = first; given; given = given->next) {
        const struct conf_word *name = &given->words[0];
        const struct config_directive *row = find_row(table, name->text);
        if (!row) {
            say_unknown(r, table, name);
            continue;
        }
        int *seen = &seen_at[row - table->rows];
        if (*seen && !row->repeats)
            conf_error_add(r->errors, name->line, name->column, "%s was given already, in line %d",
                           row->name, *seen);
        *seen = name->line;
        if (check_shape(r, row, given))
            row->apply(r, row, given);
    }
}
