/*
 * Runs dialogues/ *.dlg against the engine with the owner of testing_owner.h: each whole, one octet
 * at a time, cut in two at every place, and with an owner that answers as little as it may. Then
 * every reply of every row of the command table must have been given.
 *
 * A dialogue is lines of
 *   # words               a comment
 *   @ words               what the world does, see act()
 *   C: line               the client sends the line and CRLF
 *   C> bytes              the client sends the bytes alone; \r \n \0 \\ are escapes
 *   S: line               the server says exactly this line; "..." at its end: it begins so
 *   S| line               the rest of the line the server has begun, where a literal ended in it
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/testing.h"
#include "base/testing_secret.h"
#include "proto/imap/engine.h"
#include "proto/imap/reply.h"
#include "proto/imap/testing_owner.h"

enum { FILES_MAX = 100, FILE_SIZE_MAX = 1 << 18, SPLITS_MAX = 1500, TAGS_MAX = 400 };

struct tag {
    char name[16];
    size_t row;
};

struct play {
    struct owner owner;
    const char *name;
    int line;
    size_t split; /* the client's bytes are cut there; 0: nowhere */
    bool bytewise;
    size_t sent;
    struct buf unread; /* from the client, not taken */
    struct buf output; /* from the server, not compared */
    struct tag tags[TAGS_MAX];
    size_t tag_count;
};

static uint32_t given[64]; /* replies, by row */

static _Noreturn void broken(const struct play *p, const char *what, struct str detail)
{
    fprintf(stderr, "%s:%d (cut at %zu): %s: %.*s\n", p->name, p->line, p->split, what,
            STR_ARG(detail));
    fail();
    exit(1);
}

/* ---- moving bytes ---- */

static bool has_begun_session(const struct play *p)
{
    return p->owner.engine->stopped && p->owner.engine->state == IMAP_STATE_AUTHENTICATED;
}

/* The edge hands over to the mailroom: a new engine takes what the old one left. */
static void hand_over(struct play *p)
{
    struct imap_config config = p->owner.config;
    config.authenticated = true;
    config.tls_active = p->owner.engine->config.tls_active;
    imap_server_free(p->owner.engine);
    p->owner.engine = imap_server_create(&config, p->owner.now);
}

static bool drain(struct play *p)
{
    struct str out = imap_server_output(p->owner.engine);
    if (str_empty(out))
        return false;
    size_t n = p->bytewise ? 1 : out.len;
    buf_append(&p->output, out.ptr, n);
    imap_server_output_done(p->owner.engine, n);
    return true;
}

static void settle(struct play *p)
{
    bool moved = true;
    while (moved) {
        moved = false;
        owner_pump(&p->owner);
        while (drain(p)) {
            owner_pump(&p->owner);
            moved = true;
        }
        if (has_begun_session(p)) {
            hand_over(p);
            moved = true;
        }
        size_t taken = imap_server_input(p->owner.engine, buf_str(&p->unread), p->owner.now);
        buf_consume(&p->unread, taken);
        moved |= taken > 0;
    }
}

static void send_piece(struct play *p, struct str piece)
{
    buf_append_str(&p->unread, piece);
    settle(p);
}

static void send(struct play *p, struct str bytes)
{
    for (size_t i = 0; p->bytewise && i < bytes.len; i++)
        send_piece(p, str_sub(bytes, i, 1));
    if (p->bytewise)
        return;
    size_t cut = p->split > p->sent ? p->split - p->sent : 0;
    p->sent += bytes.len;
    if (cut > 0 && cut < bytes.len) {
        send_piece(p, str_sub(bytes, 0, cut));
        bytes = str_skip(bytes, cut);
    }
    send_piece(p, bytes);
}

/* ---- what was replied ---- */

