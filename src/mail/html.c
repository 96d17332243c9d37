#include "mail/html.h"

#include "codec/utf8.h"

enum { REFERENCE_SIZE = 8 }; /* the longest of the names below; zeros behind shorter ones */

/* Character references for U+00A0 to U+00FF, in order (HTML 4.01 §24.2). */
static const char latin1_names[96][REFERENCE_SIZE] = {
    "nbsp",   "iexcl",  "cent",   "pound",  "curren", "yen",    "brvbar", "sect",   "uml",
    "copy",   "ordf",   "laquo",  "not",    "shy",    "reg",    "macr",   "deg",    "plusmn",
    "sup2",   "sup3",   "acute",  "micro",  "para",   "middot", "cedil",  "sup1",   "ordm",
    "raquo",  "frac14", "frac12", "frac34", "iquest", "Agrave", "Aacute", "Acirc",  "Atilde",
    "Auml",   "Aring",  "AElig",  "Ccedil", "Egrave", "Eacute", "Ecirc",  "Euml",   "Igrave",
    "Iacute", "Icirc",  "Iuml",   "ETH",    "Ntilde", "Ograve", "Oacute", "Ocirc",  "Otilde",
    "Ouml",   "times",  "Oslash", "Ugrave", "Uacute", "Ucirc",  "Uuml",   "Yacute", "THORN",
    "szlig",  "agrave", "aacute", "acirc",  "atilde", "auml",   "aring",  "aelig",  "ccedil",
    "egrave", "eacute", "ecirc",  "euml",   "igrave", "iacute", "icirc",  "iuml",   "eth",
    "ntilde", "ograve", "oacute", "ocirc",  "otilde", "ouml",   "divide", "oslash", "ugrave",
    "uacute", "ucirc",  "uuml",   "yacute", "thorn",  "yuml",
};

static const struct {
    char name[REFERENCE_SIZE];
    uint32_t character;
} other_names[] = {
    {"amp", '&'},      {"lt", '<'},       {"gt", '>'},        {"quot", '"'},
    {"apos", '\''},    {"euro", 0x20AC},  {"hellip", 0x2026}, {"ndash", 0x2013},
    {"mdash", 0x2014}, {"lsquo", 0x2018}, {"rsquo", 0x2019},  {"ldquo", 0x201C},
    {"rdquo", 0x201D}, {"bdquo", 0x201E}, {"bull", 0x2022},   {"zwnj", 0x200C},
};

static const char *const inline_tags[] = {"a",    "abbr", "b",  "big",   "code", "em",
                                          "font", "i",    "s",  "small", "span", "strong",
                                          "sub",  "sup",  "tt", "u",     "wbr"};

static struct str name_of(const struct html_stripper *h)
{
    return str_make(h->name, h->name_len);
}

static bool is_inline(struct str name)
{
    if (str_starts(name, STR("/")))
        name = str_skip(name, 1);
    for (size_t i = 0; i < sizeof inline_tags / sizeof inline_tags[0]; i++)
        if (str_eq(name, str_from_c(inline_tags[i])))
            return true;
    return false;
}

static void add_to_name(struct html_stripper *h, char c)
{
    if (h->name_len < sizeof h->name)
        h->name[h->name_len++] = c;
}

/* Behind a tag: is the text now hidden, or again to be seen? */
static void end_tag(struct html_stripper *h, struct buf *out)
{
    struct str name = name_of(h);
    struct str hidden = str_from_c(h->hidden);
    h->state = HTML_TEXT;
    if (hidden.len > 0) {
        if (str_starts(name, STR("/")) && str_eq(str_skip(name, 1), hidden))
            h->hidden[0] = '\0';
        return;
    }
    if (str_eq(name, STR("script")) || str_eq(name, STR("style")))
        str_to_c(name, h->hidden, sizeof h->hidden);
    if (!is_inline(name))
        buf_append_byte(out, ' ');
}

static uint32_t number_of(struct str digits)
{
    uint64_t value = 0;
    bool hex = digits.len > 0 && ascii_lower(digits.ptr[0]) == 'x';
    for (size_t i = hex; i < digits.len; i++) {
        char c = ascii_lower(digits.ptr[i]);
        if (ascii_is_digit(c))
            value = value * (hex ? 16 : 10) + (uint64_t)(c - '0');
        else if (hex && c >= 'a' && c <= 'f')
            value = value * 16 + (uint64_t)(c - 'a') + 10;
        else
            return 0;
    }
    return value <= 0x10FFFF ? (uint32_t)value : 0;
}

