#include "proto/pop3/server.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "base/testing.h"

/* ---- An owner with answers of its own ----------------------------------------------------- */

static struct pop3_counts counts;

static const struct pop3_config config = {
    .hostname = STR("mail.a.test"),
    .mechanisms = STR("SCRAM-SHA-256"),
    .mechanisms_tls = STR("SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"),
    .starttls = true,
    .login_ms = LIMIT_LOGIN_MS,
    .idle_ms = LIMIT_POP3_IDLE_MS,
    .counts = &counts,
};

struct kept {
    const char *octets;
    enum status_code status; /* of a read */
    size_t fails_at;         /* of a read from this octet on, STATUS_IO */
};

static const struct kept kept[] = {
    {"Subject: one\r\n\r\nhello\r\n.\r\n..two\r\nlast\r\n", STATUS_OK, SIZE_MAX},
    {"A: b\r\n\r\nno end", STATUS_OK, SIZE_MAX},
    {"", STATUS_OK, SIZE_MAX},
    {"Received: by a\r\n\twith\r\n\tUTF8SMTPS\r\nSubject: \xC3\xA4\r\n\r\nbody\r\n", STATUS_OK,
     SIZE_MAX},
    {"x\r\n\r\n", STATUS_IO, SIZE_MAX},
    {"x\r\n\r\n", STATUS_NOT_FOUND, SIZE_MAX},
    {"x: y\r\n\r\nbody", STATUS_OK, 10},
    {".a\n.b\r.c\r\n.\r", STATUS_OK, SIZE_MAX},
    {"Received: with UTF7\r\nX: \xE4\r\n\r\n\xF6\r\n", STATUS_OK, SIZE_MAX},
};
enum { KEPT = sizeof kept / sizeof *kept };

struct owner {
    struct pop3_server *e;
    struct buf unread;
    struct buf out;
    struct buf notes; /* what happened, for the test to compare */
    size_t read_max;  /* octets an answer to a read has at most */
    size_t drain_max; /* octets the peer takes at once */
    enum status_code update;
    struct now now;
};

static enum pop3_login judge(struct str user, struct str password)
{
    if (str_eq(user, STR("busy")))
        return POP3_LOGIN_IN_USE;
    if (str_eq(user, STR("later")))
        return POP3_LOGIN_TEMPORARY;
    if (str_eq(user, STR("odd")))
        return POP3_LOGIN_MALFORMED;
    return str_eq(user, STR("alice")) && str_eq(password, STR("pass word")) ? POP3_LOGIN_OK
                                                                            : POP3_LOGIN_DENIED;
}

static void answer_sasl(struct owner *o, const struct pop3_event *event)
{
    if (event->type == POP3_SASL_START && !event->has_data)
        pop3_answer_challenge(o->e, event->token, STR(""), o->now);
    else if (str_eq(event->data, STR("more")))
        pop3_answer_challenge(o->e, event->token, STR("go on"), o->now);
    else
        pop3_answer_login(o->e, event->token, judge(event->data, STR("pass word")), o->now);
}

static void answer_read(struct owner *o, const struct pop3_event *event)
{
    const struct kept *k = &kept[event->message];
    struct str all = str_from_c(k->octets);
    struct str piece = str_sub(all, (size_t)event->from, event->size);
    assert_int_equal(piece.len, event->size);
    if (piece.len > o->read_max)
        piece.len = o->read_max;
    enum status_code status = event->from >= k->fails_at ? STATUS_IO : k->status;
    pop3_answer_read(o->e, event->token, status, piece, o->now);
}

static void answer_update(struct owner *o, const struct pop3_event *event)
{
    buf_printf(&o->notes, "update");
    for (uint32_t i = 0; i < event->count; i++)
        if (event->messages[i].deleted)
            buf_printf(&o->notes, " %u", event->messages[i].uid);
    buf_printf(&o->notes, ";");
    pop3_answer_update(o->e, event->token, o->update, o->now);
}

static void start_tls(struct owner *o)
{
    buf_clear(&o->unread);
    buf_printf(&o->notes, "tls;");
    pop3_tls_started(o->e, o->now);
}

