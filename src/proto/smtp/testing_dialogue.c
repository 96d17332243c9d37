#include "proto/smtp/testing_dialogue.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"

void dialogue_give_up(const char *name, int line, const char *what, struct str word)
{
    fprintf(stderr, "%s:%d: %s: %.*s\n", name, line, what, STR_ARG(word));
    bug("a dialogue that makes no sense");
}

static int hex_digit(char c)
{
    return ascii_is_digit(c) ? c - '0' : ascii_lower(c) - 'a' + 10;
}

void dialogue_unescape(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\\' && i + 1 < s.len) {
            c = s.ptr[++i];
            c = c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : c == '0' ? '\0' : c;
            if (c == 'x' && i + 2 < s.len) {
                c = (char)(hex_digit(s.ptr[i + 1]) * 16 + hex_digit(s.ptr[i + 2]));
                i += 2;
            }
        }
        if (!buf_append_byte(out, c))
            bug("no room");
    }
}

struct str dialogue_word(struct str *rest)
{
    struct str word = {NULL, 0};
    *rest = str_trim(*rest);
    ptrdiff_t space = str_find_byte(*rest, ' ');
    word = space < 0 ? *rest : str_sub(*rest, 0, (size_t)space);
    *rest = str_trim(str_skip(*rest, word.len));
    return word;
}

bool dialogue_line(const char *name, struct str *text, int *number, struct str *ret_key,
                   struct str *ret_value)
{
    struct str line;
    while (str_split(text, '\n', &line)) {
        ptrdiff_t colon = str_find_byte(line, ':');
        ++*number;
        if (str_empty(str_trim(line)) || line.ptr[0] == '#')
            continue;
        if (colon < 0)
            dialogue_give_up(name, *number, "no colon", line);
        struct str value = str_skip(line, (size_t)colon + 1);
        *ret_key = str_sub(line, 0, (size_t)colon);
        *ret_value = value.len > 0 && value.ptr[0] == ' ' ? str_skip(value, 1) : value;
        return true;
    }
    return false;
}

struct str dialogue_load(const char *folder, const char *name)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    invariant(file);
    char *memory = malloc(DIALOGUE_SIZE_MAX);
    invariant(memory);
    size_t size = fread(memory, 1, DIALOGUE_SIZE_MAX, file);
    fclose(file);
    return str_make(memory, size);
}

int dialogue_run_all(const char *name, void (*run_file)(const char *folder, const char *file))
{
    char folder[4000];
    const char *root = getenv("POSTERN_SOURCE_ROOT");
    snprintf(folder, sizeof folder, "%s/tests/dialogues/%s", root ? root : ".", name);
    DIR *dir = opendir(folder);
    int files = 0;
    if (!dir)
        dialogue_give_up(folder, 0, "no such folder", (struct str){0});
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!str_ends(str_from_c(entry->d_name), STR(".dlg")))
            continue;
        run_file(folder, entry->d_name);
        files++;
    }
    closedir(dir);
    return files;
}
