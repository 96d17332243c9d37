#include "codec/fold.h"

#include <unicode/unorm2.h>
#include <unicode/utf16.h>

#include "codec/utf8.h"

/* Normalised at once; a run of combining marks longer than this is cut. */
enum { RUN_UNITS = 128, RUN_UNITS_FULL = RUN_UNITS - 32 };

/* Folding may make a text longer (U+FDFA becomes 18 characters). */
enum { FOLDED_UNITS = RUN_UNITS * 18 };

/* The result stands here, and not with each run, for the compiler clears what a function declares.
 */
struct folder {
    const UNormalizer2 *form;
    struct buf *out;
    size_t count;
    UChar units[RUN_UNITS];
    UChar folded[FOLDED_UNITS];
};

/* Both are static tables inside ICU; the first call of each loads it. */
static const UNormalizer2 *nfkc_casefold(void)
{
    UErrorCode error = U_ZERO_ERROR;
    const UNormalizer2 *form = unorm2_getNFKCCasefoldInstance(&error);
    return U_SUCCESS(error) ? form : NULL;
}

static const UNormalizer2 *nfc(void)
{
    UErrorCode error = U_ZERO_ERROR;
    const UNormalizer2 *form = unorm2_getNFCInstance(&error);
    return U_SUCCESS(error) ? form : NULL;
}

enum status_code fold_preload(void)
{
    return nfkc_casefold() && nfc() ? STATUS_OK : STATUS_NO_MEMORY;
}

static void put_units(struct buf *out, const UChar *units, size_t count)
{
    for (size_t i = 0; i < count;) {
        uint32_t c;
        U16_NEXT(units, i, count, c);
        utf8_put(out, c);
    }
}

static void flush(struct folder *f)
{
    UErrorCode error = U_ZERO_ERROR;
    if (f->count == 0)
        return;
    int32_t len =
        unorm2_normalize(f->form, f->units, (int32_t)f->count, f->folded, FOLDED_UNITS, &error);
    if (U_FAILURE(error))
        f->out->failed = true;
    else
        put_units(f->out, f->folded, (size_t)len);
    f->count = 0;
}

static void take_char(struct folder *f, uint32_t c)
{
    bool full = f->count >= RUN_UNITS_FULL;
    if (f->count + 2 > RUN_UNITS || (full && unorm2_hasBoundaryBefore(f->form, (UChar32)c)))
        flush(f);
    U16_APPEND_UNSAFE(f->units, f->count, c);
}

/* The length of the ASCII at the front of s that what follows cannot combine with. */
static size_t ascii_len(struct str s)
{
    size_t len = utf8_ascii_len(s);
    return len == s.len || len == 0 ? len : len - 1;
}

static void put_lower(struct buf *out, struct str ascii)
{
    char *at = buf_reserve(out, ascii.len);
    if (!at)
        return;
    for (size_t i = 0; i < ascii.len; i++)
        at[i] = ascii_lower(ascii.ptr[i]);
    buf_grown(out, ascii.len);
}

/* One run that begins with what may not be ASCII, up to a pair of ASCII characters. */
static struct str take_run(struct folder *f, struct str rest)
{
    uint32_t c;
    do {
        utf8_next(&rest, &c);
        take_char(f, c);
    } while (rest.len > 0 && !(c < 0x80 && (unsigned char)rest.ptr[0] < 0x80));
    flush(f);
    return rest;
}

void fold_case(struct buf *out, struct str utf8)
{
    size_t ascii = ascii_len(utf8);
    put_lower(out, str_sub(utf8, 0, ascii));
    struct str rest = str_skip(utf8, ascii);
    if (rest.len == 0)
        return;
    struct folder f = {.form = nfkc_casefold(), .out = out};
    if (!f.form)
        out->failed = true;
    while (rest.len > 0 && !out->failed) {
        rest = take_run(&f, rest);
        ascii = ascii_len(rest);
        put_lower(out, str_sub(rest, 0, ascii));
        rest = str_skip(rest, ascii);
    }
}

static bool is_clean_name(struct str s)
{
    while (s.len > 0) {
        uint32_t c;
        if (!utf8_next(&s, &c) || c < 0x20 || (c >= 0x7F && c < 0xA0))
            return false;
    }
    return true;
}

bool fold_name(struct buf *out, struct str s)
{
    size_t len_before = out->len;
    if (out->failed || !is_clean_name(s))
        return false;
    fold_case(out, s);
    if (out->failed)
        buf_truncate(out, len_before);
    return !out->failed;
}

bool fold_nfc(struct buf *out, struct str s)
{
    size_t len_before = out->len;
    if (out->failed || !is_clean_name(s))
        return false;
    if (utf8_is_ascii(s))
        return buf_append_str(out, s);
    struct folder f = {.form = nfc(), .out = out};
    out->failed = !f.form;
    while (s.len > 0 && !out->failed)
        s = take_run(&f, s);
    if (out->failed)
        buf_truncate(out, len_before);
    return !out->failed;
}
