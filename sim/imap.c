#include "sim/imap.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"

enum { WAITS_MAX = 200, SHOWN_MAX = 40 };

void imap_client_init(struct imap_client *c, struct post *post, unsigned account)
{
    *c = (struct imap_client){.post = post, .account = account, .folder = -1, .selecting = -1};
    wire_init(&c->wire, post->world);
}

void imap_client_drop(struct imap_client *c)
{
    wire_drop(&c->wire);
    login_drop(&c->login);
    post_claim_end(c->claim, false);
    c->claim = NULL;
    c->stage = IMAP_GONE;
    c->folder = c->selecting = -1;
    c->count = 0;
    c->asked = c->idling = c->done_said = c->closing = false;
    c->append = 0;
}

void imap_client_release(struct imap_client *c)
{
    imap_client_drop(c);
    wire_release(&c->wire);
}

static struct post_box *box_of(struct imap_client *c)
{
    return &c->post->boxes[c->account][c->folder];
}

_Noreturn static void wrong(struct imap_client *c, const char *what, struct str words)
{
    world_wrong(c->post->world, "IMAP, %s in %s: %s: %.*s", world_names[c->account],
                c->folder < 0 ? "nothing" : world_folders[c->folder], what, STR_ARG(words));
}

/* ---- Words --------------------------------------------------------------------------------------
 */

static const char *const flag_names[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted",
                                         "\\Draft"};
enum { FLAGS = sizeof flag_names / sizeof *flag_names };

static void put_flags(struct buf *out, uint32_t flags)
{
    const char *between = "";
    buf_append_byte(out, '(');
    for (int i = 0; i < FLAGS; i++)
        if (flags >> i & 1) {
            buf_printf(out, "%s%s", between, flag_names[i]);
            between = " ";
        }
    buf_append_byte(out, ')');
}

static uint32_t get_flags(struct str words)
{
    uint32_t flags = 0;
    ptrdiff_t end = str_find_byte(words, ')');
    if (end >= 0)
        words = str_sub(words, 0, (size_t)end);
    for (int i = 0; i < FLAGS; i++)
        if (str_find(words, str_from_c(flag_names[i])) >= 0)
            flags |= 1u << i;
    return flags;
}

static bool take_number(struct str *words, uint32_t *ret_number)
{
    size_t len = 0;
    uint64_t number;
    while (len < words->len && ascii_is_digit(words->ptr[len]))
        len++;
    if (!str_to_u64(str_sub(*words, 0, len), UINT32_MAX, &number))
        return false;
    *words = str_skip(*words, len);
    *ret_number = (uint32_t)number;
    return true;
}

/* The number behind the word. */
static bool number_behind(struct str words, struct str word, uint32_t *ret_number)
{
    ptrdiff_t at = str_find(words, word);
    if (at < 0)
        return false;
    words = str_skip(words, (size_t)at + word.len);
    return take_number(&words, ret_number);
}

/* A response with its literals, whole; false: not yet. */
static bool response_size(struct str heard, size_t *ret_size)
{
    size_t at = 0;
    for (;;) {
        ptrdiff_t end = str_find(str_skip(heard, at), STR("\r\n"));
        if (end < 0)
            return false;
        struct str line = str_sub(heard, at, (size_t)end);
        ptrdiff_t open = str_rfind_byte(line, '{');
        uint64_t size = 0;
        at += (size_t)end + 2;
        if (!str_ends(line, STR("}")) || open < 0 ||
            !str_to_u64(str_sub(line, (size_t)open + 1, line.len - (size_t)open - 2), UINT32_MAX,
                        &size)) {
            *ret_size = at;
            return true;
        }
        at += size;
        if (at > heard.len)
            return false;
    }
}

/* ---- Untagged responses -------------------------------------------------------------------------
 */

static void heard_exists(struct imap_client *c, uint32_t n, struct str words)
{
    if (n < c->count || n > POST_SHOWN)
        wrong(c, "messages went without a word", words);
    memset(c->view + c->count, 0, (n - c->count) * sizeof *c->view);
    c->count = n;
}

