#include "codec/charset.h"

#include <unicode/ucnv.h>
#include <unicode/ucnv_cb.h>
#include <unicode/udata.h>

#include "codec/utf8.h"

/* NULL in the second column: read here, as UTF-8. */
static const struct charset {
    const char *name;
    const char *icu_name;
} charsets[] = {
    {"utf-8", NULL},
    {"us-ascii", NULL}, /* what is really in it, where it is not ASCII, is mostly UTF-8 */
    {"ascii", NULL},
    {"utf8", NULL},
    {"ansi_x3.4-1968", NULL},
    {"unicode-1-1-utf-8", NULL},
    {"iso-8859-1", "windows-1252"},
    {"iso8859-1", "windows-1252"},
    {"iso_8859-1", "windows-1252"},
    {"latin1", "windows-1252"},
    {"windows-1252", "windows-1252"},
    {"cp1252", "windows-1252"},
    {"iso-8859-2", "iso-8859-2"},
    {"iso-8859-3", "iso-8859-3"},
    {"iso-8859-4", "iso-8859-4"},
    {"iso-8859-5", "iso-8859-5"},
    {"iso-8859-6", "iso-8859-6"},
    {"iso-8859-7", "iso-8859-7"},
    {"iso-8859-8", "iso-8859-8"},
    {"iso-8859-8-i", "iso-8859-8"},
    {"iso-8859-9", "windows-1254"},
    {"iso-8859-10", "iso-8859-10"},
    {"iso-8859-11", "windows-874"},
    {"iso-8859-13", "iso-8859-13"},
    {"iso-8859-14", "iso-8859-14"},
    {"iso-8859-15", "iso-8859-15"},
    {"windows-874", "windows-874"},
    {"tis-620", "windows-874"},
    {"windows-1250", "windows-1250"},
    {"windows-1251", "windows-1251"},
    {"cp1251", "windows-1251"},
    {"windows-1253", "windows-1253"},
    {"windows-1254", "windows-1254"},
    {"windows-1255", "windows-1255"},
    {"windows-1256", "windows-1256"},
    {"windows-1257", "windows-1257"},
    {"windows-1258", "windows-1258"},
    {"koi8-r", "koi8-r"},
    {"koi8-u", "koi8-u"},
    {"ibm437", "ibm-437"},
    {"cp437", "ibm-437"},
    {"ibm850", "ibm-850"},
    {"cp850", "ibm-850"},
    {"ibm866", "ibm-866"},
    {"cp866", "ibm-866"},
    {"macintosh", "macintosh"},
    {"x-mac-cyrillic", "x-mac-cyrillic"},
    {"gb2312", "gb18030"},
    {"gbk", "gb18030"},
    {"cp936", "gb18030"},
    {"gb18030", "gb18030"},
    {"hz-gb-2312", "hz-gb-2312"},
    {"big5", "windows-950"},
    {"big5-hkscs", "big5-hkscs"},
    {"euc-kr", "windows-949"},
    {"ks_c_5601-1987", "windows-949"},
    {"cp949", "windows-949"},
    {"iso-2022-kr", "iso-2022-kr"},
    {"shift_jis", "windows-31j"},
    {"shift-jis", "windows-31j"},
    {"x-sjis", "windows-31j"},
    {"cp932", "windows-31j"},
    {"windows-31j", "windows-31j"},
    {"euc-jp", "euc-jp"},
    {"iso-2022-jp", "iso-2022-jp"},
    {"utf-7", "utf-7"},
    {"utf-16", "utf-16"},
    {"utf-16le", "utf-16le"},
    {"utf-16be", "utf-16be"},
};

enum { CHARSETS = sizeof charsets / sizeof charsets[0] };

static const struct charset *find_charset(struct str name)
{
    name = str_trim(name);
    for (size_t i = 0; i < CHARSETS; i++)
        if (str_eq_nocase(name, str_from_c(charsets[i].name)))
            return &charsets[i];
    return NULL;
}

bool charset_known(struct str name)
{
    return find_charset(name) != NULL;
}

/* In place of ICU's own substitute, which for some sets is the control character U+001A. */
static void put_replacement(const void *context, UConverterToUnicodeArgs *args, const char *bytes,
                            int32_t len, UConverterCallbackReason reason, UErrorCode *error)
{
    static const UChar replacement = UTF8_REPLACEMENT;
    (void)context, (void)bytes, (void)len;
    if (reason > UCNV_IRREGULAR)
        return;
    *error = U_ZERO_ERROR;
    ucnv_cbToUWriteUChars(args, &replacement, 1, 0, error);
}

static UConverter *open_converter(const char *icu_name)
{
    UErrorCode error = U_ZERO_ERROR;
    UConverter *converter = ucnv_open(icu_name, &error);
    if (U_SUCCESS(error))
        ucnv_setToUCallBack(converter, put_replacement, NULL, NULL, NULL, &error);
    if (U_SUCCESS(error))
        return converter;
    ucnv_close(converter);
    return NULL;
}

