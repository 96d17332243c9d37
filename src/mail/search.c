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

/* What an ASCII byte counts as: 33 controls and the space, then the visible ones, then DEL. */
static const char folded_ascii[] = "                                 "
                                   "!\"#$%&'()*+,-./0123456789:;<=>?"
                                   "@abcdefghijklmnopqrstuvwxyz[\\]^_"
                                   "`abcdefghijklmnopqrstuvwxyz{|}~ ";

#define EACH(BYTE) ((uint64_t)(BYTE)*0x0101010101010101u)

/*
 * Eight ASCII bytes at once: *word becomes what they fold to, and how many bytes that are is
 * returned; 0 where they have to be looked at one by one, as more than one of them is a space
 * behind a space. With no high bit set, adding 0x80 - N to each byte sets the high bits of those
 * that are N or more, without a carry.
 */
static size_t fold_word(uint64_t *word, bool *after_space)
{
    uint64_t w = *word;
    if (w & EACH(0x80))
        return 0;
    uint64_t visible = (w + EACH(0x80 - 0x21)) & ~(w + EACH(0x80 - 0x7F)) & EACH(0x80);
    uint64_t upper = (w + EACH(0x80 - 'A')) & ~(w + EACH(0x80 - 'Z' - 1)) & EACH(0x80);
    uint64_t spaces = visible ^ EACH(0x80);
    uint64_t extra = spaces & (spaces << 8 | (*after_space ? 0x80 : 0));
    uint64_t covered = (spaces >> 7) * 0xFF;
    w = ((w | upper >> 2) & ~covered) | (EACH(' ') & covered);
    if (extra & (extra - 1))
        return 0;
    *after_space = spaces >> 63;
    *word = w;
    if (extra == 0)
        return 8;
    uint64_t below = (extra >> 7) - 1;
    *word = (w & below) | (w >> 8 & ~below);
    return 7;
}

static char *put_bytes(struct str s, char *to, bool *after_space)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        *to = c < 0x80 ? folded_ascii[c] : (char)c;
        bool space = *to == ' ';
        to += !(space & *after_space);
        *after_space = space;
    }
    return to;
}

/* Lower case where it was not yet, and one space for each run of white space and controls. */
static void put_folded(struct search_folder *f, struct str s, struct buf *out)
{
    char *start = buf_reserve(out, s.len);
    if (!start)
        return;
    char *to = start;
    bool after_space = f->after_space;
    for (; s.len >= 8; s = str_skip(s, 8)) {
        uint64_t word;
        memcpy(&word, s.ptr, sizeof word);
        word = le64toh(word);
        size_t folded = fold_word(&word, &after_space);
        if (folded > 0) {
            word = htole64(word);
            memcpy(to, &word, sizeof word);
            to += folded;
        } else {
            to = put_bytes(str_sub(s, 0, 8), to, &after_space);
        }
    }
    to = put_bytes(s, to, &after_space);
    f->after_space = after_space;
    buf_grown(out, (size_t)(to - start));
}