static void heard_expunge(struct imap_client *c, uint32_t n, struct str words)
{
    if (n == 0 || n > c->count)
        wrong(c, "no message has that number", words);
    if (c->by_number || !c->asked)
        wrong(c, "numbers must not change now", words);
    memmove(c->view + n - 1, c->view + n, (c->count - n) * sizeof *c->view);
    c->count--;
}

static void check_place(struct imap_client *c, size_t at, struct str words)
{
    uint32_t uid = c->view[at].uid;
    for (size_t i = 0; i < c->count; i++)
        if (c->view[i].uid != 0 &&
            ((i < at && c->view[i].uid >= uid) || (i > at && c->view[i].uid <= uid)))
            wrong(c, "UIDs do not rise", words);
}

/* The whole message, or its Message-ID. */
static void check_content(struct imap_client *c, const struct imap_seen *seen, struct str words)
{
    struct post_entry *e = post_find(box_of(c), seen->uid);
    uint32_t size = 0;
    ptrdiff_t at = str_find(words, STR("BODY[] {"));
    uint32_t message;
    if (at >= 0) {
        words = str_skip(words, (size_t)at + 8);
        if (!take_number(&words, &size) || words.len < size + 3)
            wrong(c, "no literal", words);
        message = post_identify(c->post, c->account, str_sub(words, 3, size));
    } else {
        struct str rest = words;
        message = post_next_id(&rest);
        if (e && e->message & POST_REPORT)
            return; /* its own id is another */
    }
    if (message != 0 && e && e->message != message)
        wrong(c, "another message", words);
}

static void heard_fetch(struct imap_client *c, uint32_t n, struct str words)
{
    if (n == 0 || n > c->count)
        wrong(c, "no message has that number", words);
    struct imap_seen *seen = &c->view[n - 1];
    uint32_t uid = 0;
    if (number_behind(words, STR("UID "), &uid)) {
        if (seen->uid != 0 && seen->uid != uid)
            wrong(c, "the message had another UID", words);
        seen->uid = uid;
        check_place(c, n - 1, words);
    }
    ptrdiff_t at = str_find(words, STR("FLAGS ("));
    if (at >= 0) {
        seen->flags = get_flags(str_skip(words, (size_t)at));
        seen->flags_known = true;
        seen->told = c->tag;
    }
    if (str_find(words, STR("BODY[")) >= 0 && uid != 0)
        check_content(c, seen, words);
}

static void heard_search(struct imap_client *c, struct str words)
{
    uint32_t n;
    c->found_count = 0;
    while (str_starts(words, STR(" "))) {
        words = str_skip(words, 1);
        if (c->found_count == POST_SHOWN || !take_number(&words, &n))
            break;
        c->found[c->found_count++] = n;
    }
}

/* "4,6:8" to numbers; how many. */
static size_t expand(struct str set, uint32_t *out)
{
    size_t count = 0;
    uint32_t first, last;
    while (take_number(&set, &first)) {
        last = first;
        if (str_starts(set, STR(":"))) {
            set = str_skip(set, 1);
            take_number(&set, &last);
        }
        for (; first <= last && count < POST_SHOWN; first++)
            out[count++] = first;
        if (!str_starts(set, STR(",")))
            break;
        set = str_skip(set, 1);
    }
    return count;
}

/* RFC 4315 §3: [COPYUID uidvalidity from to] and [APPENDUID uidvalidity uid]. */
static void heard_copied(struct imap_client *c, struct str words)
{
    uint32_t from[POST_SHOWN], to[POST_SHOWN], uidvalidity, uid;
    ptrdiff_t at = str_find(words, STR("[COPYUID "));
    if (number_behind(words, STR("[APPENDUID "), &uidvalidity) && c->claim) {
        words = str_skip(words, (size_t)str_find(words, STR("[APPENDUID ")) + 11);
        take_number(&words, &uidvalidity);
        words = str_skip(words, 1);
        if (take_number(&words, &uid))
            post_claim_copied(c->post, c->claim, 0, uid);
    }
    if (at < 0 || !c->claim)
        return;
    words = str_skip(words, (size_t)at + 9);
    take_number(&words, &uidvalidity);
    words = str_skip(words, 1);
    ptrdiff_t space = str_find_byte(words, ' ');
    size_t count = expand(words, from);
    if (space < 0 || expand(str_skip(words, (size_t)space + 1), to) != count)
        wrong(c, "as many as are copied arrive", words);
    for (size_t i = 0; i < count; i++)
        for (size_t n = 0; n < c->claim->count; n++)
            if (c->claim->uids[n] == from[i])
                post_claim_copied(c->post, c->claim, n, to[i]);
}