static uint32_t character_of(struct str name)
{
    char padded[REFERENCE_SIZE] = {0};
    if (str_starts(name, STR("#")))
        return number_of(str_skip(name, 1));
    if (name.len == 0 || name.len > sizeof padded)
        return 0;
    memcpy(padded, name.ptr, name.len);
    for (size_t i = 0; i < sizeof other_names / sizeof other_names[0]; i++)
        if (memcmp(padded, other_names[i].name, sizeof padded) == 0)
            return other_names[i].character;
    for (uint32_t i = 0; i < 96; i++)
        if (memcmp(padded, latin1_names[i], sizeof padded) == 0)
            return 0xA0 + i;
    return 0;
}

/* The reference as a character, or as it was written. */
static void end_reference(struct html_stripper *h, struct buf *out, bool semicolon)
{
    uint32_t c = character_of(name_of(h));
    h->state = HTML_TEXT;
    if (h->hidden[0])
        return;
    if (c != 0) {
        utf8_put(out, c);
        return;
    }
    buf_append_byte(out, '&');
    buf_append_str(out, name_of(h));
    if (semicolon)
        buf_append_byte(out, ';');
}

/* In text: everything up to the next "<" or "&". Returns how much was taken. */
static size_t take_text(struct html_stripper *h, struct buf *out, struct str s)
{
    size_t len = 0;
    while (len < s.len && s.ptr[len] != '<' && s.ptr[len] != '&')
        len++;
    if (!h->hidden[0])
        buf_append(out, s.ptr, len);
    if (len == s.len)
        return len;
    h->state = s.ptr[len] == '<' ? HTML_OPEN : HTML_REFERENCE;
    h->name_len = 0;
    return len + 1;
}

/* Behind "<": a tag, a comment, or only a sign. True where c is used up. */
static bool take_open(struct html_stripper *h, struct buf *out, char c)
{
    h->dashes = 0;
    if (c == '!')
        h->state = HTML_BANG;
    else if (ascii_is_alpha(c) || c == '/' || c == '?')
        h->state = HTML_NAME;
    else
        h->state = HTML_TEXT;
    if (h->state == HTML_NAME)
        add_to_name(h, ascii_lower(c));
    if (h->state == HTML_TEXT && !h->hidden[0])
        buf_append_byte(out, '<');
    return h->state != HTML_TEXT;
}

static bool take_reference(struct html_stripper *h, struct buf *out, char c)
{
    bool part = ascii_is_alpha(c) || ascii_is_digit(c) || (c == '#' && h->name_len == 0);
    if (part && h->name_len < sizeof h->name) {
        add_to_name(h, c);
        return true;
    }
    end_reference(h, out, c == ';');
    return c == ';';
}

static void take_bang(struct html_stripper *h, struct buf *out, char c)
{
    if (c == '-' && h->dashes < 2) {
        if (++h->dashes == 2)
            h->state = HTML_COMMENT, h->dashes = 0;
    } else if (c == '>') {
        end_tag(h, out);
    } else {
        h->state = HTML_TAG;
    }
}

static void take_comment(struct html_stripper *h, char c)
{
    if (c == '>' && h->dashes >= 2)
        h->state = HTML_TEXT;
    h->dashes = c == '-' ? h->dashes + 1 : 0;
}

/* One byte outside text; true where it is used up. */
static bool take_byte(struct html_stripper *h, struct buf *out, char c)
{
    switch (h->state) {
    case HTML_OPEN:
        return take_open(h, out, c);
    case HTML_REFERENCE:
        return take_reference(h, out, c);
    case HTML_BANG:
        take_bang(h, out, c);
        return true;
    case HTML_COMMENT:
        take_comment(h, c);
        return true;
    case HTML_NAME:
        if (ascii_is_alpha(c) || ascii_is_digit(c))
            add_to_name(h, ascii_lower(c));
        else if (c != '>')
            h->state = HTML_TAG;
        break;
    default:
        break;
    }
    if (c == '>')
        end_tag(h, out);
    return true;
}

void html_strip(struct html_stripper *h, struct buf *out, struct str piece)
{
    while (piece.len > 0) {
        size_t taken;
        if (h->state == HTML_TEXT)
            taken = take_text(h, out, piece);
        else
            taken = take_byte(h, out, piece.ptr[0]);
        piece = str_skip(piece, taken);
    }
}

void html_strip_end(struct html_stripper *h, struct buf *out)
{
    if (h->state == HTML_REFERENCE)
        end_reference(h, out, false);
    else if (h->state == HTML_OPEN && !h->hidden[0])
        buf_append_byte(out, '<');
    *h = (struct html_stripper){0};
}