static void act(struct owner *o, const struct pop3_event *event)
{
    switch (event->type) {
    case POP3_LOGIN:
        pop3_answer_login(o->e, event->token, judge(text_peek(event->user), event->password),
                          o->now);
        break;
    case POP3_SASL_START:
    case POP3_SASL_DATA:
        answer_sasl(o, event);
        break;
    case POP3_SASL_ABORTED:
        buf_printf(&o->notes, "aborted;");
        break;
    case POP3_STARTTLS:
        start_tls(o);
        break;
    case POP3_HANDOVER:
        buf_printf(&o->notes, "handover;");
        break;
    case POP3_READ:
        answer_read(o, event);
        break;
    case POP3_UPDATE:
        answer_update(o, event);
        break;
    case POP3_CLOSE:
        buf_printf(&o->notes, "close %s;", pop3_close_name(event->reason));
        break;
    }
}

/* Until nothing moves any more. */
static void turn(struct owner *o)
{
    bool moved = true;
    while (moved) {
        struct pop3_event event;
        size_t n = pop3_input(o->e, buf_str(&o->unread), o->now);
        buf_consume(&o->unread, n);
        moved = n > 0;
        while (pop3_next(o->e, &event)) {
            act(o, &event);
            moved = true;
        }
        struct str out = pop3_output(o->e);
        if (out.len) {
            out = str_sub(out, 0, o->drain_max);
            buf_append_str(&o->out, out);
            pop3_output_done(o->e, out.len);
            moved = true;
        }
    }
}

static void feed(struct owner *o, struct str bytes)
{
    buf_append_str(&o->unread, bytes);
    turn(o);
}

static struct owner owner_new(void)
{
    struct owner o = {.read_max = SIZE_MAX, .drain_max = SIZE_MAX, .update = STATUS_OK};
    buf_init(&o.unread, 1 << 20);
    buf_init(&o.out, 1 << 22);
    buf_init(&o.notes, 4096);
    return o;
}

static struct pop3_maildrop make_maildrop(void)
{
    struct pop3_maildrop m = {.uid_validity = 77, .count = KEPT};
    m.messages = calloc(KEPT, sizeof *m.messages);
    for (uint32_t i = 0; i < KEPT; i++)
        m.messages[i] = (struct pop3_message){.octets = strlen(kept[i].octets), .uid = 100 + i};
    return m;
}

enum stage { LOGIN, LOGIN_TLS, DROP };

static void owner_start(struct owner *o, enum stage stage)
{
    if (stage == LOGIN || stage == LOGIN_TLS)
        o->e = pop3_server_new_login(&config, stage == LOGIN_TLS, o->now);
    else
        o->e = pop3_server_new_maildrop(&config, true, make_maildrop(), o->now);
    assert_non_null(o->e);
}

static void owner_end(struct owner *o)
{
    pop3_server_free(o->e);
    buf_release(&o->unread);
    buf_release(&o->out);
    buf_release(&o->notes);
}

/* ---- Dialogues ------------------------------------------------------------------------------ */

struct dialogue {
    const char *name;
    enum stage stage;
    enum status_code update;
    const char *in;
    const char *more; /* sent after TLS has started; NULL for none */
    const char *out;
    const char *notes;
    const char *unread; /* what the engine left */
};

#define GREETING "+OK mail.a.test Postern is ready\r\n"
#define CAPA_HEAD                                                                                  \
    "+OK capabilities follow\r\nTOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n"     \
    "EXPIRE NEVER\r\nUTF8 USER\r\n"
#define CAPA_TAIL "IMPLEMENTATION Postern\r\n.\r\n"
#define SASL_TLS  "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n"
#define BAD       "-ERR bad arguments\r\n"
#define NOT_NOW   "-ERR not now\r\n"
#define NONE      "-ERR no such message\r\n"
#define TRACE     "Received: by a\r\n\twith\r\n\tUTF8SMTPS\r\n"
#define FULL      "+OK 39 octets\r\nSubject: one\r\n\r\nhello\r\n..\r\n...two\r\nlast\r\n.\r\n"