static void heard_ok(struct imap_client *c, struct str words)
{
    uint32_t uidvalidity;
    heard_copied(c, words);
    if (c->selecting < 0 || !number_behind(words, STR("[UIDVALIDITY "), &uidvalidity))
        return;
    uint32_t known = c->post->boxes[c->account][c->selecting].uidvalidity;
    if (known != 0 && known != uidvalidity)
        wrong(c, "UIDVALIDITY changed", words);
}

static void heard_untagged(struct imap_client *c, struct str words)
{
    struct str rest = str_skip(words, 2);
    uint32_t n;
    if (str_starts(rest, STR("SEARCH"))) {
        heard_search(c, str_skip(rest, 6));
    } else if (str_starts(rest, STR("OK"))) {
        heard_ok(c, rest);
    } else if (take_number(&rest, &n)) {
        if (str_starts(rest, STR(" EXISTS")))
            heard_exists(c, n, words);
        else if (str_starts(rest, STR(" EXPUNGE")))
            heard_expunge(c, n, words);
        else if (str_starts(rest, STR(" FETCH (")))
            heard_fetch(c, n, words);
    }
}

/* ---- Saying -------------------------------------------------------------------------------------
 */

static void say(struct imap_client *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct imap_client *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    c->asked = true;
    c->ok = c->by_number = c->implied = false;
    c->store_first = c->store_last = 0;
    c->commands++;
    buf_printf(&c->wire.out, "t%u ", ++c->tag);
    buf_vprintf(&c->wire.out, format, args);
    va_end(args);
}

static void say_login(struct imap_client *c)
{
    struct world *w = c->post->world;
    if (world_draw(w, 3) == 0) {
        say(c, "LOGIN %s \"" WORLD_PASSWORD "\"\r\n", world_names[c->account]);
        return;
    }
    say(c, "AUTHENTICATE ");
    login_begin(&c->login, w, c->account, &c->wire.out);
    buf_append_str(&c->wire.out, STR("\r\n"));
}

static void start(struct imap_client *c)
{
    struct world *w = c->post->world;
    if (wire_open(&c->wire, world_draw(w, 2) ? WORLD_IMAP : WORLD_IMAPS))
        c->stage = IMAP_GREETING;
}

static void greeted(struct imap_client *c, struct str words)
{
    if (!str_starts(words, STR("* OK")))
        return;
    if (!c->wire.ssl && world_draw(c->post->world, 2)) {
        c->stage = IMAP_TLS;
        say(c, "STARTTLS\r\n");
    } else {
        c->stage = IMAP_LOGIN;
        say_login(c);
    }
}

static void heard_challenge(struct imap_client *c, struct str words)
{
    if (c->stage == IMAP_LOGIN) {
        words = str_skip(words, words.len > 2 ? 2 : words.len);
        words = str_sub(words, 0, words.len - 2);
        if (!login_step(&c->login, words, &c->wire.out))
            wrong(c, "a challenge is not of its mechanism", words);
        buf_append_str(&c->wire.out, STR("\r\n"));
    } else if (c->append != 0) {
        post_octets(c->post, c->append, false, &c->wire.out);
        buf_append_str(&c->wire.out, STR("\r\n"));
        c->append = 0;
    } else {
        c->idling = true;
        c->idles++;
    }
}

/* ---- Tagged responses ---------------------------------------------------------------------------
 */