static void note_command(struct play *p, struct str line)
{
    struct str tag, name;
    struct tag *t = &p->tags[p->tag_count % TAGS_MAX];
    ptrdiff_t end = str_find_byte(line, '\r');
    if (end >= 0)
        line.len = (size_t)end;
    if (!str_split(&line, ' ', &tag) || !str_split(&line, ' ', &name) ||
        !str_to_c(tag, t->name, sizeof t->name))
        return;
    if (str_eq_nocase(name, STR("UID")) && !str_split(&line, ' ', &name))
        return;
    for (size_t i = 0; i < imap_command_count; i++) {
        if (!str_eq_nocase(name, str_from_c(imap_commands[i].name)))
            continue;
        t->row = i;
        p->tag_count++;
    }
}

static bool is_reply(struct str rest, enum imap_code code)
{
    const struct imap_reply *r = imap_reply_of(code);
    char start[200];
    if (code == IMAP_OK)
        return str_starts(rest, STR("OK ")) && !str_starts(rest, STR("OK [EXPUNGE"));
    if (code == IMAP_BAD)
        return str_starts(rest, STR("BAD ")) && str_find(rest, STR("makes no sense")) < 0;
    if (r->code)
        snprintf(start, sizeof start, "%s [%s] %s", r->status, r->code, r->words);
    else
        snprintf(start, sizeof start, "%s %s", r->status, r->words);
    return str_starts(rest, str_from_c(start));
}

static void note_reply(struct play *p, struct str line)
{
    struct str tag;
    if (!str_split(&line, ' ', &tag))
        return;
    for (size_t i = 0; i < p->tag_count && i < TAGS_MAX; i++)
        for (int code = 0; str_eq(tag, str_from_c(p->tags[i].name)) && code < IMAP_CODE_COUNT;
             code++)
            if (is_reply(line, (enum imap_code)code))
                given[p->tags[i].row] |= IMAP_REPLY(code);
}

/* ---- comparing ---- */

static void expect(struct play *p, struct str want, bool whole_line)
{
    struct str have = buf_str(&p->output);
    ptrdiff_t end = str_find(have, STR("\r\n"));
    if (end < 0)
        broken(p, "nothing said", want);
    have.len = (size_t)end;
    bool open = str_ends(want, STR("..."));
    if (open)
        want.len -= 3;
    if (open ? !str_starts(have, want) : !str_eq(have, want))
        broken(p, "said", have);
    if (whole_line)
        note_reply(p, have);
    buf_consume(&p->output, (size_t)end + 2);
}

/* ---- the world ---- */

static uint32_t number_of(struct str s)
{
    uint64_t value = 0;
    (void)str_to_u64(s, UINT32_MAX, &value);
    return (uint32_t)value;
}

static void act_on_mailbox(struct play *p, struct str verb, struct str rest)
{
    struct str name, uid;
    struct owner *o = &p->owner;
    if (!str_split(&rest, ' ', &name))
        broken(p, "no mailbox", verb);
    struct owner_mailbox *m = owner_find(o, name);
    if (!m)
        broken(p, "no mailbox", name);
    if (str_eq(verb, STR("deliver"))) {
        owner_deliver(o, m, STR("Subject: new\r\n\r\nnew\r\n"));
    } else if (str_eq(verb, STR("flags")) && str_split(&rest, ' ', &uid)) {
        owner_set_flags(o, m, number_of(uid), (uint8_t)number_of(rest));
    } else if (str_eq(verb, STR("expunge"))) {
        owner_expunge(o, m, number_of(rest));
    } else if (str_eq(verb, STR("fill"))) {
        for (uint32_t n = number_of(rest); n > 0; n--)
            owner_deliver(o, m, STR("Subject: many\r\n\r\nmany\r\n"));
    } else {
        broken(p, "unknown act", verb);
    }
}

/* `vanish MAILBOX UID`: gone, but nobody has told the engine yet. */
static void vanish(struct play *p, struct str rest)
{
    struct str name;
    struct owner_mailbox *selected = p->owner.selected;
    (void)str_split(&rest, ' ', &name);
    p->owner.selected = NULL;
    owner_expunge(&p->owner, owner_find(&p->owner, name), number_of(rest));
    p->owner.selected = selected;
}

