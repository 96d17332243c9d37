#include "mail/search.h"

#include <endian.h>
#include <stdlib.h>

#include "base/bug.h"
#include "codec/fold.h"
#include "codec/utf8.h"

enum {
    PIECE_SIZE = 4096, /* folded at once */
    GROWTH_MAX = 12,   /* of folding: U+FDFA, the worst, makes 33 bytes of 3 */
    TEXT_SIZE = 16384, /* folded text held back until the size of the set is known */
    TEXT_MAX = TEXT_SIZE + GROWTH_MAX * (PIECE_SIZE + SEARCH_RUN_MAX) + 64,
    NEEDLE_SIZE_MAX = 1000,
};

/* ---- folding ---- */

static bool is_ascii(struct str s)
{
    uint64_t high = 0;
    size_t i = 0;
    for (; i + 8 <= s.len; i += 8) {
        uint64_t word;
        memcpy(&word, s.ptr + i, sizeof word);
        high |= word;
    }
    for (; i < s.len; i++)
        high |= (uint64_t)(unsigned char)s.ptr[i] << 56 | (unsigned char)s.ptr[i];
    return (high & 0x8080808080808080u) == 0;
}

/* What an ASCII byte counts as: 33 controls and the space, then the visible ones, then DEL. */
static const char folded_ascii[] = "                                 "
                                   "!\"#$%&'()*+,-./0123456789:;<=>?"
                                   "@abcdefghijklmnopqrstuvwxyz[\\]^_"
                                   "`abcdefghijklmnopqrstuvwxyz{|}~ ";

/* Lower case where it was not yet, and one space for each run of white space and controls. */
static void put_folded(struct search_folder *f, struct str s, struct buf *out)
{
    char *start = buf_reserve(out, s.len);
    if (!start)
        return;
    char *to = start;
    bool after_space = f->after_space;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        *to = c < 0x80 ? folded_ascii[c] : (char)c;
        bool space = *to == ' ';
        to += !(space & after_space);
        after_space = space;
    }
    f->after_space = after_space;
    buf_grown(out, (size_t)(to - start));
}

/* For text that begins and ends where it may be cut. */
static void fold_whole(struct search_folder *f, struct str s, struct buf *out)
{
    if (is_ascii(s)) {
        put_folded(f, s, out);
        return;
    }
    struct buf folded;
    buf_init(&folded, GROWTH_MAX * s.len + 64);
    fold_case(&folded, s);
    out->failed |= folded.failed;
    put_folded(f, buf_str(&folded), out);
    buf_release(&folded);
}

static void flush_run(struct search_folder *f, struct buf *out)
{
    if (f->run_len > 0)
        fold_whole(f, str_make(f->run, f->run_len), out);
    f->run_len = 0;
}

/* Adds bytes beyond ASCII to the run; a full one is cut between two characters. */
static void grow_run(struct search_folder *f, struct str s, struct buf *out)
{
    while (s.len > 0) {
        struct str fits = str_sub(s, 0, SEARCH_RUN_MAX - f->run_len);
        memcpy(f->run + f->run_len, fits.ptr, fits.len);
        f->run_len += fits.len;
        s = str_skip(s, fits.len);
        if (f->run_len < SEARCH_RUN_MAX)
            continue;
        size_t whole = utf8_prefix(str_make(f->run, SEARCH_RUN_MAX), SEARCH_RUN_MAX - 1).len;
        fold_whole(f, str_make(f->run, whole), out);
        f->run_len -= whole;
        memmove(f->run, f->run + whole, f->run_len);
    }
}

static size_t ascii_len(struct str s)
{
    size_t len = 0;
    while (len < s.len && (unsigned char)s.ptr[len] < 0x80)
        len++;
    return len;
}

static size_t high_len(struct str s)
{
    size_t len = 0;
    while (len < s.len && (unsigned char)s.ptr[len] >= 0x80)
        len++;
    return len;
}