enum status_code charset_open(struct charset_decoder *d, struct str name)
{
    const struct charset *set = find_charset(name);
    *d = (struct charset_decoder){0};
    if (!set)
        return STATUS_NOT_FOUND;
    if (!set->icu_name)
        return STATUS_OK;
    d->converter = open_converter(set->icu_name);
    return d->converter ? STATUS_OK : STATUS_NO_MEMORY;
}

void charset_close(struct charset_decoder *d)
{
    ucnv_close(d->converter);
    *d = (struct charset_decoder){0};
}

/* ---- UTF-8 -------------------------------------------------------------------------------- */

/* The length of a start of a character at the end of s that more bytes could complete. */
static size_t unfinished_len(struct str s)
{
    for (size_t back = 1; back <= 3 && back <= s.len; back++) {
        uint8_t byte = (uint8_t)s.ptr[s.len - back];
        if ((byte & 0xC0) == 0x80)
            continue;
        size_t want = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
        return want > back ? back : 0;
    }
    return 0;
}

static void decode_utf8(struct charset_decoder *d, struct buf *out, struct str piece)
{
    /* Complete the held start one byte at a time, until it is a character or broken. */
    while (d->held_len > 0 && piece.len > 0) {
        d->held[d->held_len++] = piece.ptr[0];
        piece = str_skip(piece, 1);
        struct str held = str_make(d->held, d->held_len);
        size_t keep = unfinished_len(held);
        if (keep != held.len) {
            utf8_repair(out, str_sub(held, 0, held.len - keep));
            memmove(d->held, d->held + held.len - keep, keep);
            d->held_len = (unsigned char)keep;
        }
    }
    size_t keep = unfinished_len(piece);
    utf8_repair(out, str_sub(piece, 0, piece.len - keep));
    if (keep > 0)
        memcpy(d->held, piece.ptr + piece.len - keep, keep);
    d->held_len = (unsigned char)(d->held_len + keep);
}

/* ---- Everything else ---------------------------------------------------------------------- */

static void put_utf16(struct charset_decoder *d, struct buf *out, uint16_t unit)
{
    bool low = U16_IS_TRAIL(unit);
    if (d->high_surrogate && low) {
        utf8_put(out, (uint32_t)U16_GET_SUPPLEMENTARY(d->high_surrogate, unit));
        d->high_surrogate = 0;
        return;
    }
    if (d->high_surrogate)
        utf8_put(out, UTF8_REPLACEMENT);
    d->high_surrogate = U16_IS_LEAD(unit) ? unit : 0;
    if (!d->high_surrogate)
        utf8_put(out, unit); /* a lone low surrogate becomes the replacement */
}

static size_t ascii_run(const UChar *units, size_t count)
{
    size_t run = 0;
    while (run < count && units[run] < 0x80)
        run++;
    return run;
}

static void put_units(struct charset_decoder *d, struct buf *out, const UChar *units, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t run = d->high_surrogate ? 0 : ascii_run(units + i, count - i);
        char *at = run ? buf_reserve(out, run) : NULL;
        for (size_t k = 0; at && k < run; k++)
            at[k] = (char)units[i + k];
        if (at)
            buf_grown(out, run);
        i += run;
        if (i < count)
            put_utf16(d, out, units[i++]);
    }
}

static void convert(struct charset_decoder *d, struct buf *out, struct str piece, bool last)
{
    const char *at = piece.len ? piece.ptr : "", *end = at + piece.len;
    UErrorCode error;
    do {
        UChar units[512] = {0};
        UChar *unit_end = units;
        error = U_ZERO_ERROR;
        ucnv_toUnicode(d->converter, &unit_end, units + 512, &at, end, NULL, last, &error);
        put_units(d, out, units, (size_t)(unit_end - units));
    } while (error == U_BUFFER_OVERFLOW_ERROR && !out->failed);
}

void charset_decode(struct charset_decoder *d, struct buf *out, struct str piece)
{
    if (d->converter)
        convert(d, out, piece, false);
    else
        decode_utf8(d, out, piece);
}

void charset_decode_end(struct charset_decoder *d, struct buf *out)
{
    if (d->converter) {
        convert(d, out, STR(""), true);
        ucnv_resetToUnicode(d->converter);
    }
    if (d->high_surrogate)
        utf8_put(out, UTF8_REPLACEMENT);
    utf8_repair(out, str_make(d->held, d->held_len));
    d->high_surrogate = 0;
    d->held_len = 0;
}

bool charset_to_utf8(struct buf *out, struct str name, struct str s)
{
    struct charset_decoder d;
    if (charset_open(&d, name) != STATUS_OK)
        return false;
    charset_decode(&d, out, s);
    charset_decode_end(&d, out);
    charset_close(&d);
    return true;
}

enum status_code charset_preload(void)
{
    UErrorCode error = U_ZERO_ERROR;
    udata_setFileAccess(UDATA_NO_FILES, &error);
    if (U_FAILURE(error))
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < CHARSETS; i++) {
        UConverter *converter = charsets[i].icu_name ? open_converter(charsets[i].icu_name) : NULL;
        if (charsets[i].icu_name && !converter)
            return STATUS_NOT_FOUND;
        ucnv_close(converter);
    }
    return STATUS_OK;
}