static void act(struct play *p, struct str line)
{
    struct str verb, kind;
    if (!str_split(&line, ' ', &verb))
        broken(p, "empty act", line);
    if (str_eq(verb, STR("fail"))) {
        (void)str_split(&line, ' ', &kind);
        p->owner.fail_kind = owner_kind_of(kind);
        p->owner.fail_code = owner_code_of(line);
        if (!p->owner.fail_kind || p->owner.fail_code == IMAP_CODE_COUNT)
            broken(p, "unknown kind or code", line);
    } else if (str_eq(verb, STR("vanish"))) {
        vanish(p, line);
    } else if (str_eq(verb, STR("wait"))) {
        p->owner.now.mono_ms += number_of(line) * 1000LL;
        imap_server_tick(p->owner.engine, p->owner.now);
    } else if (str_eq(verb, STR("shutdown"))) {
        imap_server_shutdown(p->owner.engine, "Shutting down");
    } else if (str_eq(verb, STR("tls"))) {
        if (!p->owner.tls_wanted)
            broken(p, "no STARTTLS", line);
        imap_server_tls_started(p->owner.engine, STR("PLAIN SCRAM-SHA-256-PLUS"));
    } else if (str_eq(verb, STR("gone"))) {
        imap_notify_mailbox_gone(p->owner.engine);
    } else if (str_eq(verb, STR("closed"))) {
        if (!p->owner.closed || p->output.len)
            broken(p, "not closed", buf_str(&p->output));
    } else if (str_eq(verb, STR("silent"))) {
        if (p->output.len)
            broken(p, "not silent", buf_str(&p->output));
    } else if (str_eq(verb, STR("aborted"))) {
        if (p->owner.aborted != number_of(line))
            broken(p, "aborts", line);
    } else if (!str_eq(verb, STR("session"))) {
        act_on_mailbox(p, verb, line);
    }
    settle(p);
}

/* ---- a dialogue ---- */

static struct imap_config config_of(struct str text)
{
    struct imap_config config = {.host_name = "mail.demo.test",
                                 .mechanisms = STR("PLAIN SCRAM-SHA-256"),
                                 .append_size_max = 100000};
    bool clear = str_find(text, STR("@ session clear")) >= 0;
    config.authenticated = str_find(text, STR("@ session mailroom")) >= 0;
    config.clear_login = str_find(text, STR("@ session loopback")) >= 0;
    config.tls_offered = clear || config.clear_login;
    config.tls_active = str_find(text, STR("@ session tls")) >= 0;
    return config;
}

static void unescape(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\\' && i + 1 < s.len) {
            c = s.ptr[++i];
            c = (char)(c == 'r' ? '\r' : c == 'n' ? '\n' : c == '0' ? 0 : c);
        }
        buf_append_byte(out, c);
    }
}

static void play_line(struct play *p, struct str line)
{
    struct str words = str_skip(line, 3);
    struct buf bytes;
    buf_init(&bytes, FILE_SIZE_MAX);
    if (str_starts(line, STR("C: "))) {
        note_command(p, words);
        buf_append_str(&bytes, words);
        buf_append_str(&bytes, STR("\r\n"));
        send(p, buf_str(&bytes));
    } else if (str_starts(line, STR("C> "))) {
        unescape(&bytes, words);
        note_command(p, buf_str(&bytes));
        send(p, buf_str(&bytes));
    } else if (str_starts(line, STR("S: "))) {
        expect(p, words, true);
    } else if (str_starts(line, STR("S:"))) {
        expect(p, STR(""), false);
    } else if (str_starts(line, STR("@ "))) {
        act(p, str_skip(line, 2));
    } else if (!str_empty(line) && line.ptr[0] != '#') {
        broken(p, "no line of a dialogue", line);
    }
    buf_release(&bytes);
}

