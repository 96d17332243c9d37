#include "cli/setup_unit.h"

#include <limits.h>

#include <openssl/evp.h>

#include "cli/setup_text.h"
#include "codec/hex.h"

enum { DIGEST_SIZE = 32, HEX_SIZE = 2 * DIGEST_SIZE, UNIT_SIZE_MAX = 256 * 1024 };

#define MARK "# sha256 of what is above: "

/* The templates of versions before the mark, oldest first. */
static const char *const unmarked[] = {
    "8153c9662b49746d3b546111f2c3c7b60a4550d0fcd86b74fc7815dd4894dbd9",
    "d32a10f6bcce6df2a9bdbde85aeabaecc21338c265e64b6e0ad5441ed97157e5",
    "2bb70d02b48355b06e4d5d255054f3755b819f8bdc9a646ba94b2e0f2dad98f1",
    "bc971706fba35d74689064aa99e779cbfe2bf0a6151a8975897577929d2b24dc",
    "7c09a16a5a2f2c22bdba98905c53aae4a06e06c506d2010bc67a4da28fc4dd9b",
};

static bool append_digest(struct buf *out, struct str text)
{
    unsigned char digest[DIGEST_SIZE];
    if (EVP_Digest(text.ptr, text.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return false;
    hex_encode(out, str_make(digest, sizeof digest));
    return !out->failed;
}

void setup_unit_make(struct buf *out, struct str template, struct str program)
{
    const struct setup_word words[] = {{"@PROGRAM@", program}, {NULL, {0}}};
    struct buf text;
    buf_init(&text, UNIT_SIZE_MAX);
    setup_fill(&text, template, words);
    buf_append_str(&text, STR("\n# postern setup wrote this, and replaces it with what a later "
                              "version has unless it was edited.\n# For settings of your own: "
                              "systemctl edit postern\n"));
    buf_append_str(out, buf_str(&text));
    buf_append_str(out, STR(MARK));
    if (!append_digest(out, buf_str(&text)) || text.failed)
        out->failed = true;
    buf_append_byte(out, '\n');
    buf_release(&text);
}

/* Cuts a unit at its mark: what is above, and the digest that is told. False: it has none. */
static bool split_mark(struct str unit, struct str *ret_above, struct str *ret_digest)
{
    ptrdiff_t at = str_find(unit, STR("\n" MARK));
    if (at < 0)
        return false;
    *ret_above = str_sub(unit, 0, (size_t)at + 1);
    *ret_digest = str_skip(unit, (size_t)at + 1 + STR(MARK).len);
    return true;
}

static bool is_digest_of(struct str digest, struct str text)
{
    struct buf right;
    buf_init(&right, HEX_SIZE + 1);
    bool ok = append_digest(&right, text) && str_eq(digest, buf_str(&right));
    buf_release(&right);
    return ok;
}

/* The path behind "ExecStart=", which is the program that setup was. */
static bool find_program(struct str unit, char ret_program[PATH_MAX])
{
    ptrdiff_t at = str_find(unit, STR("\nExecStart="));
    if (at < 0)
        return false;
    struct str rest = str_skip(unit, (size_t)at + STR("\nExecStart=").len);
    ptrdiff_t end = str_find(rest, STR(" serve\n"));
    return end > 0 && rest.ptr[0] == '/' &&
           str_to_c(str_sub(rest, 0, (size_t)end), ret_program, PATH_MAX);
}

static bool is_unmarked(struct str unit)
{
    char program[PATH_MAX];
    struct buf template;
    bool known = false;
    if (!find_program(unit, program))
        return false;
    const struct setup_word words[] = {{program, STR("@PROGRAM@")}, {NULL, {0}}};
    buf_init(&template, UNIT_SIZE_MAX);
    setup_fill(&template, unit, words);
    for (size_t i = 0; i < sizeof unmarked / sizeof unmarked[0] && !template.failed; i++)
        known = known || is_digest_of(str_from_c(unmarked[i]), buf_str(&template));
    buf_release(&template);
    return known;
}

enum setup_unit setup_unit_judge(struct str there, struct str made)
{
    struct str above, digest, made_above, made_digest;
    if (str_eq(there, made))
        return SETUP_UNIT_SAME;
    if (!split_mark(there, &above, &digest))
        return is_unmarked(there) ? SETUP_UNIT_OURS : SETUP_UNIT_STRANGE;
    if (str_ends(digest, STR("\n")) && is_digest_of(str_sub(digest, 0, digest.len - 1), above))
        return SETUP_UNIT_OURS;
    bool of_this = split_mark(made, &made_above, &made_digest) && str_starts(digest, made_digest);
    return of_this ? SETUP_UNIT_EDITED : SETUP_UNIT_STRANGE;
}
