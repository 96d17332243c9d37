#include "codec/conf.h"

#include "codec/utf8.h"

enum { DEPTH_MAX = 4, WORDS_MAX = 256, ERROR_WORDS_SIZE = 300 };

/* ---- Errors ------------------------------------------------------------------------------- */

void conf_errors_init(struct conf_errors *errors, struct arena *arena)
{
    *errors = (struct conf_errors){.arena = arena};
}

static bool comes_before(const struct conf_error *a, int line, int column)
{
    return a->line < line || (a->line == line && a->column <= column);
}

void conf_error_add(struct conf_errors *errors, int line, int column, const char *format, ...)
{
    if (++errors->count > CONF_ERRORS_MAX)
        return;
    struct buf words;
    buf_init(&words, ERROR_WORDS_SIZE);
    va_list args;
    va_start(args, format);
    buf_vprintf(&words, format, args);
    va_end(args);
    struct conf_error *error = arena_alloc(errors->arena, sizeof *error);
    struct str said = words.failed ? STR("not understood") : buf_str(&words);
    if (!error || !arena_dup(errors->arena, said, &error->words)) {
        errors->no_memory = true;
    } else {
        struct conf_error **at = &errors->first;
        while (*at && comes_before(*at, line, column))
            at = &(*at)->next;
        error->line = line;
        error->column = column;
        error->next = *at;
        *at = error;
    }
    buf_release(&words);
}

void conf_errors_print(const struct conf_errors *errors, struct str file_name, struct buf *out)
{
    for (const struct conf_error *error = errors->first; error; error = error->next) {
        buf_append_str(out, file_name);
        buf_printf(out, ":%d:%d: ", error->line, error->column);
        buf_append_str(out, error->words);
        buf_append_byte(out, '\n');
    }
    if (errors->count > CONF_ERRORS_MAX) {
        buf_append_str(out, file_name);
        buf_printf(out, ": and %zu errors more\n", errors->count - CONF_ERRORS_MAX);
    }
}

/* ---- Reading one line --------------------------------------------------------------------- */

struct line {
    struct str rest;
    int number, column;
};

struct parser {
    struct arena *arena;
    struct conf_errors *errors;
    struct conf_directive **ends[DEPTH_MAX + 1]; /* where the next directive of each block goes */
    struct line opened[DEPTH_MAX + 1];           /* where its "{" stood */
    size_t depth;
    size_t too_deep; /* blocks open beyond DEPTH_MAX: read, and left out */
    bool no_memory;
};

static void step(struct line *line)
{
    uint32_t c;
    utf8_next(&line->rest, &c);
    line->column++;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_bare(char c)
{
    return (unsigned char)c > ' ' && c != 0x7F && c != '"' && c != '{' && c != '}';
}

static void skip_space(struct line *line)
{
    while (line->rest.len > 0 && is_space(line->rest.ptr[0]))
        step(line);
}

static bool at_end(const struct line *line)
{
    return line->rest.len == 0 || line->rest.ptr[0] == '#';
}

static bool at_byte(const struct line *line, char c)
{
    return line->rest.len > 0 && line->rest.ptr[0] == c;
}

static void take_bare(struct line *line, struct conf_word *word)
{
    struct str before = line->rest;
    while (line->rest.len > 0 && is_bare(line->rest.ptr[0]))
        step(line);
    word->text = str_make(before.ptr, before.len - line->rest.len);
}

/* What stands between quotes, with its backslashes taken out. */
static bool unquote(struct parser *p, const struct conf_word *word, struct str raw,
                    struct str *ret_text)
{
    char *at = arena_alloc(p->arena, raw.len + 1);
    size_t len = 0;
    if (!at) {
        p->no_memory = true;
        return false;
    }
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.ptr[i] == '\\' && raw.ptr[++i] != '"' && raw.ptr[i] != '\\') {
            conf_error_add(p->errors, word->line, word->column,
                           "only \\\" and \\\\ may follow a backslash in quotes");
            return false;
        }
        at[len++] = raw.ptr[i];
    }
    *ret_text = str_make(at, len);
    return true;
}

static bool take_quoted(struct parser *p, struct line *line, struct conf_word *word)
{
    step(line);
    struct str raw = line->rest;
    while (line->rest.len > 0 && line->rest.ptr[0] != '"') {
        if (line->rest.ptr[0] == '\\' && line->rest.len > 1)
            step(line);
        step(line);
    }
    raw.len -= line->rest.len;
    if (line->rest.len == 0) {
        conf_error_add(p->errors, word->line, word->column, "the quotes are not closed");
        return false;
    }
    step(line);
    return unquote(p, word, raw, &word->text);
}

static bool take_word(struct parser *p, struct line *line, struct conf_word *ret_word)
{
    *ret_word = (struct conf_word){.line = line->number, .column = line->column};
    if (at_byte(line, '"')) {
        if (!take_quoted(p, line, ret_word))
            return false;
    } else {
        take_bare(line, ret_word);
        if (ret_word->text.len == 0) {
            conf_error_add(p->errors, line->number, line->column, "unexpected \"%c\"",
                           line->rest.ptr[0]);
            return false;
        }
    }
    if (!at_end(line) && !is_space(line->rest.ptr[0]) && line->rest.ptr[0] != '{') {
        conf_error_add(p->errors, line->number, line->column, "there must be a space here");
        return false;
    }
    return true;
}

/* ---- Reading directives and blocks -------------------------------------------------------- */