/* Returns how many bytes the client sent. */
static size_t play(const char *name, struct str text, size_t split, bool bytewise, bool few)
{
    static struct play p;
    struct str line;
    struct imap_config config = config_of(text);
    p = (struct play){.name = name, .split = split, .bytewise = bytewise};
    buf_init(&p.unread, 1 << 22);
    buf_init(&p.output, 1 << 22);
    owner_init(&p.owner, &config);
    p.owner.few = few;
    settle(&p);
    while (str_split(&text, '\n', &line)) {
        p.line++;
        play_line(&p, line);
    }
    if (p.output.len)
        broken(&p, "said more", buf_str(&p.output));
    buf_release(&p.unread);
    buf_release(&p.output);
    owner_release(&p.owner);
    return p.sent;
}

struct file {
    char name[256];
    char *text;
    size_t size;
};

static struct file files[FILES_MAX];
static size_t file_count;

static int load_dialogues(void **state)
{
    char path[4096];
    struct dirent *entry;
    const char *root = getenv("POSTERN_SOURCE_ROOT");
    (void)state;
    snprintf(path, sizeof path, "%s/src/proto/imap/dialogues", root ? root : ".");
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        char file_path[8192];
        struct file *f = &files[file_count];
        if (!str_ends(str_from_c(entry->d_name), STR(".dlg")))
            continue;
        snprintf(f->name, sizeof f->name, "%s", entry->d_name);
        snprintf(file_path, sizeof file_path, "%s/%s", path, entry->d_name);
        FILE *file = fopen(file_path, "rb");
        assert_non_null(file);
        f->text = malloc(FILE_SIZE_MAX);
        f->size = fread(f->text, 1, FILE_SIZE_MAX, file);
        fclose(file);
        assert_true(++file_count < FILES_MAX);
    }
    closedir(folder);
    assert_true(file_count > 0);
    return 0;
}

static int free_dialogues(void **state)
{
    (void)state;
    while (file_count > 0)
        free(files[--file_count].text);
    return 0;
}

static void dialogues_go_as_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < file_count; i++)
        play(files[i].name, str_make(files[i].text, files[i].size), 0, false, false);
}

static void dialogues_go_so_one_octet_at_a_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < file_count; i++)
        play(files[i].name, str_make(files[i].text, files[i].size), 0, true, false);
}

static void dialogues_go_so_with_a_slow_owner(void **state)
{
    (void)state;
    for (size_t i = 0; i < file_count; i++)
        play(files[i].name, str_make(files[i].text, files[i].size), 0, false, true);
}

static void dialogues_go_so_wherever_they_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < file_count; i++) {
        struct str text = str_make(files[i].text, files[i].size);
        size_t size = play(files[i].name, text, 0, false, false);
        size_t step = size / SPLITS_MAX + 1;
        for (size_t split = 1; split < size; split += step)
            play(files[i].name, text, split, false, false);
    }
}

static void every_reply_of_every_row_has_been_given(void **state)
{
    size_t replies = 0;
    size_t missing = 0;
    (void)state;
    for (size_t i = 0; i < imap_command_count; i++) {
        for (int code = 0; code < IMAP_CODE_COUNT; code++) {
            if (!(imap_commands[i].replies & IMAP_REPLY(code)))
                continue;
            const struct imap_reply *r = imap_reply_of((enum imap_code)code);
            replies++;
            if (given[i] & IMAP_REPLY(code))
                continue;
            missing++;
            fprintf(stderr, "%s was never answered %s [%s] (%d)\n", imap_commands[i].name,
                    r->status, r->code ? r->code : "", code);
        }
    }
    printf("%zu rows, %zu replies, %zu never given\n", imap_command_count, replies, missing);
    assert_int_equal(missing, 0);
}

static void an_idle_engine_is_small(void **state)
{
    (void)state;
    printf("idle: %zu octets\n", sizeof(struct imap_server));
    assert_true(sizeof(struct imap_server) < 1024);
}

