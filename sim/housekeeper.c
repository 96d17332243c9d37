#include "sim/housekeeper.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "codec/base64.h"
#include "store/read.h"

enum { WAITS_MAX = 200, LETTER_MAX = 8192, RANGE_MAX = 40 };

/* As they are stored, and as IMAP says them (RFC 3501 §5.1.3). Parents come before children. */
static const struct {
    const char *path, *wire;
} names[HOUSE_NAMES] = {
    {"Work", "Work"},         {"Work/a", "Work/a"},         {"Work/a/x", "Work/a/x"},
    {"Work/b", "\"Work/b\""}, {"Work/b/x", "Work/b/x"},     {"Rück", "R&APw-ck"},
    {"Rück/a", "R&APw-ck/a"}, {"Rück/a/x", "R&APw-ck/a/x"}, {"Rück/b", "\"R&APw-ck/b\""},
};

void housekeeper_init(struct housekeeper *h, struct post *post, unsigned account)
{
    *h = (struct housekeeper){.post = post, .account = account};
    wire_init(&h->wire, post->world);
}

static void drop(struct housekeeper *h)
{
    wire_drop(&h->wire);
    h->in = false;
}

void housekeeper_release(struct housekeeper *h)
{
    drop(h);
    wire_release(&h->wire);
}

static uint64_t draw(struct housekeeper *h, uint64_t below)
{
    return world_draw(h->post->world, below);
}

_Noreturn static void wrong(struct housekeeper *h, const char *what, int name)
{
    struct str heard = str_sub(buf_str(&h->wire.heard), 0, 600);
    world_wrong(h->post->world, "folder %s of %s: %s: %.*s", names[name].path,
                world_names[h->account], what, STR_ARG(heard));
}

static int find_name(const char *path)
{
    for (int i = 0; i < HOUSE_NAMES; i++)
        if (strcmp(names[i].path, path) == 0)
            return i;
    return -1;
}

/* -1: at the top. */
static int parent_of(int name)
{
    char path[40];
    snprintf(path, sizeof path, "%s", names[name].path);
    char *slash = strrchr(path, '/');
    if (!slash)
        return -1;
    *slash = '\0';
    return find_name(path);
}

static bool is_below(int name, int above)
{
    while (name >= 0 && name != above)
        name = parent_of(name);
    return name >= 0;
}

static bool has_children(const struct house *house, int name)
{
    for (int i = 0; i < HOUSE_NAMES; i++)
        if (house->folders[i].there && parent_of(i) == name)
            return true;
    return false;
}

/* ---- Letters ------------------------------------------------------------------------------------
 */

/* A letter of two parts, one that must be decoded for its words and one attached. */
struct letter {
    struct buf octets;
    size_t text, first, first_end, second_mime, second, second_end;
};