static const struct dialogue dialogues[] = {
    {"a login hands over what comes behind it", LOGIN_TLS, STATUS_OK,
     "USER alice\r\nPASS pass word\r\nSTAT\r\nLI", NULL,
     GREETING "+OK now the password\r\n+OK welcome\r\n", "handover;", "STAT\r\nLI"},
    {"keywords in any case, bare line feeds", LOGIN_TLS, STATUS_OK,
     "utf8\nuser alice\nPaSs pass word\n", NULL,
     GREETING "+OK UTF-8 it is\r\n+OK now the password\r\n+OK welcome\r\n", "handover;", ""},
    {"wrong passwords end it", LOGIN_TLS, STATUS_OK,
     "PASS x\r\nUSER alice\r\nPASS x\r\nPASS pass word\r\nUSER a\r\nPASS x\r\nUSER a\r\nPASS x\r\n"
     "NOOP\r\n",
     NULL,
     GREETING "-ERR say USER first\r\n+OK now the password\r\n-ERR [AUTH] wrong name or "
              "password\r\n-ERR say USER first\r\n+OK now the password\r\n-ERR [AUTH] wrong name "
              "or password\r\n+OK now the password\r\n-ERR [AUTH] wrong name or password\r\n",
     "close logins;", "NOOP\r\n"},
    {"other refusals of a login leave it open", LOGIN_TLS, STATUS_OK,
     "USER busy\r\nPASS x\r\nUSER later\r\nPASS x\r\nAUTH PLAIN YnVzeQ==\r\n"
     "AUTH PLAIN bGF0ZXI=\r\nAUTH PLAIN b2Rk\r\nAUTH PLAIN eA==\r\nQUIT\r\n",
     NULL,
     GREETING "+OK now the password\r\n-ERR [IN-USE] another session has the maildrop\r\n"
              "+OK now the password\r\n-ERR [SYS/TEMP] try again later\r\n"
              "-ERR [IN-USE] another session has the maildrop\r\n-ERR [SYS/TEMP] try again "
              "later\r\n-ERR not as the mechanism wants it\r\n-ERR [AUTH] wrong name or "
              "password\r\n+OK bye\r\n",
     "close quit;", ""},
    {"no passwords in clear", LOGIN, STATUS_OK,
     "USER alice\r\nPASS pass word\r\nAUTH PLAIN YWxpY2U=\r\nCAPA\r\nQUIT\r\n", NULL,
     GREETING "-ERR not without TLS: say STLS first\r\n-ERR say USER first\r\n"
              "-ERR no such mechanism here\r\n" CAPA_HEAD "SASL SCRAM-SHA-256\r\nSTLS\r\n" CAPA_TAIL
              "+OK bye\r\n",
     "close quit;", ""},
    {"an exchange of several steps", LOGIN_TLS, STATUS_OK,
     "AUTH plain\r\nbW9yZQ==\r\n\r\nAUTH PLAIN bW9yZQ==\r\nYWxpY2U=\r\nSTAT\r\n", NULL,
     GREETING "+ \r\n+ Z28gb24=\r\n-ERR [AUTH] wrong name or password\r\n+ Z28gb24=\r\n"
              "+OK welcome\r\n",
     "handover;", "STAT\r\n"},
    {"exchanges that are given up", LOGIN_TLS, STATUS_OK,
     "AUTH LOGIN\r\n*\r\nAUTH LOGIN\r\nno base64\r\nAUTH LOGIN ???\r\nAUTH LOGIN \r\n"
     "AUTH CRAM-MD5\r\nAUTH\r\nAUTH LOGIN =\r\nQUIT\r\n",
     NULL,
     GREETING "+ \r\n-ERR given up\r\n+ \r\n-ERR not base64\r\n-ERR not base64\r\n"
              "-ERR not base64\r\n-ERR no such mechanism here\r\n" BAD
              "-ERR [AUTH] wrong name or password\r\n+OK bye\r\n",
     "aborted;aborted;close quit;", ""},
    {"what is said in clear is forgotten under TLS", LOGIN, STATUS_OK,
     "UTF8\r\nSTLS\r\nUSER alice\r\nPASS pass word\r\n",
     "PASS pass word\r\nSTLS\r\nCAPA\r\nUSER alice\r\nPASS pass word\r\n",
     GREETING "+OK UTF-8 it is\r\n+OK begin TLS\r\n-ERR say USER first\r\n"
              "-ERR TLS is there already\r\n" CAPA_HEAD "USER\r\n" SASL_TLS CAPA_TAIL
              "+OK now the password\r\n+OK welcome\r\n",
     "tls;handover;", ""},
    {"commands of the other state, and none at all", LOGIN_TLS, STATUS_OK,
     "STAT\r\nLIST\r\nRETR 1\r\nDELE 1\r\nNOOP\r\nRSET\r\nTOP 1 1\r\nUIDL\r\nAPOP a b\r\n\r\n"
     "USER\r\nPASS\r\nSTLS x\r\nUTF8 x\r\nCAPA x\r\nQUIT x\r\nUSER \r\nQUIT\r\n",
     NULL,
     GREETING NOT_NOW NOT_NOW NOT_NOW NOT_NOW NOT_NOW NOT_NOW NOT_NOW NOT_NOW
     "-ERR no such command\r\n-ERR no such command\r\n" BAD BAD BAD BAD BAD BAD BAD "+OK bye\r\n",
     "close quit;", ""},
    {"too many errors end it", DROP, STATUS_OK,
     "X\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\n"
     "RETR 0\r\nUSER x\r\nNOOP\r\n",
     NULL,
#define X3 "-ERR no such command\r\n-ERR no such command\r\n-ERR no such command\r\n"
     X3 X3 X3 X3 X3 X3 NONE NOT_NOW, "close too many errors;", "NOOP\r\n"},
    {"but only in a row", DROP, STATUS_OK,
     "X\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\n"
     "NOOP\r\nX\r\nX\r\nX\r\nQUIT\r\n",
     NULL, X3 X3 X3 X3 X3 X3 "+OK still here\r\n" X3 "+OK bye\r\n", "close quit;", ""},
    {"a maildrop is listed", DROP, STATUS_OK,
     "STAT\r\nLIST\r\nLIST 2\r\nUIDL\r\nUIDL 2\r\nNOOP\r\nCAPA\r\nQUIT\r\n", NULL,
     "+OK 9 175\r\n+OK 9 messages\r\n1 39\r\n2 14\r\n3 0\r\n4 56\r\n5 5\r\n6 5\r\n7 12\r\n8 "
     "12\r\n9 32\r\n"
     ".\r\n+OK 2 14\r\n+OK 9 messages\r\n1 77.100\r\n2 77.101\r\n3 77.102\r\n4 77.103\r\n"
     "5 77.104\r\n6 77.105\r\n7 77.106\r\n8 77.107\r\n9 77.108\r\n.\r\n+OK 2 77.101\r\n+OK still "
     "here\r\n" CAPA_HEAD "USER\r\n" SASL_TLS CAPA_TAIL "+OK bye\r\n",
     "close quit;", ""},
    {"messages are stuffed and ended", DROP, STATUS_OK,
     "RETR 1\r\nRETR 2\r\nRETR 3\r\nRETR 8\r\nQUIT\r\n", NULL,
     FULL "+OK 14 octets\r\nA: b\r\n\r\nno end\r\n.\r\n+OK 0 octets\r\n.\r\n"
          "+OK 12 octets\r\n..a\n.b\r.c\r\n..\r\r\n.\r\n+OK bye\r\n",
     "close quit;", ""},
    {"TOP gives the header and some lines", DROP, STATUS_OK,
     "TOP 1 0\r\nTOP 1 2\r\nTOP 1 99\r\nTOP 2 1\r\nTOP 3 5\r\nQUIT\r\n", NULL,
     "+OK top of it\r\nSubject: one\r\n\r\n.\r\n"
     "+OK top of it\r\nSubject: one\r\n\r\nhello\r\n..\r\n.\r\n"
     "+OK top of it\r\nSubject: one\r\n\r\nhello\r\n..\r\n...two\r\nlast\r\n.\r\n"
     "+OK top of it\r\nA: b\r\n\r\nno end\r\n.\r\n+OK top of it\r\n.\r\n+OK bye\r\n",
     "close quit;", ""},
    {"UTF-8 headers are for everybody", DROP, STATUS_OK, "RETR 4\r\nTOP 4 0\r\nQUIT\r\n", NULL,
     "+OK 56 octets\r\n" TRACE "Subject: \xC3\xA4\r\n\r\nbody\r\n.\r\n"
     "+OK top of it\r\n" TRACE "Subject: \xC3\xA4\r\n\r\n.\r\n+OK bye\r\n",
     "close quit;", ""},
    {"what merely is not ASCII is so too", DROP, STATUS_OK, "RETR 9\r\nTOP 9 0\r\nQUIT\r\n", NULL,
     "+OK 32 octets\r\nReceived: with UTF7\r\nX: \xE4\r\n\r\n\xF6\r\n.\r\n"
     "+OK top of it\r\nReceived: with UTF7\r\nX: \xE4\r\n\r\n.\r\n+OK bye\r\n",
     "close quit;", ""},
    {"a message that cannot be read", DROP, STATUS_OK,
     "RETR 5\r\nTOP 5 1\r\nRETR 6\r\nTOP 6 1\r\nQUIT\r\n", NULL,
     "-ERR [SYS/TEMP] the message cannot be read now\r\n"
     "-ERR [SYS/TEMP] the message cannot be read now\r\n-ERR the message is gone\r\n"
     "-ERR the message is gone\r\n+OK bye\r\n",
     "close quit;", ""},
    {"marked messages are gone at QUIT", DROP, STATUS_OK,
     "DELE 1\r\nDELE 1\r\nRETR 1\r\nLIST 1\r\nUIDL 1\r\nTOP 1 1\r\nRSET\r\nDELE 3\r\nDELE 8\r\n"
     "STAT\r\nLIST\r\nQUIT\r\n",
     NULL,
     "+OK marked\r\n" NONE NONE NONE NONE NONE
     "+OK nothing is marked\r\n+OK marked\r\n+OK marked\r\n+OK 7 163\r\n+OK 7 messages\r\n"
     "1 39\r\n2 14\r\n4 56\r\n5 5\r\n6 5\r\n7 12\r\n9 32\r\n.\r\n+OK the marked messages are "
     "removed\r\n",
     "update 102 107;close quit;", ""},
    {"a removal that fails is told", DROP, STATUS_DISK_FULL, "DELE 2\r\nQUIT\r\n", NULL,
     "+OK marked\r\n-ERR [SYS/TEMP] the marked messages could not be removed\r\n",
     "update 101;close quit;", ""},
    {"bad arguments", DROP, STATUS_OK,
     "RETR\r\nRETR x\r\nRETR 1 2\r\nRETR -1\r\nDELE\r\nTOP 1\r\nTOP 1 x\r\nLIST x\r\nUIDL 1 1\r\n"
     "STAT 1\r\nNOOP x\r\nRSET x\r\nRETR 99999999999\r\nDELE  1\r\nQUIT\r\n",
     NULL, BAD BAD BAD BAD BAD BAD BAD BAD BAD BAD BAD BAD BAD BAD "+OK bye\r\n", "close quit;",
     ""},
    {"commands of the first state", DROP, STATUS_OK,
     "USER a\r\nPASS a\r\nAUTH PLAIN\r\nSTLS\r\nUTF8\r\nQUIT\r\n", NULL,
     NOT_NOW NOT_NOW NOT_NOW NOT_NOW NOT_NOW "+OK bye\r\n", "close quit;", ""},
};