static void logged_in(struct imap_client *c, struct str words)
{
    bool plain = c->login.client == NULL;
    if (c->ok && !plain && !login_done(&c->login))
        wrong(c, "the server did not show that it knows the password", words);
    if (!c->ok && !(c->post->ever_troubled >> c->account & 1) &&
        str_find(words, STR("[AUTHENTICATIONFAILED]")) >= 0)
        wrong(c, "the right password is wrong", words);
    c->stage = c->ok ? IMAP_IN : IMAP_GONE;
    c->logins += c->ok;
    if (!c->ok)
        imap_client_drop(c);
}

/* What a STORE without an answer must have made of what it was not told otherwise. */
static void stored_silently(struct imap_client *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->store_first != 0 && c->view[i].uid >= c->store_first &&
            c->view[i].uid <= c->store_last && c->view[i].told != c->tag)
            c->view[i].flags = (c->view[i].flags & ~c->store_clear) | c->store_set;
}

static void ended(struct imap_client *c, struct str words)
{
    c->asked = c->by_number = c->idling = c->done_said = false;
    c->append = 0;
    if (c->stage == IMAP_TLS && c->ok) {
        wire_start_tls(&c->wire);
        c->stage = IMAP_LOGIN;
        say_login(c);
        return;
    }
    if (c->stage == IMAP_LOGIN) {
        logged_in(c, words);
        return;
    }
    if (c->ok)
        heard_copied(c, words);
    if (c->ok)
        stored_silently(c);
    c->store_first = c->store_last = 0;
    post_claim_end(c->claim, c->ok && !c->implied);
    c->claim = NULL;
    if (c->selecting >= 0)
        c->folder = c->ok ? c->selecting : -1;
    if (c->closing && c->ok)
        c->folder = -1;
    if (c->folder < 0)
        c->count = 0;
    c->selecting = -1;
    c->closing = false;
}

static void heard_tagged(struct imap_client *c, struct str words)
{
    struct str rest = str_skip(words, 1);
    uint32_t tag = 0;
    if (!take_number(&rest, &tag) || tag != c->tag || !c->asked || str_starts(rest, STR(" BAD")))
        wrong(c, "nobody asked for that", words);
    c->ok = str_starts(rest, STR(" OK"));
    ended(c, words);
}

static void heard_response(struct imap_client *c, struct str words)
{
    if (c->stage == IMAP_GREETING)
        greeted(c, words);
    else if (str_starts(words, STR("* ")))
        heard_untagged(c, words);
    else if (str_starts(words, STR("+")))
        heard_challenge(c, words);
    else
        heard_tagged(c, words);
}

void imap_client_hear(struct imap_client *c)
{
    size_t size;
    if (c->stage == IMAP_GONE)
        return;
    bool open = wire_move(&c->wire, 0);
    while (c->stage != IMAP_GONE && response_size(buf_str(&c->wire.heard), &size)) {
        struct buf words;
        buf_init(&words, size);
        buf_append(&words, c->wire.heard.ptr, size);
        buf_consume(&c->wire.heard, size);
        heard_response(c, buf_str(&words));
        buf_release(&words);
    }
    if (!open)
        imap_client_drop(c);
}

/* ---- Commands -----------------------------------------------------------------------------------
 */

/* Some of the messages in a row, by UID or by number. */
struct choice {
    size_t first, count; /* in the view */
    bool by_uid;
    char set[32];
};

static bool choose(struct imap_client *c, struct choice *ret)
{
    struct world *w = c->post->world;
    if (c->count == 0)
        return false;
    ret->first = world_draw(w, c->count);
    ret->count = 1 + world_draw(w, c->count - ret->first);
    if (ret->count > 4 && world_draw(w, 2))
        ret->count = 1 + world_draw(w, 4);
    ret->by_uid = world_draw(w, 2);
    size_t last = ret->first + ret->count - 1;
    snprintf(ret->set, sizeof ret->set, "%zu:%zu",
             ret->by_uid ? (size_t)c->view[ret->first].uid : ret->first + 1,
             ret->by_uid ? (size_t)c->view[last].uid : last + 1);
    return true;
}