/* All of s but its last run, if no run in it is so long that it has to be cut. */
static size_t quick_len(struct str s)
{
    size_t cut = 0;
    if (is_ascii(s))
        return s.len - 1;
    for (size_t at = ascii_len(s); at < s.len;) {
        size_t high = high_len(str_skip(s, at));
        if (high >= SEARCH_RUN_MAX / 2)
            return 0;
        cut = at > 0 ? at - 1 : 0;
        at += high;
        at += ascii_len(str_skip(s, at));
    }
    return (unsigned char)s.ptr[s.len - 1] < 0x80 ? s.len - 1 : cut;
}

/* Appends the folded form of at most PIECE_SIZE bytes, but for what may still change. */
static void fold_piece(struct search_folder *f, struct str piece, struct buf *out)
{
    while (piece.len > 0) {
        size_t high = high_len(piece);
        grow_run(f, str_sub(piece, 0, high), out);
        piece = str_skip(piece, high);
        if (piece.len == 0)
            return;
        flush_run(f, out);
        size_t quick = quick_len(piece);
        if (quick == 0)
            quick = ascii_len(piece) - 1;
        fold_whole(f, str_sub(piece, 0, quick), out);
        f->run[0] = piece.ptr[quick];
        f->run_len = 1;
        piece = str_skip(piece, quick + 1);
    }
}

static void fold_end(struct search_folder *f, struct buf *out)
{
    flush_run(f, out);
    f->after_space = false;
}

/* ---- making ---- */

/* The place of a trigram in the largest set; smaller sets use its lower bits. */
static uint32_t trigram_hash(const char *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    uint64_t trigram = le32toh(word) & 0xFFFFFF;
    return (uint32_t)(trigram * 0x9E3779B97F4A7C15u >> 44) & (SIGNATURE_SIZE_MAX * 8 - 1);
}

static void add_trigrams(uint8_t *bits, size_t size, struct buf *text)
{
    uint32_t mask = (uint32_t)(size * 8 - 1);
    size_t count = text->len < 3 ? 0 : text->len - 2;
    if (count == 0)
        return;
    buf_append_byte(text, '\0'); /* trigram_hash looks at four bytes */
    const char *bytes = text->ptr;
    for (size_t i = 0; i < count; i++) {
        uint32_t bit = trigram_hash(bytes + i) & mask;
        bits[bit >> 3] |= (uint8_t)(1u << (bit & 7));
    }
    buf_truncate(text, text->len - 1);
}

void signature_init(struct signature_builder *b)
{
    *b = (struct signature_builder){0};
    buf_init(&b->text, TEXT_MAX);
}

void signature_release(struct signature_builder *b)
{
    buf_release(&b->text);
    free(b->bits);
    signature_init(b);
}

/* Moves the text held back into the largest set, but for what the next trigrams begin with. */
static void flush_text(struct signature_builder *b)
{
    if (!b->bits)
        b->bits = calloc(1, SIGNATURE_SIZE_MAX);
    if (!b->bits) {
        b->failed = true;
        return;
    }
    add_trigrams(b->bits, SIGNATURE_SIZE_MAX, &b->text);
    buf_consume(&b->text, b->text.len > 2 ? b->text.len - 2 : 0);
}

void signature_add(struct signature_builder *b, struct str utf8)
{
    while (utf8.len > 0 && !b->failed) {
        size_t before = b->text.len;
        fold_piece(&b->folder, str_sub(utf8, 0, PIECE_SIZE), &b->text);
        b->text_size += b->text.len - before;
        utf8 = str_skip(utf8, PIECE_SIZE);
        if (b->text.len > TEXT_SIZE)
            flush_text(b);
    }
}

/* No folded text holds a NUL. */
void signature_gap(struct signature_builder *b)
{
    fold_end(&b->folder, &b->text);
    buf_append_byte(&b->text, '\0');
}