static void say(struct owner *o, const char *words)
{
    struct str bytes = str_from_c(words);
    assert_int_equal(imap_server_input(o->engine, bytes, o->now), bytes.len);
    owner_pump(o);
}

static void ask_again(struct owner *o, const char *words)
{
    (void)imap_server_input(o->engine, str_from_c(words), o->now);
    owner_pump(o);
}

/* A client that asks for everything and reads nothing costs a bounded amount. */
static void output_is_bounded_where_nobody_reads(void **state)
{
    static const char *const greedy[] = {"2 FETCH 1:* BODY[]\r\n",
                                         "2 FETCH 1:* (FLAGS BODYSTRUCTURE ENVELOPE)\r\n",
                                         "2 UID FETCH 1:* (UID FLAGS INTERNALDATE)\r\n"};
    struct imap_config config = {.host_name = "host", .authenticated = true};
    struct owner o;
    (void)state;
    for (size_t i = 0; i < sizeof greedy / sizeof greedy[0]; i++) {
        owner_init(&o, &config);
        for (int n = 0; n < 500; n++)
            owner_deliver(&o, &o.mailboxes[0], STR("Subject: many\r\n\r\nmany\r\n"));
        say(&o, "1 SELECT INBOX\r\n");
        for (int n = 0; n < 20 && imap_server_output(o.engine).len < IMAP_OUTPUT_MARK; n++)
            ask_again(&o, greedy[i]);
        assert_in_range(imap_server_output(o.engine).len, 1, 2 * IMAP_OUTPUT_MARK);
        assert_int_equal(imap_server_input(o.engine, STR("x"), o.now), 0);
        owner_release(&o);
    }
}

/* The client reads all there is, and it ends in this. */
static void hear_end(struct owner *o, const char *words)
{
    struct str want = str_from_c(words), out;
    struct buf heard;
    buf_init(&heard, 64 << 20);
    while (!str_empty(out = imap_server_output(o->engine))) {
        buf_append_str(&heard, out);
        imap_server_output_done(o->engine, out.len);
        owner_pump(o);
    }
    assert_true(str_ends(buf_str(&heard), want));
    buf_release(&heard);
}

static void select_inbox(struct owner *o, const char *const *messages, size_t count)
{
    static const struct imap_config config = {.host_name = "host", .authenticated = true};
    owner_init(o, &config);
    for (size_t i = 0; i < count; i++)
        owner_deliver(o, &o->mailboxes[0], str_from_c(messages[i]));
    say(o, "1 SELECT INBOX\r\n");
    hear_end(o, "1 OK [READ-WRITE] SELECT completed\r\n");
}

/* "word (item item ... item)\r\n" */
static void say_many(struct owner *o, const char *word, const char *item, size_t count)
{
    struct buf line;
    buf_init(&line, 1 << 20);
    buf_printf(&line, "%s (", word);
    for (size_t i = 0; i < count; i++)
        buf_printf(&line, "%s%s", i ? " " : "", item);
    buf_append_str(&line, STR(")\r\n"));
    buf_append_byte(&line, '\0');
    say(o, line.ptr);
    buf_release(&line);
}

/* RFC 3501 §6.4.5. */
static void fields_end_with_the_empty_line_that_there_is(void **state)
{
    static const char *const messages[] = {"a: b\r\nc: d\r\n", "a: b\r\n\r\n"};
    struct owner o;
    (void)state;
    select_inbox(&o, messages, 2);
    say(&o, "2 FETCH 4:5 BODY.PEEK[HEADER.FIELDS (c)]\r\n");
    hear_end(&o, "* 4 FETCH (BODY[HEADER.FIELDS (c)] {6}\r\nc: d\r\n)\r\n"
                 "* 5 FETCH (BODY[HEADER.FIELDS (c)] {2}\r\n\r\n)\r\n"
                 "2 OK FETCH completed\r\n");
    owner_release(&o);
}

