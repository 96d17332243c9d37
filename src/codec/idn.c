#include "codec/idn.h"

#include <unicode/uidna.h>

#include "codec/utf8.h"

enum { NAME_MAX_LEN = 253, LABEL_MAX_LEN = 63 };

/* Immutable once it is open, and kept for the life of the process. */
static const UIDNA *uts46(void)
{
    static const UIDNA *opened;
    UErrorCode error = U_ZERO_ERROR;
    if (!opened)
        opened =
            uidna_openUTS46(UIDNA_USE_STD3_RULES | UIDNA_CHECK_BIDI | UIDNA_CHECK_CONTEXTJ |
                                UIDNA_NONTRANSITIONAL_TO_ASCII | UIDNA_NONTRANSITIONAL_TO_UNICODE,
                            &error);
    return U_SUCCESS(error) ? opened : NULL;
}

enum status_code idn_preload(void)
{
    return uts46() ? STATUS_OK : STATUS_NO_MEMORY;
}

/* RFC 5321 §4.1.2: sub-domain = Let-dig [Ldh-str] */
static bool is_label(struct str label)
{
    if (label.len == 0 || label.len > LABEL_MAX_LEN)
        return false;
    for (size_t i = 0; i < label.len; i++)
        if (!ascii_is_alpha(label.ptr[i]) && !ascii_is_digit(label.ptr[i]) && label.ptr[i] != '-')
            return false;
    return label.ptr[0] != '-' && label.ptr[label.len - 1] != '-';
}

static bool is_host_name(struct str name)
{
    struct str label;
    if (name.len == 0 || name.len > NAME_MAX_LEN || name.ptr[name.len - 1] == '.')
        return false;
    while (str_split(&name, '.', &label))
        if (!is_label(label))
            return false;
    return true;
}

/* Whether ICU is needed: not for the plain names that nearly all are. */
static bool is_plain(struct str name)
{
    for (struct str rest = name, label; str_split(&rest, '.', &label);)
        if (str_starts_nocase(label, STR("xn--")))
            return false;
    return utf8_is_ascii(name);
}

static bool put_lower(struct buf *out, struct str ascii)
{
    if (!is_host_name(ascii))
        return false;
    char *at = buf_reserve(out, ascii.len);
    if (!at)
        return false;
    for (size_t i = 0; i < ascii.len; i++)
        at[i] = ascii_lower(ascii.ptr[i]);
    buf_grown(out, ascii.len);
    return true;
}

bool idn_to_ascii(struct buf *out, struct str domain)
{
    if (is_plain(domain))
        return put_lower(out, domain);
    char ascii[NAME_MAX_LEN + 3];
    UIDNAInfo info = UIDNA_INFO_INITIALIZER;
    UErrorCode error = U_ZERO_ERROR;
    /* Four bytes for a character is the most that UTF-8 and U-labels can need. */
    if (domain.len > 4 * NAME_MAX_LEN || !utf8_valid(domain) || !uts46())
        return false;
    int32_t len = uidna_nameToASCII_UTF8(uts46(), domain.ptr, (int32_t)domain.len, ascii,
                                         sizeof ascii, &info, &error);
    if (U_FAILURE(error) || info.errors != 0)
        return false;
    return put_lower(out, str_make(ascii, (size_t)len));
}

bool idn_to_unicode(struct buf *out, struct str domain)
{
    if (is_plain(domain))
        return put_lower(out, domain);
    /* Through the A-labels first: so both directions accept the same names. */
    char bytes[NAME_MAX_LEN + 3];
    struct buf ascii = {.ptr = bytes, .cap = sizeof bytes, .max = sizeof bytes};
    if (!idn_to_ascii(&ascii, domain))
        return false;
    char name[4 * NAME_MAX_LEN];
    UIDNAInfo info = UIDNA_INFO_INITIALIZER;
    UErrorCode error = U_ZERO_ERROR;
    int32_t len = uidna_nameToUnicodeUTF8(uts46(), ascii.ptr, (int32_t)ascii.len, name, sizeof name,
                                          &info, &error);
    if (U_FAILURE(error) || info.errors != 0)
        return false;
    return buf_append(out, name, (size_t)len);
}