static void letter_make(struct letter *l, uint32_t number)
{
    char words[64];
    int len = snprintf(words, sizeof words, "attached thing%uq and more\r\n", number);
    buf_init(&l->octets, LETTER_MAX);
    buf_printf(&l->octets,
               "From: me@sim.test\r\nDate: Tue, 1 Jul 2025 10:00:00 +0000\r\n"
               "Message-ID: <k%u@sim>\r\nSubject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe_letter%uq?=\r\n"
               "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n",
               number, number);
    l->text = l->octets.len;
    buf_append_str(&l->octets, STR("--b\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                   "Content-Transfer-Encoding: quoted-printable\r\n\r\n"));
    l->first = l->octets.len;
    buf_printf(&l->octets, "Sch=C3=B6ne wo=\r\nrd%uq\r\n.\r\n", number);
    for (uint32_t i = 0; i < number % 40; i++)
        buf_append_str(&l->octets, STR("so it goes on and on\r\n"));
    l->first_end = l->octets.len - 2; /* the last line end is the boundary's */
    buf_append_str(&l->octets, STR("--b\r\n"));
    l->second_mime = l->octets.len;
    buf_append_str(&l->octets, STR("Content-Type: text/plain; name=a.txt\r\n"
                                   "Content-Transfer-Encoding: base64\r\n\r\n"));
    l->second = l->octets.len;
    base64_encode(&l->octets, str_make(words, (size_t)len));
    l->second_end = l->octets.len;
    buf_append_str(&l->octets, STR("\r\n--b--\r\n"));
}

/* ---- Looking ------------------------------------------------------------------------------------
 */

struct look {
    struct housekeeper *h;
    struct house house; /* with what was not known before */
    struct arena arena;
    const char *wrong;
    int name;
};

/* A UID never means another message, whatever the folder was called meanwhile. */
static void note_seen(struct look *l, uint32_t uidvalidity, const struct house_letter *letter)
{
    struct housekeeper *h = l->h;
    for (size_t i = 0; i < h->seen_count; i++)
        if (h->seen[i].uidvalidity == uidvalidity && h->seen[i].uid == letter->uid) {
            if (h->seen[i].number != letter->number)
                wrong(h, "a UID means another message now", l->name);
            return;
        }
    invariant(h->seen_count < HOUSE_SEEN);
    h->seen[h->seen_count].uidvalidity = uidvalidity;
    h->seen[h->seen_count].uid = letter->uid;
    h->seen[h->seen_count++].number = letter->number;
}

static bool is_letter(struct look *l, uint64_t mailbox, uint32_t uid, uint32_t number)
{
    struct message_record record;
    struct body_reader reader;
    struct letter letter;
    struct buf stored;
    body_reader_init(&reader);
    buf_init(&stored, LETTER_MAX);
    letter_make(&letter, number);
    struct db *db = l->h->post->world->reader;
    bool same = read_message(db, mailbox, uid, &l->arena, &record) == STATUS_OK &&
                body_read(&reader, db, &record, 0, UINT64_MAX, &stored) == STATUS_OK &&
                str_eq(buf_str(&stored), buf_str(&letter.octets));
    buf_release(&stored);
    buf_release(&letter.octets);
    body_reader_release(&reader);
    return same;
}

static const char *compare_letters(struct look *l, const struct mailbox_record *record)
{
    struct house_folder *f = &l->house.folders[l->name];
    struct entry_brief found[HOUSE_LETTERS + 1];
    size_t count = 0;
    if (read_entries(l->h->post->world->reader, record->id, 0, found, HOUSE_LETTERS + 1, &count) !=
        STATUS_OK)
        return "cannot be read";
    if (count != f->count || record->messages != count)
        return "has another number of letters";
    for (size_t i = 0; i < count; i++) {
        struct house_letter *letter = &f->letters[i];
        if (letter->uid != 0 && letter->uid != found[i].uid)
            return "has other UIDs";
        if (letter->uid == 0 && !is_letter(l, record->id, found[i].uid, letter->number))
            return "has another letter";
        letter->uid = found[i].uid;
    }
    return NULL;
}

static const char *compare_folder(struct look *l, const struct mailbox_record *record)
{
    struct house_folder *f = &l->house.folders[l->name];
    if (f->there != (record != NULL))
        return record ? "is there" : "is not there";
    if (!record)
        return NULL;
    if (f->selectable != record->selectable)
        return "can be selected, or not";
    if (f->uidvalidity != 0 && f->uidvalidity != record->uidvalidity)
        return "has another UIDVALIDITY";
    f->uidvalidity = record->uidvalidity;
    return compare_letters(l, record);
}

static const struct mailbox_record *find_record(const struct mailbox_record *list, size_t count,
                                                int name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(list[i].path, str_from_c(names[name].path)))
            return &list[i];
    return NULL;
}

static bool is_subscribed(struct str *const paths, size_t count, int name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(paths[i], str_from_c(names[name].path)))
            return true;
    return false;
}