/* A command is told off before it takes long, or it asks often enough for others to have a turn. */
static void no_command_takes_long_between_two_questions(void **state)
{
    static const char *const messages[] = {"a: b\r\n\r\nc\r\n"};
    struct owner o;
    (void)state;
    select_inbox(&o, messages, 1);
    say_many(&o, "2 FETCH 1 BODY.PEEK[HEADER.FIELDS", "name", 500);
    hear_end(&o, "2 BAD Syntax error\r\n");
    say_many(&o, "3 FETCH 1", "BODY.PEEK[HEADER.FIELDS (a b)]", 251);
    hear_end(&o, "3 BAD Too many header fields\r\n");
    unsigned before = o.asked;
    say_many(&o, "4 FETCH 1", "BODY.PEEK[HEADER.FIELDS (a b)]", 250);
    hear_end(&o, "4 OK FETCH completed\r\n");
    assert_in_range(o.asked - before, 250, UINT_MAX);
    before = o.asked;
    say_many(&o, "5 SEARCH", "1", 20);
    hear_end(&o, "* SEARCH 1\r\n5 OK SEARCH completed\r\n");
    assert_in_range(o.asked - before, 1, UINT_MAX);
    say_many(&o, "6 LIST \"\"", "%a%a%a%", 200);
    hear_end(&o, "6 BAD Pattern too long\r\n");
    say_many(&o, "7 LIST \"\"", "%a%a%a%", 100);
    hear_end(&o, "7 OK LIST completed\r\n");
    owner_release(&o);
}

/* What a stranger put into To must not hide what others sent. */
static void large_envelopes_hide_no_other_message(void **state)
{
    static char large[5 * 64000 + 100];
    const char *messages[] = {large, large, large, "From: a@b\r\n\r\nc\r\n"};
    static const char *const fields[] = {"From", "To", "Cc", "Bcc"};
    struct owner o;
    (void)state;
    struct buf text = {.ptr = large, .cap = sizeof large - 1, .max = sizeof large - 1};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        buf_printf(&text, "%s: ", fields[i]);
        for (int n = 0; n < 21000; n++)
            buf_append_str(&text, STR("<>,"));
        buf_append_str(&text, STR("\r\n"));
    }
    buf_append_str(&text, STR("\r\n"));
    assert_false(text.failed);
    select_inbox(&o, messages, sizeof messages / sizeof messages[0]);
    say(&o, "2 FETCH 1:* ENVELOPE\r\n");
    assert_in_range(imap_server_output(o.engine).len, IMAP_OUTPUT_MARK, IMAP_OUTPUT_MAX / 2);
    hear_end(&o, "2 OK FETCH completed\r\n");
    owner_release(&o);
}

/* An owner that is slow, and answers to what is no longer asked. */
/* "1 " and so many of the words: is it taken? */
static bool takes(const char *before, const char *word, size_t count, const char *behind)
{
    struct imap_config config = {.host_name = "host", .authenticated = true};
    struct owner o;
    struct buf words;
    owner_init(&o, &config);
    say(&o, "1 SELECT INBOX\r\n");
    imap_server_output_done(o.engine, imap_server_output(o.engine).len);
    buf_init(&words, LIMIT_IMAP_COMMAND_SIZE);
    buf_printf(&words, "2 %s", before);
    for (size_t i = 0; i < count; i++)
        buf_printf(&words, "%s%s", i ? " " : "", word);
    buf_printf(&words, "%s\r\n", behind);
    imap_server_input(o.engine, buf_str(&words), o.now);
    owner_pump(&o);
    bool refused = str_find(imap_server_output(o.engine), STR("2 BAD ")) >= 0;
    buf_release(&words);
    owner_release(&o);
    return !refused;
}