static void open_block(struct parser *p, struct conf_directive *directive, struct line at)
{
    directive->has_block = true;
    if (p->depth == DEPTH_MAX) {
        conf_error_add(p->errors, at.number, at.column, "blocks are nested too deeply");
        p->too_deep++;
        return;
    }
    p->depth++;
    p->ends[p->depth] = &directive->block;
    p->opened[p->depth] = at;
}

static void close_block(struct parser *p, struct line *line)
{
    struct line at = *line;
    step(line);
    skip_space(line);
    if (!at_end(line))
        conf_error_add(p->errors, line->number, line->column, "a \"}\" stands alone on its line");
    if (p->too_deep > 0)
        p->too_deep--;
    else if (p->depth == 0)
        conf_error_add(p->errors, at.number, at.column, "this \"}\" closes nothing");
    else
        p->depth--;
}

static struct conf_directive *add_directive(struct parser *p, const struct conf_word *words,
                                            size_t count)
{
    struct conf_directive *directive = arena_alloc(p->arena, sizeof *directive);
    struct conf_word *copy = arena_alloc_array(p->arena, count, sizeof *copy);
    if (!directive || !copy) {
        p->no_memory = true;
        return NULL;
    }
    memcpy(copy, words, count * sizeof *copy);
    directive->words = copy;
    directive->word_count = count;
    if (p->too_deep == 0) {
        *p->ends[p->depth] = directive;
        p->ends[p->depth] = &directive->next;
    }
    return directive;
}

/* The words of a line, up to its end or "{"; 0 where something is wrong with it. */
static size_t take_words(struct parser *p, struct line *line, struct conf_word *words)
{
    size_t count = 0;
    while (!at_end(line) && !at_byte(line, '{')) {
        if (count == WORDS_MAX) {
            conf_error_add(p->errors, line->number, line->column, "too many words on a line");
            return 0;
        }
        if (!take_word(p, line, &words[count++]))
            return 0;
        skip_space(line);
    }
    if (count == 0)
        conf_error_add(p->errors, line->number, line->column, "a block needs a name before it");
    return count;
}

/* A line that is wrong may still open a block: its inside must not be read as the outside. */
static bool ends_in(struct str line, struct str brace)
{
    ptrdiff_t comment = str_find(line, STR(" #"));
    if (comment >= 0)
        line = str_sub(line, 0, (size_t)comment);
    return str_ends(str_trim(line), brace);
}

static void read_directive(struct parser *p, struct line *line)
{
    struct conf_word words[WORDS_MAX];
    struct str whole = line->rest;
    size_t count = take_words(p, line, words);
    if (count == 0) {
        if (ends_in(whole, STR("{")))
            p->too_deep++;
        return;
    }
    struct conf_directive *directive = add_directive(p, words, count);
    if (!directive || !at_byte(line, '{'))
        return;
    struct line brace = *line;
    step(line);
    skip_space(line);
    if (!at_end(line))
        conf_error_add(p->errors, line->number, line->column,
                       "a block's first directive begins on the next line");
    /* Wrong, but what follows is not in it: "log { format json }". */
    if (ends_in(line->rest, STR("}")))
        directive->has_block = true;
    else
        open_block(p, directive, brace);
}

/* Control characters and what is not UTF-8 are refused before anything is read into them. */
static bool is_clean(struct parser *p, struct line line)
{
    while (line.rest.len > 0) {
        uint32_t c;
        if (!utf8_next(&line.rest, &c)) {
            conf_error_add(p->errors, line.number, line.column, "this is not UTF-8");
            return false;
        }
        if ((c < 0x20 && c != '\t') || (c >= 0x7F && c < 0xA0)) {
            conf_error_add(p->errors, line.number, line.column,
                           "a control character (0x%02x) has no place here", (unsigned)c);
            return false;
        }
        line.column++;
    }
    return true;
}

static void read_line(struct parser *p, struct str text, int number)
{
    if (str_ends(text, STR("\r")))
        text.len--;
    struct line line = {.rest = text, .number = number, .column = 1};
    if (!is_clean(p, line))
        return;
    skip_space(&line);
    if (at_end(&line))
        return;
    if (at_byte(&line, '}'))
        close_block(p, &line);
    else
        read_directive(p, &line);
}

enum status_code conf_parse(struct str text, struct arena *arena, struct conf_errors *errors,
                            struct conf_directive **ret_first)
{
    struct conf_directive *first = NULL;
    struct parser p = {.arena = arena, .errors = errors, .ends = {&first}};
    struct str line;
    for (int number = 1; str_split(&text, '\n', &line) && !p.no_memory; number++)
        read_line(&p, line, number);
    for (; p.depth > 0; p.depth--)
        conf_error_add(errors, p.opened[p.depth].number, p.opened[p.depth].column,
                       "this \"{\" is not closed");
    if (p.no_memory || errors->no_memory)
        return STATUS_NO_MEMORY;
    *ret_first = first;
    return STATUS_OK;
}

/* ---- Writing ------------------------------------------------------------------------------ */

void conf_write_word(struct buf *out, struct str s)
{
    bool bare = s.len > 0 && s.ptr[0] != '#';
    for (size_t i = 0; bare && i < s.len; i++)
        bare = is_bare(s.ptr[i]);
    if (bare) {
        buf_append_str(out, s);
        return;
    }
    buf_append_byte(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"' || s.ptr[i] == '\\')
            buf_append_byte(out, '\\');
        buf_append_byte(out, s.ptr[i]);
    }
    buf_append_byte(out, '"');
}