/* Is this house what the store has? */
static bool matches(struct look *l, struct housekeeper *h, const struct house *house)
{
    struct world *w = h->post->world;
    struct mailbox_record *list;
    struct str *paths;
    size_t count = 0, path_count = 0;
    *l = (struct look){.h = h, .house = *house};
    arena_init(&l->arena, 1 << 20);
    if (read_mailboxes(w->reader, w->accounts[h->account], &l->arena, &list, &count) != STATUS_OK ||
        read_subscriptions(w->reader, w->accounts[h->account], &l->arena, &paths, &path_count) !=
            STATUS_OK)
        world_wrong(w, "the folders of %s cannot be read", world_names[h->account]);
    for (int i = 0; i < HOUSE_NAMES && !l->wrong; i++) {
        l->name = i;
        l->wrong = compare_folder(l, find_record(list, count, i));
        if (!l->wrong && house->folders[i].subscribed != is_subscribed(paths, path_count, i))
            l->wrong = "is subscribed, or not";
    }
    arena_reset(&l->arena);
    return !l->wrong;
}

static void keep(struct housekeeper *h, struct look *l)
{
    h->house = l->house;
    for (l->name = 0; l->name < HOUSE_NAMES; l->name++) {
        const struct house_folder *f = &h->house.folders[l->name];
        for (int i = 0; i < l->name && f->there; i++)
            if (h->house.folders[i].there && h->house.folders[i].uidvalidity == f->uidvalidity)
                wrong(h, "has the UIDVALIDITY of another", l->name);
        for (size_t i = 0; i < f->count; i++)
            note_seen(l, f->uidvalidity, &f->letters[i]);
    }
}

void housekeeper_check(struct housekeeper *h)
{
    struct look l;
    if (!matches(&l, h, &h->house))
        wrong(h, l.wrong, l.name);
    keep(h, &l);
}

/* ---- Talking ------------------------------------------------------------------------------------
 */

/* LOST: the connection, or somebody behind it, went before there was an answer. */
enum answer { OK, NO, LOST };

static bool take_answer(struct housekeeper *h, enum answer *ret_answer)
{
    char tag[24];
    snprintf(tag, sizeof tag, "\r\nk%u ", h->tag);
    struct str heard = buf_str(&h->wire.heard);
    ptrdiff_t at =
        str_starts(heard, str_skip(str_from_c(tag), 2)) ? -2 : str_find(heard, str_from_c(tag));
    if (at == -1 || !str_ends(heard, STR("\r\n")))
        return false;
    struct str words = str_skip(heard, (size_t)(at + (ptrdiff_t)strlen(tag)));
    *ret_answer = str_starts(words, STR("OK"))                 ? OK
                  : str_find(words, STR("[UNAVAILABLE]")) >= 0 ? LOST
                                                               : NO;
    if (str_starts(words, STR("BAD")))
        world_wrong(h->post->world, "folders: %.*s", STR_ARG(words));
    return true;
}

/* Now and then somebody goes before the answer is there. */
static void disturb(struct housekeeper *h)
{
    static const enum world_role who[] = {WORLD_VAULT, WORLD_MAILROOM, WORLD_MAILROOM_2, WORLD_EDGE,
                                          WORLD_EDGE_2};
    struct world *w = h->post->world;
    if (draw(h, 12) != 0)
        return;
    wire_move(&h->wire, h->wire.out.len);
    world_turns(w, (int)draw(h, 8));
    if (draw(h, 3) == 0)
        drop(h);
    else
        world_kill(w, who[draw(h, sizeof who / sizeof *who)]);
}

static enum answer hear(struct housekeeper *h)
{
    struct world *w = h->post->world;
    enum answer answer = LOST;
    for (int i = 0; !take_answer(h, &answer); i++) {
        if (i == WAITS_MAX)
            world_wrong(w, "folders: %s has no answer", world_names[h->account]);
        bool open = wire_move(&h->wire, h->wire.out.len);
        world_settle(w);
        if (!wire_move(&h->wire, h->wire.out.len) && !open) {
            drop(h);
            return LOST;
        }
        if (i > 20)
            world_pass(w, 1000);
    }
    return answer;
}