static void expect(const char *name, const char *what, struct str got, const char *want)
{
    if (str_eq(got, str_from_c(want)))
        return;
    fail_msg("%s: %s is\n%.*s\nnot\n%s", name, what, STR_ARG(got), want);
}

/*
 * The script comes in two pieces, split at `split`; 0 for octet by octet. The part for after TLS
 * comes in one piece behind it.
 */
static void play(const struct dialogue *d, size_t split, size_t read_max, size_t drain_max)
{
    struct owner o = owner_new();
    struct str in = str_from_c(d->in);
    o.read_max = read_max;
    o.drain_max = drain_max;
    o.update = d->update;
    owner_start(&o, d->stage);
    turn(&o);
    if (d->more) {
        feed(&o, in);
        in = str_from_c(d->more);
    }
    for (size_t i = 0; split == 0 && i < in.len; i++)
        feed(&o, str_sub(in, i, 1));
    if (split > 0) {
        feed(&o, str_sub(in, 0, split));
        feed(&o, str_skip(in, split));
    }
    expect(d->name, "the output", buf_str(&o.out), d->out);
    expect(d->name, "what happened", buf_str(&o.notes), d->notes);
    expect(d->name, "what is left", buf_str(&o.unread), d->unread);
    owner_end(&o);
}

static void dialogues_run_at_every_split_point(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof dialogues / sizeof *dialogues; i++) {
        const struct dialogue *d = &dialogues[i];
        size_t size = strlen(d->more ? d->more : d->in);
        for (size_t split = 0; split <= size; split++)
            play(d, split, SIZE_MAX, SIZE_MAX);
        play(d, size, 1, SIZE_MAX);
        play(d, size, SIZE_MAX, 1);
        play(d, 0, 3, 5);
    }
}