/* For text that begins and ends where it may be cut. */
static void fold_whole(struct search_folder *f, struct str s, struct buf *out)
{
    if (utf8_is_ascii(s)) {
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

static size_t high_len(struct str s)
{
    size_t len = 0;
    while (len < s.len && (unsigned char)s.ptr[len] >= 0x80)
        len++;
    return len;
}

/*
 * All of s but its last run; or up to the first that is so long that it has to be cut. The first
 * `ascii` bytes are ASCII, one at least, and the next is not.
 */
static size_t quick_len(struct str s, size_t ascii)
{
    size_t cut = 0;
    for (size_t at = ascii; at < s.len;) {
        size_t high = high_len(str_skip(s, at));
        cut = at - 1;
        if (high >= SEARCH_RUN_MAX / 2)
            return cut;
        at += high;
        at += utf8_ascii_len(str_skip(s, at));
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
        size_t ascii = utf8_ascii_len(piece), quick = piece.len - 1;
        if (ascii < piece.len)
            quick = quick_len(piece, ascii);
        if (quick < ascii)
            put_folded(f, str_sub(piece, 0, quick), out);
        else
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

/* The place of a trigram in a set: the lower bits of this, as many as the set's size has. */
static uint32_t hash_place(uint64_t trigram)
{
    return (uint32_t)((trigram & 0xFFFFFF) * 0x9E3779B97F4A7C15u >> 44);
}

static uint32_t trigram_hash(const char *bytes)
{
    return hash_place((uint64_t)(unsigned char)bytes[0] | (uint64_t)(unsigned char)bytes[1] << 8 |
                      (uint64_t)(unsigned char)bytes[2] << 16);
}

/* A table, for to shift by what is not known costs three steps where there is no BMI. */
static void set_bit(uint8_t *bits, uint32_t bit)
{
    static const uint8_t places[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    bits[bit >> 3] |= places[bit & 7];
}

static void add_trigrams(uint8_t *bits, size_t size, struct str text)
{
    enum { AT_ONCE = 6 }; /* trigrams in eight bytes */
    uint32_t mask = (uint32_t)(size * 8 - 1);
    for (; text.len >= 8; text = str_skip(text, AT_ONCE)) {
        uint64_t word;
        memcpy(&word, text.ptr, sizeof word);
        word = le64toh(word);
#pragma GCC unroll 6
        for (int i = 0; i < AT_ONCE; i++, word >>= 8)
            set_bit(bits, hash_place(word) & mask);
    }
    for (; text.len >= 3; text = str_skip(text, 1))
        set_bit(bits, trigram_hash(text.ptr) & mask);
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
    add_trigrams(b->bits, SIGNATURE_SIZE_MAX, buf_str(&b->text));
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

/* Enough for a text of this size in which every trigram is another. */
static size_t signature_size(uint64_t text_size)
{
    size_t size = SIGNATURE_SIZE_MIN;
    while (size < text_size / 4 && size < SIGNATURE_SIZE_MAX)
        size *= 2;
    return size;
}

/* A set of half the size has the bits of both halves. */
static void halve(uint8_t *bits, size_t size)
{
    for (size_t i = 0; i < size / 2; i += 8) {
        uint64_t low, high;
        memcpy(&low, bits + i, sizeof low);
        memcpy(&high, bits + size / 2 + i, sizeof high);
        low |= high;
        memcpy(bits + i, &low, sizeof low);
    }
}

/*
 * The bits of each byte of a word, as a byte; those of sixteen words add up to 128 at most. Without
 * the processor's instruction, which the oldest amd64 lacks, this is twice as fast as what the
 * compiler has instead.
 */
static uint64_t count_in_bytes(uint64_t word)
{
    word -= word >> 1 & EACH(0x55);
    word = (word & EACH(0x33)) + (word >> 2 & EACH(0x33));
    return (word + (word >> 4)) & EACH(0x0F);
}

/* size: a multiple of SIGNATURE_SIZE_MIN. */
static size_t count_bits(const uint8_t *bits, size_t size)
{
    const uint64_t evens = 0x00FF00FF00FF00FFu, ones = 0x0001000100010001u;
    size_t count = 0;
    for (size_t i = 0; i < size; i += SIGNATURE_SIZE_MIN) {
        uint64_t sums = 0, words[SIGNATURE_SIZE_MIN / 8];
        memcpy(words, bits + i, sizeof words);
        for (size_t k = 0; k < SIGNATURE_SIZE_MIN / 8; k++)
            sums += count_in_bytes(words[k]);
        count += (size_t)(((sums & evens) + (sums >> 8 & evens)) * ones >> 48);
    }
    return count;
}

/* Texts repeat themselves, long ones most of all: at the end no set is less than an eighth full. */
static size_t shrink(uint8_t *bits, size_t size)
{
    while (size > SIGNATURE_SIZE_MIN && count_bits(bits, size) < size) {
        halve(bits, size);
        size /= 2;
    }
    return size;
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
        for (size_t large = SIGNATURE_SIZE_MAX; large > size; large /= 2)
            halve(b->bits, large);
        memcpy(set, b->bits, size);
    } else {
        memset(set, 0, size);
        add_trigrams((uint8_t *)set, size, buf_str(&b->text));
    }
    buf_grown(out, shrink((uint8_t *)set, size));
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