static enum answer ask(struct housekeeper *h, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum answer ask(struct housekeeper *h, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_clear(&h->wire.heard);
    buf_printf(&h->wire.out, "k%u ", ++h->tag);
    buf_vprintf(&h->wire.out, format, args);
    va_end(args);
    h->commands++;
    disturb(h);
    enum answer answer = hear(h);
    h->lost += answer == LOST;
    return answer;
}

static void log_in(struct housekeeper *h)
{
    if (!wire_open(&h->wire, WORLD_IMAPS))
        return;
    h->in = ask(h, "LOGIN %s \"" WORLD_PASSWORD "\"\r\n", world_names[h->account]) == OK;
    if (!h->in)
        drop(h);
}

/* What is to be so if it is answered OK, and is not otherwise; where nobody answers, either. */
static void settle(struct housekeeper *h, enum answer answer, bool possible,
                   const struct house *after, int name)
{
    struct look l;
    bool troubled = h->post->ever_troubled >> h->account & 1;
    if (answer == OK && !possible)
        wrong(h, "that cannot be", name);
    if (answer == NO && possible && !troubled)
        wrong(h, "that should be", name);
    if (answer != OK && matches(&l, h, &h->house)) {
        keep(h, &l);
        return;
    }
    if (answer == NO || !possible || !matches(&l, h, after))
        wrong(h, l.wrong, l.name);
    keep(h, &l);
}

/* ---- The tree -----------------------------------------------------------------------------------
 */

static void make(struct house *house, int name)
{
    for (int i = parent_of(name); i >= 0; i = parent_of(i))
        if (!house->folders[i].there)
            house->folders[i] = (struct house_folder){
                .there = true, .selectable = true, .subscribed = house->folders[i].subscribed};
}

static void create(struct housekeeper *h, int name)
{
    struct house after = h->house;
    struct house_folder *f = &after.folders[name];
    bool possible = !f->there || !f->selectable;
    make(&after, name);
    if (!f->there)
        *f = (struct house_folder){.subscribed = f->subscribed};
    f->there = f->selectable = true;
    settle(h, ask(h, "CREATE %s\r\n", names[name].wire), possible, &after, name);
}

static void delete (struct housekeeper *h, int name)
{
    struct house after = h->house;
    struct house_folder *f = &after.folders[name];
    bool parent = has_children(&after, name);
    bool possible = f->there && (f->selectable || !parent);
    *f = (struct house_folder){.there = parent, .subscribed = f->subscribed};
    settle(h, ask(h, "DELETE %s\r\n", names[name].wire), possible, &after, name);
}

/* The name that something below `from` gets when that becomes `to`; -1: none of ours. */
static int renamed(int name, int from, int to)
{
    char path[80];
    snprintf(path, sizeof path, "%s%s", names[to].path,
             names[name].path + strlen(names[from].path));
    return find_name(path);
}

static void rename_folder(struct housekeeper *h, int from, int to)
{
    struct house after = h->house;
    bool possible = after.folders[from].there && !after.folders[to].there && !is_below(to, from);
    for (int i = 0; i < HOUSE_NAMES && possible; i++) {
        const struct house_folder *f = &h->house.folders[i];
        int target = is_below(i, from) && f->there ? renamed(i, from, to) : i;
        if (target < 0)
            return;
        if (target == i)
            continue;
        bool subscribed = after.folders[target].subscribed;
        after.folders[target] = *f;
        after.folders[target].subscribed = subscribed;
        after.folders[i] = (struct house_folder){.subscribed = f->subscribed};
    }
    if (possible)
        make(&after, to);
    settle(h, ask(h, "RENAME %s %s\r\n", names[from].wire, names[to].wire), possible, &after, from);
}

static void subscribe(struct housekeeper *h, int name, bool on)
{
    struct house after = h->house;
    after.folders[name].subscribed = on;
    settle(h, ask(h, "%sSUBSCRIBE %s\r\n", on ? "" : "UN", names[name].wire), true, &after, name);
}

/* Which of the names stand in the answer to LIST or LSUB. */
static bool is_listed(struct housekeeper *h, int name)
{
    char line[80];
    size_t quoted = names[name].wire[0] == '"';
    snprintf(line, sizeof line, " \"/\" \"%.*s\"\r\n", (int)(strlen(names[name].wire) - 2 * quoted),
             names[name].wire + quoted);
    if (str_find(buf_str(&h->wire.heard), str_from_c(line)) >= 0)
        return true;
    snprintf(line, sizeof line, " \"/\" %.*s\r\n", (int)(strlen(names[name].wire) - 2 * quoted),
             names[name].wire + quoted);
    return str_find(buf_str(&h->wire.heard), str_from_c(line)) >= 0;
}

static void list(struct housekeeper *h)
{
    bool subscribed = draw(h, 2);
    const char *commands[] = {"LIST \"\" *\r\n", "LSUB \"\" *\r\n", "LIST (SUBSCRIBED) \"\" *\r\n"};
    if (ask(h, "%s", commands[subscribed ? 1 + draw(h, 2) : 0]) != OK)
        return;
    for (int i = 0; i < HOUSE_NAMES; i++) {
        const struct house_folder *f = &h->house.folders[i];
        if (is_listed(h, i) != (subscribed ? f->subscribed : f->there))
            wrong(h, "is listed, or not", i);
    }
}

static void ask_status(struct housekeeper *h, int name)
{
    const struct house_folder *f = &h->house.folders[name];
    char words[120];
    enum answer answer = ask(h, "STATUS %s (MESSAGES UIDVALIDITY)\r\n", names[name].wire);
    if (answer == LOST)
        return;
    if ((answer == OK) != (f->there && f->selectable) &&
        !(h->post->ever_troubled >> h->account & 1))
        wrong(h, "its status is known, or not", name);
    snprintf(words, sizeof words, "(MESSAGES %zu UIDVALIDITY %u)\r\n", f->count, f->uidvalidity);
    if (answer == OK && str_find(buf_str(&h->wire.heard), str_from_c(words)) < 0)
        wrong(h, "has another status", name);
}

/* ---- Letters in folders -------------------------------------------------------------------------
 */

static bool can_hold(const struct house_folder *f)
{
    return f->there && f->selectable;
}

static void append(struct housekeeper *h, int name)
{
    struct house after = h->house;
    struct house_folder *f = &after.folders[name];
    struct letter letter;
    if (f->count == HOUSE_LETTERS)
        return;
    bool possible = can_hold(f);
    if (possible)
        f->letters[f->count++] = (struct house_letter){.number = h->letters};
    letter_make(&letter, h->letters++);
    enum answer answer = ask(h, "APPEND %s (\\Seen) {%zu+}\r\n%.*s\r\n", names[name].wire,
                             letter.octets.len, STR_ARG(buf_str(&letter.octets)));
    buf_release(&letter.octets);
    settle(h, answer, possible, &after, name);
}

static bool select_folder(struct housekeeper *h, int name)
{
    const struct house_folder *f = &h->house.folders[name];
    char words[40];
    enum answer answer = ask(h, "SELECT %s\r\n", names[name].wire);
    snprintf(words, sizeof words, "* %zu EXISTS\r\n", f->count);
    if (answer == NO && can_hold(f) && !(h->post->ever_troubled >> h->account & 1))
        wrong(h, "cannot be selected", name);
    if (answer == OK && (!can_hold(f) || str_find(buf_str(&h->wire.heard), str_from_c(words)) < 0))
        wrong(h, "was selected as another", name);
    return answer == OK && f->count > 0;
}

/* Some letters in a row: from *ret_first on, *ret_count. */
static void choose(struct housekeeper *h, int name, size_t *ret_first, size_t *ret_count,
                   char range[RANGE_MAX])
{
    const struct house_folder *f = &h->house.folders[name];
    *ret_first = draw(h, f->count);
    *ret_count = 1 + draw(h, f->count - *ret_first);
    snprintf(range, RANGE_MAX, "%u:%u", f->letters[*ret_first].uid,
             f->letters[*ret_first + *ret_count - 1].uid);
}

static void take_out(struct house_folder *f, size_t first, size_t count)
{
    memmove(f->letters + first, f->letters + first + count,
            (f->count - first - count) * sizeof *f->letters);
    f->count -= count;
}

static void copy(struct housekeeper *h, int from, int to, bool move)
{
    struct house after = h->house;
    struct house_folder *target = &after.folders[to];
    size_t first, count;
    char range[RANGE_MAX];
    choose(h, from, &first, &count, range);
    if (target->count + count > HOUSE_LETTERS)
        return;
    bool possible = can_hold(target);
    for (size_t i = 0; possible && i < count; i++)
        target->letters[target->count++] =
            (struct house_letter){.number = h->house.folders[from].letters[first + i].number};
    if (move)
        take_out(&after.folders[from], first, count);
    enum answer answer = ask(h, "UID %s %s %s\r\n", move ? "MOVE" : "COPY", range, names[to].wire);
    settle(h, answer, possible, &after, to);
}

static void remove_some(struct housekeeper *h, int name)
{
    struct house after = h->house;
    size_t first, count;
    char range[RANGE_MAX];
    choose(h, name, &first, &count, range);
    if (ask(h, "UID STORE %s +FLAGS.SILENT (\\Deleted)\r\n", range) != OK)
        return;
    take_out(&after.folders[name], first, count);
    settle(h, ask(h, "UID EXPUNGE %s\r\n", range), true, &after, name);
}

/* ---- Searching and fetching ---------------------------------------------------------------------
 */

enum { TEXT, BODY, SUBJECT, ID, ALL_WORDS, NOT_TEXT, EITHER, NOTHING, SEARCHES };

static bool is_found(uint64_t kind, uint32_t number, uint32_t wanted, uint32_t other)
{
    switch (kind) {
    case ALL_WORDS:
        return true;
    case NOTHING:
        return false;
    case NOT_TEXT:
        return number != wanted;
    case EITHER:
        return number == wanted || number == other;
    default:
        return number == wanted;
    }
}

static void search(struct housekeeper *h, int name)
{
    const struct house_folder *f = &h->house.folders[name];
    uint32_t wanted = f->letters[draw(h, f->count)].number;
    uint32_t other = f->letters[draw(h, f->count)].number;
    uint64_t kind = draw(h, SEARCHES);
    char keys[120];
    switch (kind) {
    case TEXT:
        snprintf(keys, sizeof keys, "TEXT WORD%uQ", wanted);
        break;
    case BODY:
        snprintf(keys, sizeof keys, "BODY \"thing%uq and\"", wanted);
        break;
    case SUBJECT:
        snprintf(keys, sizeof keys, "SUBJECT letter%uq", wanted);
        break;
    case ID:
        snprintf(keys, sizeof keys, "HEADER Message-ID k%u@", wanted);
        break;
    case ALL_WORDS:
        snprintf(keys, sizeof keys, "CHARSET UTF-8 BODY {7+}\r\nSCH\xC3\x96NE");
        break;
    case NOT_TEXT:
        snprintf(keys, sizeof keys, "NOT TEXT word%uq", wanted);
        break;
    case EITHER:
        snprintf(keys, sizeof keys, "OR TEXT word%uq SUBJECT letter%uq", wanted, other);
        break;
    default:
        snprintf(keys, sizeof keys, "TEXT \"word %u\"", wanted);
        break;
    }
    if (ask(h, "UID SEARCH %s\r\n", keys) != OK)
        return;
    struct buf expected;
    buf_init(&expected, 400);
    buf_append_str(&expected, STR("* SEARCH"));
    for (size_t i = 0; i < f->count; i++)
        if (is_found(kind, f->letters[i].number, wanted, other))
            buf_printf(&expected, " %u", f->letters[i].uid);
    buf_append_str(&expected, STR("\r\n"));
    if (str_find(buf_str(&h->wire.heard), buf_str(&expected)) < 0)
        wrong(h, keys, name);
    buf_release(&expected);
}

/* A piece of a letter, as it was put in. */
static void fetch(struct housekeeper *h, int name)
{
    const struct house_folder *f = &h->house.folders[name];
    const struct house_letter *chosen = &f->letters[draw(h, f->count)];
    struct letter l;
    struct buf expected;
    letter_make(&l, chosen->number);
    struct str all = buf_str(&l.octets);
    size_t at = draw(h, all.len), len = 1 + draw(h, 200);
    char partial[40];
    snprintf(partial, sizeof partial, "BODY[]<%zu.%zu>", at, len);
    const struct {
        const char *section;
        size_t from, to;
    } pieces[] = {
        {"BODY[]", 0, all.len},
        {"BODY[HEADER]", 0, l.text},
        {"BODY[TEXT]", l.text, all.len},
        {"BODY[1]", l.first, l.first_end},
        {"BODY[2.MIME]", l.second_mime, l.second},
        {"BODY[2]", l.second, l.second_end},
        {partial, at, at + len > all.len ? all.len : at + len},
    };
    size_t n = draw(h, sizeof pieces / sizeof *pieces);
    enum answer answer =
        ask(h, "UID FETCH %u (%s RFC822.SIZE BODYSTRUCTURE)\r\n", chosen->uid, pieces[n].section);
    size_t told = strcspn(pieces[n].section, ".") < strcspn(pieces[n].section, "<")
                      ? strlen(pieces[n].section)
                      : strcspn(pieces[n].section, "<");
    buf_init(&expected, LETTER_MAX + 100);
    buf_printf(&expected, "%.*s", (int)told, pieces[n].section);
    if (pieces[n].section == partial)
        buf_printf(&expected, "<%zu>", at);
    buf_printf(&expected, " {%zu}\r\n", pieces[n].to - pieces[n].from);
    buf_append_str(&expected, str_sub(all, pieces[n].from, pieces[n].to - pieces[n].from));
    if (answer == OK && str_find(buf_str(&h->wire.heard), buf_str(&expected)) < 0)
        wrong(h, "a piece of a letter is another", name);
    snprintf(partial, sizeof partial, "RFC822.SIZE %zu ", all.len);
    if (answer == OK && str_find(buf_str(&h->wire.heard), str_from_c(partial)) < 0)
        wrong(h, "a letter has another size", name);
    buf_release(&expected);
    buf_release(&l.octets);
}

/* ---- What is done -------------------------------------------------------------------------------
 */

static void work_with_letters(struct housekeeper *h, int name)
{
    if (!select_folder(h, name))
        return;
    switch (draw(h, 6)) {
    case 0:
        remove_some(h, name);
        break;
    case 1:
    case 2: {
        int to = (int)draw(h, HOUSE_NAMES);
        if (to != name)
            copy(h, name, to, draw(h, 2));
        break;
    }
    case 3:
        fetch(h, name);
        break;
    default:
        search(h, name);
        break;
    }
}

static void do_something(struct housekeeper *h)
{
    int name = (int)draw(h, HOUSE_NAMES);
    switch (draw(h, 12)) {
    case 0:
    case 1:
        create(h, name);
        break;
    case 2:
        delete (h, name);
        break;
    case 3:
        rename_folder(h, name, (int)draw(h, HOUSE_NAMES));
        break;
    case 4:
        subscribe(h, name, draw(h, 2));
        break;
    case 5:
        list(h);
        break;
    case 6:
        ask_status(h, name);
        break;
    case 7:
    case 8:
        append(h, name);
        break;
    default:
        work_with_letters(h, name);
        break;
    }
}

void housekeeper_step(struct housekeeper *h)
{
    for (uint64_t n = 1 + draw(h, 5); n > 0; n--) {
        if (!h->in)
            log_in(h);
        if (h->in)
            do_something(h);
    }
    world_settle(h->post->world);
    housekeeper_check(h);
}