static size_t signature_size(uint64_t text_size)
{
    size_t size = SIGNATURE_SIZE_MIN;
    while (size < text_size / 4 && size < SIGNATURE_SIZE_MAX)
        size *= 2;
    return size;
}

/* A set of half the size has the bits of both halves. */
static void halve_to(uint8_t *bits, size_t size)
{
    for (size_t half = SIGNATURE_SIZE_MAX / 2; half >= size; half /= 2)
        for (size_t i = 0; i < half; i++)
            bits[i] |= bits[half + i];
}

bool signature_finish(struct signature_builder *b, struct buf *out)
{
    fold_end(&b->folder, &b->text);
    size_t size = signature_size(b->text_size);
    if (b->bits)
        flush_text(b);
    char *set = buf_reserve(out, size);
    if (!set || b->failed || b->text.failed)
        return false;
    if (b->bits) {
        halve_to(b->bits, size);
        memcpy(set, b->bits, size);
    } else {
        memset(set, 0, size);
        add_trigrams((uint8_t *)set, size, &b->text);
    }
    buf_grown(out, size);
    return true;
}

/* ---- looking ---- */

bool needle_init(struct search_needle *n, struct str utf8)
{
    struct search_folder folder = {0};
    n->hash_count = 0;
    buf_init(&n->folded, TEXT_MAX);
    if (utf8.len > NEEDLE_SIZE_MAX)
        return false;
    fold_piece(&folder, utf8, &n->folded);
    fold_end(&folder, &n->folded);
    buf_append_byte(&n->folded, '\0');
    if (n->folded.failed)
        return false;
    buf_truncate(&n->folded, n->folded.len - 1);
    for (size_t i = 0; i + 3 <= n->folded.len && i < NEEDLE_TRIGRAMS_MAX; i++)
        n->hashes[n->hash_count++] = trigram_hash(n->folded.ptr + i);
    return true;
}

void needle_release(struct search_needle *n)
{
    buf_release(&n->folded);
    n->hash_count = 0;
}

bool signature_may_contain(struct str signature, const struct search_needle *n)
{
    size_t size = signature.len;
    if (size < SIGNATURE_SIZE_MIN || size > SIGNATURE_SIZE_MAX || (size & (size - 1)) != 0)
        return true;
    uint32_t mask = (uint32_t)(size * 8 - 1);
    for (size_t i = 0; i < n->hash_count; i++) {
        uint32_t bit = n->hashes[i] & mask;
        if (!(signature.ptr[bit >> 3] >> (bit & 7) & 1))
            return false;
    }
    return true;
}

void matcher_init(struct search_matcher *m, const struct search_needle *needle)
{
    *m = (struct search_matcher){.needle = needle, .found = needle->folded.len == 0};
    buf_init(&m->window, NEEDLE_SIZE_MAX * 4 + TEXT_MAX);
}

void matcher_release(struct search_matcher *m)
{
    buf_release(&m->window);
}

/* What the window holds is looked through; the end of it may be the needle's beginning. */
static bool look(struct search_matcher *m)
{
    struct str needle = buf_str(&m->needle->folded);
    m->found |= str_find(buf_str(&m->window), needle) >= 0;
    if (!m->found && m->window.len >= needle.len)
        buf_consume(&m->window, m->window.len - (needle.len - 1));
    return m->found;
}

bool matcher_add(struct search_matcher *m, struct str utf8)
{
    while (utf8.len > 0 && !m->found) {
        fold_piece(&m->folder, str_sub(utf8, 0, PIECE_SIZE), &m->window);
        utf8 = str_skip(utf8, PIECE_SIZE);
        look(m);
    }
    return m->found;
}

bool matcher_gap(struct search_matcher *m)
{
    if (m->found)
        return true;
    fold_end(&m->folder, &m->window);
    look(m);
    buf_clear(&m->window);
    return m->found;
}