static struct post_claim *claim(struct imap_client *c, const struct choice *which)
{
    post_check(c->post, false); /* it may have been told of more than that knows */
    struct post_claim *claim = post_claim_new(c->post, c->account, (unsigned)c->folder);
    for (size_t i = 0; claim && which && i < which->count; i++)
        post_claim_add(c->post, claim, c->view[which->first + i].uid);
    return c->claim = claim;
}

static void say_select(struct imap_client *c)
{
    struct world *w = c->post->world;
    c->selecting = world_draw(w, 2) ? 0 : (int)world_draw(w, WORLD_FOLDERS);
    c->read_only = world_draw(w, 8) == 0;
    c->folder = c->selecting; /* what is heard from now on is about this one */
    c->count = 0;
    say(c, "%s %s\r\n", c->read_only ? "EXAMINE" : "SELECT", world_folders[c->selecting]);
}

static bool say_store(struct imap_client *c)
{
    struct world *w = c->post->world;
    struct choice which;
    uint32_t flags = (uint32_t)world_draw(w, 1 << FLAGS);
    uint64_t mode = world_draw(w, 3);
    bool silent = world_draw(w, 2);
    if (c->read_only || !choose(c, &which) || !claim(c, &which))
        return false;
    c->claim->set = mode == 2 ? 0 : flags;
    c->claim->clear = mode == 0 ? ~flags & ENTRY_FLAGS_STORED : mode == 2 ? flags : 0;
    post_claim_begin(c->post, c->claim);
    say(c, "%sSTORE %s %sFLAGS%s ", which.by_uid ? "UID " : "", which.set,
        mode == 0   ? ""
        : mode == 1 ? "+"
                    : "-",
        silent ? ".SILENT" : "");
    put_flags(&c->wire.out, flags);
    buf_append_str(&c->wire.out, STR("\r\n"));
    c->by_number = !which.by_uid;
    if (silent) {
        c->store_first = c->view[which.first].uid;
        c->store_last = c->view[which.first + which.count - 1].uid;
        c->store_set = c->claim->set;
        c->store_clear = c->claim->clear;
    }
    return true;
}

static bool say_copy(struct imap_client *c)
{
    struct world *w = c->post->world;
    struct choice which;
    bool move = world_draw(w, 2);
    unsigned target =
        (unsigned)(c->folder + 1 + (int)world_draw(w, WORLD_FOLDERS - 1)) % WORLD_FOLDERS;
    if ((move && c->read_only) || !choose(c, &which) || !claim(c, &which))
        return false;
    c->claim->copies = true;
    c->claim->removes = move;
    c->claim->target = target;
    post_claim_begin(c->post, c->claim);
    say(c, "%s%s %s %s\r\n", which.by_uid ? "UID " : "", move ? "MOVE" : "COPY", which.set,
        world_folders[target]);
    return true;
}

static void claim_deleted(struct imap_client *c)
{
    struct post_box *box = box_of(c);
    for (size_t i = 0; i < box->count; i++)
        post_claim_add(c->post, c->claim, box->entries[i].uid);
    c->claim->all = true;
    c->claim->removes = c->claim->deleted_only = true;
    post_claim_begin(c->post, c->claim);
}

static bool say_expunge(struct imap_client *c)
{
    struct choice which;
    if (c->read_only || !choose(c, &which))
        return false;
    if (!which.by_uid) {
        if (!claim(c, NULL))
            return false;
        claim_deleted(c);
        say(c, "EXPUNGE\r\n");
        return true;
    }
    if (!claim(c, &which))
        return false;
    c->claim->removes = c->claim->deleted_only = true;
    post_claim_begin(c->post, c->claim);
    say(c, "UID EXPUNGE %s\r\n", which.set);
    return true;
}

static bool say_close(struct imap_client *c)
{
    bool expunges = world_draw(c->post->world, 2);
    if (expunges && !c->read_only) {
        if (!claim(c, NULL))
            return false;
        claim_deleted(c);
    }
    c->closing = true;
    say(c, expunges ? "CLOSE\r\n" : "UNSELECT\r\n");
    c->implied = true; /* CLOSE has no way to say that it could not expunge */
    return true;
}