static void a_line_that_is_too_long_is_skipped(void **state)
{
    (void)state;
    static char line[LIMIT_POP3_SASL_LINE_SIZE + 10];
    memset(line, 'a', sizeof line);
    for (size_t piece = 100; piece < sizeof line; piece += 4000) {
        struct owner o = owner_new();
        owner_start(&o, LOGIN_TLS);
        for (size_t at = 0; at < sizeof line; at += piece)
            feed(&o, str_sub(str_make(line, sizeof line), at, piece));
        feed(&o, STR("\r\nAUTH PLAIN\r\n"));
        feed(&o, str_make(line, sizeof line));
        feed(&o, STR("\r\nQUIT\r\n"));
        expect("too long", "the output", buf_str(&o.out),
               GREETING "-ERR line too long\r\n+ \r\n-ERR line too long\r\n+OK bye\r\n");
        expect("too long", "what happened", buf_str(&o.notes), "aborted;close quit;");
        owner_end(&o);
    }
}

/* Runs behind the dialogues: every row of the table with every reply it can give was seen. */
static void every_reply_of_every_command_was_seen(void **state)
{
    (void)state;
    struct str command;
    const char *reply;
    unsigned cells = 0, missing = 0;
    for (size_t row = 0; pop3_reply_count(row, 0, &command, &reply); row++)
        for (size_t column = 0; pop3_reply_count(row, column, &command, &reply); column++) {
            cells++;
            if (counts.replies[row][column] == 0) {
                missing++;
                print_message("never seen: %.*s %s\n", STR_ARG(command), reply);
            }
        }
    print_message("%u of %u replies seen\n", cells - missing, cells);
    assert_int_equal(missing, 0);
}