static void lists_and_searches_have_an_end(void **state)
{
    (void)state;
    assert_true(takes("STORE 1:* FLAGS (", "\\Seen", LIMIT_IMAP_LIST_ITEMS, ")"));
    assert_false(takes("STORE 1:* FLAGS (", "\\Seen", LIMIT_IMAP_LIST_ITEMS + 1, ")"));
    assert_true(takes("SEARCH ", "NOT SEEN", LIMIT_IMAP_SEARCH_KEYS / 2, ""));
    assert_false(takes("SEARCH ", "NOT SEEN", LIMIT_IMAP_SEARCH_KEYS + 1, ""));
    assert_false(takes("SEARCH ", "ALL", 2 * LIMIT_IMAP_SEARCH_KEYS + 1, ""));
}

/* Of LOGIN, in one piece, in two, or as a literal; and of AUTHENTICATE. */
static void a_password_leaves_nothing_behind(void **state)
{
    static const char *const before[] = {"1 LOGIN alice ", "1 LOGIN alice \"\\\\",
                                         "1 LOGIN alice {25+}\r\n", "1 AUTHENTICATE PLAIN "};
    static const char *const behind[] = {"\r\n", "\"\r\n", "\r\n", "ABC\r\n"};
    struct imap_config config = {
        .host_name = "host", .tls_active = true, .mechanisms = STR("PLAIN")};
    struct now now = {0, 0};
    struct imap_event q;
    (void)state;
    for (unsigned number = 0; number < 8; number++) {
        struct imap_server *e = imap_server_create(&config, now);
        imap_server_output_done(e, imap_server_output(e).len);
        struct testing_page page = testing_page_new(before[number % 4], number, behind[number % 4]);
        struct str all = {page.ptr, page.len};
        if (number >= 4)
            all = str_skip(all, imap_server_input(e, str_sub(all, 0, 20), now));
        while (all.len > 0)
            all = str_skip(all, imap_server_input(e, all, now));
        testing_page_free(&page);
        assert_true(imap_server_next(e, &q));
        imap_answer_auth(e, q.token, IMAP_AUTHENTICATIONFAILED, STR(""));
        imap_server_output_done(e, imap_server_output(e).len);
        assert_false(testing_memory_holds(number));
        imap_server_free(e);
    }
}

static void late_and_wrong_answers_do_no_harm(void **state)
{
    struct imap_config config = {.host_name = "host", .authenticated = true};
    struct imap_event q;
    struct now now = {0, 0};
    struct imap_server *e = imap_server_create(&config, now);
    (void)state;
    assert_int_equal(imap_server_input(e, STR("1 CREATE x\r\n2 NOOP\r\n"), now), 12);
    assert_true(imap_server_next(e, &q));
    assert_false(imap_server_next(e, &q));
    imap_answer(e, q.token + 1, IMAP_OK);
    imap_answer(e, 0, IMAP_OK);
    assert_int_equal(imap_server_input(e, STR("2 NOOP\r\n"), now), 0);
    imap_answer(e, q.token, IMAP_OK);
    imap_answer(e, q.token, IMAP_NO);
    assert_true(str_eq(imap_server_output(e), STR("1 OK CREATE completed\r\n")));
    imap_server_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dialogues_go_as_written),
        cmocka_unit_test(dialogues_go_so_one_octet_at_a_time),
        cmocka_unit_test(dialogues_go_so_with_a_slow_owner),
        cmocka_unit_test(dialogues_go_so_wherever_they_are_cut),
        cmocka_unit_test(every_reply_of_every_row_has_been_given),
        cmocka_unit_test(an_idle_engine_is_small),
        cmocka_unit_test(output_is_bounded_where_nobody_reads),
        cmocka_unit_test(fields_end_with_the_empty_line_that_there_is),
        cmocka_unit_test(no_command_takes_long_between_two_questions),
        cmocka_unit_test(large_envelopes_hide_no_other_message),
        cmocka_unit_test(late_and_wrong_answers_do_no_harm),
        cmocka_unit_test(lists_and_searches_have_an_end),
        cmocka_unit_test(a_password_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, load_dialogues, free_dialogues);
}