static bool say_append(struct imap_client *c)
{
    struct world *w = c->post->world;
    unsigned target = (unsigned)world_draw(w, WORLD_FOLDERS);
    bool waits = world_draw(w, 2);
    struct post_claim *claim = post_claim_new(c->post, c->account, target);
    struct buf octets;
    if (!claim || c->post->boxes[c->account][target].count > SHOWN_MAX)
        return false;
    uint32_t message = post_make_own(c->post);
    *claim = (struct post_claim){.account = c->account,
                                 .folder = target,
                                 .target = target,
                                 .copies = true,
                                 .count = 1,
                                 .messages = {message}};
    claim->flags_of[0] = (uint32_t)world_draw(w, 1 << FLAGS);
    c->claim = claim;
    post_claim_begin(c->post, claim);
    buf_init(&octets, 1024 * 1024);
    post_octets(c->post, message, false, &octets);
    say(c, "APPEND %s ", world_folders[target]);
    put_flags(&c->wire.out, claim->flags_of[0]);
    buf_printf(&c->wire.out, " {%zu%s}\r\n", octets.len, waits ? "" : "+");
    if (waits) {
        c->append = message;
    } else {
        buf_append_str(&c->wire.out, buf_str(&octets));
        buf_append_str(&c->wire.out, STR("\r\n"));
    }
    buf_release(&octets);
    return true;
}

/* Without PEEK it is read by that. */
static bool say_fetch(struct imap_client *c)
{
    struct choice which;
    bool peek = c->read_only || world_draw(c->post->world, 2);
    if (!choose(c, &which))
        return false;
    if (!peek) {
        if (!claim(c, &which))
            return false;
        c->claim->set = ENTRY_SEEN;
        post_claim_begin(c->post, c->claim);
    }
    say(c, "%sFETCH %s (UID FLAGS %s[])\r\n", which.by_uid ? "UID " : "", which.set,
        peek ? "BODY.PEEK" : "BODY");
    c->by_number = !which.by_uid;
    c->implied = true;
    c->wire.deaf = world_draw(c->post->world, 8) == 0;
    return true;
}

/* Above so many somebody tidies up. */
static bool say_tidy(struct imap_client *c)
{
    struct choice which = {.count = c->count / 2, .by_uid = true};
    if (c->read_only || c->count <= SHOWN_MAX || !claim(c, &which))
        return false;
    c->claim->set = ENTRY_DELETED;
    post_claim_begin(c->post, c->claim);
    say(c, "UID STORE 1:%u +FLAGS (\\Deleted)\r\n", c->view[which.count - 1].uid);
    return true;
}

static bool knows_all(const struct imap_client *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->view[i].uid == 0 || !c->view[i].flags_known)
            return false;
    return true;
}

static void say_something(struct imap_client *c)
{
    uint64_t what = world_draw(c->post->world, 24);
    bool said = false;
    if (c->folder < 0 || what == 0) {
        say_select(c);
        return;
    }
    if (!knows_all(c)) {
        say(c, "UID FETCH 1:* (FLAGS)\r\n");
        return;
    }
    if (say_tidy(c))
        return;
    if (what < 7)
        said = say_store(c);
    else if (what < 11)
        said = say_copy(c);
    else if (what < 14)
        said = say_expunge(c);
    else if (what < 16)
        said = say_append(c);
    else if (what < 19)
        said = say_fetch(c);
    else if (what == 19)
        said = say_close(c);
    else if (what < 22)
        say(c, "IDLE\r\n");
    else if (what == 22)
        say(c, "LOGOUT\r\n");
    if (!said && !c->asked)
        say(c, "NOOP\r\n");
}