static void a_message_that_breaks_off_closes_without_an_end(void **state)
{
    (void)state;
    struct owner o = owner_new();
    o.read_max = 2;
    owner_start(&o, DROP);
    feed(&o, STR("DELE 1\r\nRETR 7\r\nQUIT\r\n"));
    expect("broken", "the output", buf_str(&o.out),
           "+OK marked\r\n+OK 12 octets\r\nx: y\r\n\r\nbo");
    expect("broken", "what happened", buf_str(&o.notes), "close failed;");
    owner_end(&o);
}

static void a_peer_that_goes_away_removes_nothing(void **state)
{
    (void)state;
    struct owner o = owner_new();
    owner_start(&o, DROP);
    feed(&o, STR("DELE 1\r\nQU"));
    pop3_peer_gone(o.e);
    turn(&o);
    expect("gone", "what happened", buf_str(&o.notes), "close gone;");
    owner_end(&o);
}

static void an_answer_after_the_close_is_ignored(void **state)
{
    (void)state;
    struct owner o = owner_new();
    struct pop3_event event;
    owner_start(&o, DROP);
    assert_int_equal(pop3_input(o.e, STR("RETR 1\r\n"), o.now), 8);
    assert_true(pop3_next(o.e, &event));
    assert_int_equal(event.type, POP3_READ);
    assert_int_equal(pop3_input(o.e, STR("QUIT\r\n"), o.now), 0);
    pop3_peer_gone(o.e);
    pop3_answer_read(o.e, event.token, STATUS_OK, STR("x"), o.now);
    turn(&o);
    expect("late", "what happened", buf_str(&o.notes), "close gone;");
    expect("late", "the output", buf_str(&o.out), "");
    owner_end(&o);
}

