#include "proto/sasl/prep.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

enum { PREP_UNITS_MAX = 2048, VIRAMA = 9, ZWNJ = 0x200C, ZWJ = 0x200D };

struct prep {
    UChar raw[PREP_UNITS_MAX];
    UChar normal[PREP_UNITS_MAX];
    char utf8[3 * PREP_UNITS_MAX];
};

static bool is_printable_ascii(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x20 || s.ptr[i] > 0x7E)
            return false;
    return true;
}

/* RFC 8264 §9.9: conjoining jamo are not for strings that people compare. */
static bool is_old_hangul_jamo(UChar32 c)
{
    int32_t type = u_getIntPropertyValue(c, UCHAR_HANGUL_SYLLABLE_TYPE);
    return type == U_HST_LEADING_JAMO || type == U_HST_VOWEL_JAMO || type == U_HST_TRAILING_JAMO;
}

/*
 * RFC 8264 §4.3: the FreeformClass takes letters, marks, digits, symbols, punctuation and spaces.
 * Joiners are allowed behind a virama (RFC 5892 §A.1, §A.2); the other contextual rules of RFC
 * 5892 are about look-alikes in names that others read, and are not applied to what is only
 * compared.
 */
static bool is_allowed(UChar32 c, UChar32 before)
{
    uint32_t classes =
        U_GC_L_MASK | U_GC_M_MASK | U_GC_N_MASK | U_GC_S_MASK | U_GC_P_MASK | U_GC_ZS_MASK;
    if (c == ZWNJ || c == ZWJ)
        return u_getCombiningClass(before) == VIRAMA;
    return (U_MASK(u_charType(c)) & classes) && !is_old_hangul_jamo(c) &&
           !u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT);
}

/* All spaces are in the basic plane, so mapping them keeps the length. */
static bool map_and_check(UChar *units, int32_t len)
{
    UChar32 c, before = 0;
    for (int32_t i = 0; i < len; before = c) {
        int32_t at = i;
        U16_NEXT(units, i, len, c);
        if (!is_allowed(c, before))
            return false;
        if (u_charType(c) == U_SPACE_SEPARATOR)
            units[at] = ' ';
    }
    return true;
}

static bool prepare(struct prep *p, struct str s, struct str *ret_prepared)
{
    UErrorCode error = U_ZERO_ERROR;
    int32_t raw_len = 0, normal_len, utf8_len = 0;
    u_strFromUTF8(p->raw, PREP_UNITS_MAX, &raw_len, s.ptr, (int32_t)s.len, &error);
    if (U_FAILURE(error) || !map_and_check(p->raw, raw_len))
        return false;
    const UNormalizer2 *nfc = unorm2_getNFCInstance(&error);
    if (U_FAILURE(error))
        return false;
    normal_len = unorm2_normalize(nfc, p->raw, raw_len, p->normal, PREP_UNITS_MAX, &error);
    u_strToUTF8(p->utf8, sizeof p->utf8, &utf8_len, p->normal, normal_len, &error);
    *ret_prepared = str_make(p->utf8, (size_t)utf8_len);
    return U_SUCCESS(error);
}

bool sasl_prepare(struct str s, struct buf *out)
{
    if (s.len == 0 || s.len > PREP_UNITS_MAX)
        return false;
    if (is_printable_ascii(s))
        return buf_append_str(out, s);
    struct prep p;
    struct str prepared;
    bool ok = prepare(&p, s, &prepared) && buf_append_str(out, prepared);
    explicit_bzero(&p, sizeof p);
    return ok;
}