void imap_client_step(struct imap_client *c)
{
    struct world *w = c->post->world;
    if (c->stage == IMAP_GONE) {
        start(c);
        return;
    }
    if (c->wire.deaf) {
        c->wire.deaf = world_draw(w, 3) != 0;
    } else if (c->idling && !c->done_said && world_draw(w, 3) == 0) {
        buf_append_str(&c->wire.out, STR("DONE\r\n"));
        c->done_said = true;
    } else if (c->stage == IMAP_IN && !c->asked) {
        say_something(c);
    }
    size_t len = c->wire.out.len;
    wire_move(&c->wire, len == 0 || world_draw(w, 3) ? len : 1 + world_draw(w, len));
    imap_client_hear(c);
}

/* ---- Looking ------------------------------------------------------------------------------------
 */

static void compare(struct imap_client *c, const char *when)
{
    struct world *w = c->post->world;
    struct post_box *box = box_of(c);
    if (box->count != c->count)
        world_wrong(w, "%s, %s: %s sees %zu messages, there are %zu", when,
                    world_folders[c->folder], world_names[c->account], c->count, box->count);
    for (size_t i = 0; i < c->count; i++) {
        const struct imap_seen *seen = &c->view[i];
        const struct post_entry *e = &box->entries[i];
        if ((seen->uid != 0 && seen->uid != e->uid) ||
            (seen->flags_known && seen->flags != e->flags))
            world_wrong(w, "%s, %s: %s sees UID %u flags %x as number %zu, it is UID %u flags %x",
                        when, world_folders[c->folder], world_names[c->account], seen->uid,
                        seen->flags, i + 1, e->uid, e->flags);
    }
}

void imap_client_check_idle(struct imap_client *c)
{
    if (c->stage == IMAP_IN && c->folder >= 0 && c->idling && !c->done_said)
        compare(c, "idling");
}

/* All is said and answered; false: the connection is over. */
static bool finish(struct imap_client *c)
{
    struct world *w = c->post->world;
    c->wire.deaf = false;
    for (int i = 0; c->stage != IMAP_GONE && (c->asked || c->stage != IMAP_IN); i++) {
        if (i == WAITS_MAX)
            world_wrong(w, "%s has no answer", world_names[c->account]);
        if (c->idling && !c->done_said) {
            buf_append_str(&c->wire.out, STR("DONE\r\n"));
            c->done_said = true;
        }
        wire_move(&c->wire, c->wire.out.len);
        world_settle(w);
        imap_client_hear(c);
        if (i > 20)
            world_pass(w, 1000);
    }
    return c->stage == IMAP_IN;
}

static void compare_found(struct imap_client *c, uint32_t flag, bool set)
{
    struct post_box *box = box_of(c);
    size_t n = 0;
    for (size_t i = 0; i < box->count; i++) {
        if (((box->entries[i].flags & flag) != 0) != set)
            continue;
        if (n == c->found_count || c->found[n++] != box->entries[i].uid)
            world_wrong(c->post->world, "SEARCH did not find UID %u of %s", box->entries[i].uid,
                        world_names[c->account]);
    }
    if (n != c->found_count)
        world_wrong(c->post->world, "SEARCH found too much for %s", world_names[c->account]);
}

static void search(struct imap_client *c)
{
    static const char *const names[] = {"SEEN",      "ANSWERED", "FLAGGED",    "DELETED",
                                        "DRAFT",     "UNSEEN",   "UNANSWERED", "UNFLAGGED",
                                        "UNDELETED", "UNDRAFT"};
    uint64_t which = world_draw(c->post->world, 2 * FLAGS);
    say(c, "UID SEARCH %s\r\n", names[which]);
    c->found_count = 0;
    if (!finish(c) || !c->ok)
        return;
    post_check(c->post, false);
    compare_found(c, 1u << which % FLAGS, which < FLAGS);
}

void imap_client_audit(struct imap_client *c)
{
    if (c->stage == IMAP_GONE || !finish(c) || c->folder < 0)
        return;
    post_check(c->post, false);
    if (world_draw(c->post->world, 4) == 0)
        say(c, "UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])\r\n");
    else
        say(c, "NOOP\r\n");
    if (!finish(c) || c->folder < 0)
        return;
    post_check(c->post, false);
    if (c->ok)
        compare(c, "asking");
    if (world_draw(c->post->world, 3) == 0)
        search(c);
}