static void silence_ends_a_session_without_a_word(void **state)
{
    (void)state;
    struct owner o = owner_new();
    owner_start(&o, DROP);
    o.now.mono_ms = LIMIT_POP3_IDLE_MS - 1;
    feed(&o, STR("DELE 1\r\n"));
    assert_true(pop3_deadline(o.e) == 2 * LIMIT_POP3_IDLE_MS - 1);
    pop3_tick(o.e, o.now);
    assert_int_equal(o.notes.len, 0);
    o.now.mono_ms = 2 * LIMIT_POP3_IDLE_MS;
    pop3_tick(o.e, o.now);
    turn(&o);
    expect("idle", "what happened", buf_str(&o.notes), "close idle;");
    expect("idle", "the output", buf_str(&o.out), "+OK marked\r\n");
    assert_true(pop3_deadline(o.e) == NEVER_MS);
    owner_end(&o);
}

static void the_time_to_log_in_is_not_renewed(void **state)
{
    (void)state;
    struct owner o = owner_new();
    owner_start(&o, LOGIN);
    o.now.mono_ms = LIMIT_LOGIN_MS - 1;
    feed(&o, STR("CAPA\r\n"));
    assert_true(pop3_deadline(o.e) == LIMIT_LOGIN_MS);
    owner_end(&o);
}

static void a_shutdown_waits_for_the_open_question(void **state)
{
    (void)state;
    struct owner o = owner_new();
    struct pop3_event event;
    owner_start(&o, DROP);
    pop3_input(o.e, STR("DELE 1\r\nQUIT\r\n"), o.now);
    assert_true(pop3_next(o.e, &event));
    pop3_shutdown(o.e, o.now);
    pop3_answer_update(o.e, event.token, STATUS_OK, o.now);
    turn(&o);
    expect("shutdown", "what happened", buf_str(&o.notes), "close quit;");
    owner_end(&o);

    o = owner_new();
    owner_start(&o, DROP);
    pop3_shutdown(o.e, o.now);
    turn(&o);
    expect("shutdown", "what happened", buf_str(&o.notes), "close shutdown;");
    owner_end(&o);
}

enum { MANY = 20000, BIG = 1 << 20 };

/* A peer that never reads costs a bounded number of octets. */
static void output_is_bounded(void **state)
{
    (void)state;
    struct pop3_maildrop m = {.uid_validity = 1, .count = MANY};
    static char dots[32 * 1024];
    struct now now = {0};
    struct pop3_event event;
    memset(dots, '.', sizeof dots);
    for (size_t i = 0; i + 3 <= sizeof dots; i += 3)
        memcpy(dots + i, ".\r\n", 3);
    m.messages = calloc(MANY, sizeof *m.messages);
    m.messages[0].octets = BIG;
    struct pop3_server *e = pop3_server_new_maildrop(&config, true, m, now);
    const char *const commands[] = {"LIST\r\n", "RETR 1\r\n"};
    for (int i = 0; i < 2; i++) {
        size_t most = 0, all = 0;
        assert_int_equal(pop3_input(e, str_from_c(commands[i]), now), strlen(commands[i]));
        assert_int_equal(pop3_input(e, STR("NOOP\r\n"), now), 0);
        do {
            while (pop3_next(e, &event))
                pop3_answer_read(e, event.token, STATUS_OK, str_make(dots, event.size), now);
            size_t n = pop3_output(e).len;
            most = n > most ? n : most;
            all += n > 1000 ? 1000 : n;
            pop3_output_done(e, n > 1000 ? 1000 : n);
        } while (pop3_output(e).len > 0);
        assert_true(most < 64 * 1024);
        assert_true(all > (i ? BIG : MANY * 4));
    }
    pop3_server_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dialogues_run_at_every_split_point),
        cmocka_unit_test(a_line_that_is_too_long_is_skipped),
        cmocka_unit_test(every_reply_of_every_command_was_seen),
        cmocka_unit_test(a_message_that_breaks_off_closes_without_an_end),
        cmocka_unit_test(a_peer_that_goes_away_removes_nothing),
        cmocka_unit_test(an_answer_after_the_close_is_ignored),
        cmocka_unit_test(silence_ends_a_session_without_a_word),
        cmocka_unit_test(the_time_to_log_in_is_not_renewed),
        cmocka_unit_test(a_shutdown_waits_for_the_open_question),
        cmocka_unit_test(output_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
