#include "roles/courier_report.h"

#include <zstd.h>

#include "base/limits.h"
#include "base/testing.h"

enum { NEVER = 1, SUCCESS = 2, FAILURE = 4, DELAY = 8 };
enum { DONE, FAILED, LATER, BACK, MOVED, NOTICED };

#define TEXT(s) text_from(STR(s))
#define NOW     1739485890000

/* ---- whether one is due ---- */

static const struct {
    const char *sender;
    uint8_t notify, task, outcome;
    bool next_tells, is_final, by_trace;
    uint8_t by_mode;
    enum courier_report_due due;
} due_cases[] = {
    /* Failures are told unless the sender said otherwise. RFC 3461 §4.1 */
    {"ann@a.example", 0, 0, FAILED, 0, 0, 0, 0, REPORT_FAILED},
    {"ann@a.example", FAILURE, 0, FAILED, 0, 0, 0, 0, REPORT_FAILED},
    {"ann@a.example", SUCCESS | DELAY, 0, FAILED, 0, 0, 0, 0, REPORT_NOT_DUE},
    {"ann@a.example", NEVER, 0, FAILED, 0, 0, 0, 0, REPORT_NOT_DUE},
    {"ann@a.example", 0, 2, FAILED, 0, 0, 0, 0, REPORT_FAILED},
    {"ann@a.example", NEVER, 2, FAILED, 0, 0, 0, 0, REPORT_NOT_DUE},
    {"ann@a.example", 0, 3, FAILED, 0, 0, 0, 0, REPORT_FAILED},
    /* None about a report. RFC 3461 §6.1 */
    {"", 0, 0, FAILED, 0, 0, 0, 0, REPORT_NOT_DUE},
    {"", FAILURE, 2, FAILED, 0, 0, 0, 0, REPORT_NOT_DUE},
    {"", SUCCESS, 0, DONE, 0, 0, 0, 0, REPORT_NOT_DUE},
    {"", DELAY, 4, NOTICED, 0, 0, 0, 0, REPORT_NOT_DUE},
    /* Success only where it was asked for, and is not told by the next server. RFC 3461 §5.2 */
    {"ann@a.example", 0, 0, DONE, 0, 0, 0, 0, REPORT_NOT_DUE},
    {"ann@a.example", FAILURE, 0, DONE, 0, 0, 0, 0, REPORT_NOT_DUE},
    {"ann@a.example", SUCCESS, 0, DONE, 0, 0, 0, 0, REPORT_RELAYED},
    {"ann@a.example", SUCCESS, 0, DONE, 1, 0, 0, 0, REPORT_NOT_DUE},
    {"ann@a.example", SUCCESS, 0, DONE, 0, 1, 0, 0, REPORT_DELIVERED},
    {"ann@a.example", SUCCESS, 1, DONE, 0, 0, 0, 0, REPORT_DELIVERED},
    {"ann@a.example", 0, 1, DONE, 0, 0, 0, 0, REPORT_NOT_DUE},
    /* Delays likewise. */
    {"ann@a.example", DELAY, 4, NOTICED, 0, 0, 0, 0, REPORT_DELAYED},
    {"ann@a.example", 0, 4, NOTICED, 0, 0, 0, 0, REPORT_NOT_DUE},
    {"ann@a.example", FAILURE, 4, NOTICED, 0, 0, 0, 0, REPORT_NOT_DUE},
    /* DELIVERBY. RFC 2852 */
    {"ann@a.example", 0, 4, NOTICED, 0, 0, 0, 2, REPORT_DELAYED},
    {"ann@a.example", NEVER, 4, NOTICED, 0, 0, 0, 2, REPORT_NOT_DUE},
    {"ann@a.example", 0, 0, DONE, 1, 0, 1, 2, REPORT_RELAYED},
    {"ann@a.example", NEVER, 0, DONE, 1, 0, 1, 2, REPORT_NOT_DUE},
    /* It is not over. */
    {"ann@a.example", DELAY | FAILURE | SUCCESS, 0, LATER, 0, 0, 0, 0, REPORT_NOT_DUE},
    {"ann@a.example", DELAY | FAILURE | SUCCESS, 0, BACK, 0, 0, 0, 0, REPORT_NOT_DUE},
    {"ann@a.example", DELAY | FAILURE | SUCCESS, 0, MOVED, 0, 0, 0, 0, REPORT_NOT_DUE},
};

static void a_report_is_due_as_the_sender_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof due_cases / sizeof due_cases[0]; i++) {
        struct ipc_job job = {
            .sender = text_from(str_from_c(due_cases[i].sender)),
            .envelope = {.by_trace = due_cases[i].by_trace, .by_mode = due_cases[i].by_mode}};
        struct ipc_job_recipient recipient = {.notify = due_cases[i].notify,
                                              .task = due_cases[i].task};
        struct ipc_outcome outcome = {.outcome = due_cases[i].outcome};
        struct courier_report_result result = {.recipient = &recipient,
                                               .outcome = &outcome,
                                               .next_tells = due_cases[i].next_tells,
                                               .is_final = due_cases[i].is_final};
        if (courier_report_due(&job, &result) != due_cases[i].due)
            fail_msg("case %zu", i);
    }
}

static void rows_that_need_no_server_are_settled(void **state)
{
    (void)state;
    static const struct {
        uint8_t task;
        const char *last_status, *last_words;
        uint8_t outcome;
        const char *status, *words;
    } cases[] = {
        {1, "", "", DONE, "2.1.5", "it is in the mailbox"},
        {2, "4.7.1", "451 4.7.1 greylisted", FAILED, "5.4.7", "451 4.7.1 greylisted"},
        {2, "", "", FAILED, "5.4.7", "it could not be delivered in all the time it had"},
        {3, "4.7.1", "not wanted", FAILED, "5.0.0", "not wanted"},
        {3, "5.7.1", "", FAILED, "5.7.1", "returned by the people who run the mail system"},
        {4, "4.2.0", "450 wait", NOTICED, "4.2.0", "450 wait"},
        {4, "", "", NOTICED, "4.4.1", "their mail server could not be reached yet"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ipc_job_recipient recipient = {
            .id = 7,
            .task = cases[i].task,
            .last_status = str_from_c(cases[i].last_status),
            .last_words = text_from(str_from_c(cases[i].last_words)),
            .last_remote = TEXT("mx.b.example [192.0.2.1]:25"),
        };
        struct ipc_outcome outcome;
        courier_report_settle(&recipient, &outcome);
        assert_int_equal(outcome.recipient, 7);
        assert_int_equal(outcome.outcome, cases[i].outcome);
        assert_int_equal(outcome.noticed, cases[i].task == 4);
        assert_true(str_eq(outcome.status, str_from_c(cases[i].status)));
        assert_true(str_eq(text_peek(outcome.words), str_from_c(cases[i].words)));
    }
}

/* ---- the report ---- */

static const char body[] =
    "From: ann@a.example\r\nSubject: x\r\nMessage-ID: <one@a.example>\r\n\r\n"
    "The body.\r\n";

struct scene {
    struct ipc_job job;
    struct ipc_job_recipient recipients[4];
    struct ipc_outcome outcomes[4];
    struct courier_report_result results[4];
    struct courier_report_facts facts;
};

static void scene_init(struct scene *s, size_t count)
{
    *s = (struct scene){
        .job = {.trace_id = STR("06old"),
                .sender = TEXT("ann@a.example"),
                .size = sizeof body - 1,
                .received_at_ms = NOW - 60000,
                .prefix = STR("Received: here\r\n"),
                .envelope = {.envid = TEXT("QQ314159"), .ret = 2}},
        .facts = {.job = &s->job,
                  .results = s->results,
                  .count = count,
                  .hostname = STR("mx.a.example"),
                  .id = STR("06new"),
                  .random = "0123456789abcde",
                  .now = {.wall_ms = NOW}},
    };
    for (size_t i = 0; i < count; i++) {
        s->recipients[i] =
            (struct ipc_job_recipient){.id = i + 1, .recipient = TEXT("bob@b.example")};
        s->outcomes[i] = (struct ipc_outcome){.recipient = i + 1,
                                              .outcome = FAILED,
                                              .status = STR("5.1.1"),
                                              .words = TEXT("550 5.1.1 no Bob"),
                                              .remote = TEXT("mx.b.example [192.0.2.1]:25")};
        s->results[i] = (struct courier_report_result){
            .recipient = &s->recipients[i], .outcome = &s->outcomes[i], .is_reply = true};
    }
}

static const struct ipc_target target = {
    .account = 3, .mailbox = 4, .delivered_to = {"ann@a.example", 13}};
static const struct ipc_relay relay = {.address = {{"ann@a.example", 13}},
                                       .destination = {"dns:a.example", 13}};

static const struct ipc_recipient_out ann_is_here = {
    .code = 250, .targets = &target, .targets_count = 1};
static const struct ipc_recipient_out ann_is_elsewhere = {
    .code = 250, .relays = &relay, .relays_count = 1};

static void give_original(struct courier_report *r, struct str octets, size_t piece)
{
    for (; courier_report_wants(r) && octets.len > 0; octets = str_skip(octets, piece))
        courier_report_original(r, str_sub(octets, 0, piece));
}

/* The report's octets. */
static void unpack(const struct ipc_report *report, struct buf *out)
{
    char plain[LIMIT_CHUNK_SIZE];
    buf_init(out, 4 << 20);
    for (size_t i = 0; i < report->email.chunks_count; i++) {
        const struct ipc_chunk *chunk = &report->email.chunks[i];
        if (chunk->codec == 0) {
            buf_append_str(out, chunk->data);
            continue;
        }
        size_t size = ZSTD_decompress(plain, sizeof plain, chunk->data.ptr, chunk->data.len);
        assert_int_equal(size, chunk->plain_size);
        buf_append(out, plain, size);
    }
    assert_int_equal(out->len, report->email.size);
}

static struct courier_report *make(struct scene *s)
{
    enum status_code status;
    struct courier_report *r = courier_report_new(&s->facts, &status);
    assert_int_equal(status, STATUS_OK);
    return r;
}

static void expect_report(struct scene *s, struct str original, const char *const *has,
                          const char *const *lacks)
{
    struct courier_report *r = make(s);
    struct ipc_report report;
    struct buf out;
    assert_int_equal(courier_report_planned(r, &ann_is_here), REPORT_PLANNED);
    give_original(r, original, 7);
    assert_int_equal(courier_report_finish(r, &report), STATUS_OK);
    struct str first = report.email.chunks[0].data;
    assert_int_equal(courier_report_finish(r, &report), STATUS_OK);
    assert_ptr_equal(report.email.chunks[0].data.ptr, first.ptr);
    unpack(&report, &out);
    for (; has && *has; has++)
        if (str_find(buf_str(&out), str_from_c(*has)) < 0)
            fail_msg("no \"%s\" in\n%.*s", *has, (int)out.len, out.ptr);
    for (; lacks && *lacks; lacks++)
        if (str_find(buf_str(&out), str_from_c(*lacks)) >= 0)
            fail_msg("\"%s\" in\n%.*s", *lacks, (int)out.len, out.ptr);
    buf_release(&out);
    courier_report_free(r);
}

static void a_failure_comes_back_with_the_header(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 1);
    static const char *const has[] = {
        "Message-ID: <06new@mx.a.example>\r\n",
        "References: <one@a.example>\r\n",
        "To: <ann@a.example>\r\n",
        "Original-Envelope-Id: QQ314159\r\n",
        "Status: 5.1.1\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 no Bob\r\n",
        "number: 06old\r\n",
        "Content-Type: text/rfc822-headers\r\n\r\nReceived: here\r\nFrom: ann@a.example\r\n",
        "boundary=\"=_303132333435363738396162636465",
        NULL};
    static const char *const lacks[] = {"The body.", NULL};
    expect_report(&s, str_make(body, sizeof body - 1), has, lacks);
    s.job.envelope.ret = 0;
    expect_report(&s, str_make(body, sizeof body - 1), has, lacks);
}

static void full_returns_the_message_of_a_failure_only(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 1);
    s.job.envelope.ret = 1;
    static const char *const whole[] = {
        "Content-Type: message/rfc822\r\n\r\nReceived: here\r\nFrom: ann@a.example\r\n",
        "\r\n\r\nThe body.\r\n\r\n--=_", NULL};
    static const char *const part[] = {"The body.", NULL};
    expect_report(&s, str_make(body, sizeof body - 1), whole, NULL);
    s.job.envelope.body = 2;
    expect_report(&s, str_make(body, sizeof body - 1), NULL, part);
    s.job.envelope.body = 0;
    s.job.envelope.requiretls = 1;
    expect_report(&s, str_make(body, sizeof body - 1), NULL, part);
    s.job.envelope.requiretls = 0;
    s.job.size = COURIER_REPORT_ORIGINAL_MAX;
    expect_report(&s, str_make(body, sizeof body - 1), NULL, part);
    scene_init(&s, 1);
    s.job.envelope.ret = 1;
    s.recipients[0].notify = SUCCESS;
    s.outcomes[0].outcome = DONE;
    expect_report(&s, str_make(body, sizeof body - 1), NULL, part);
}

static void it_is_given_to_the_vault_as_mail_with_the_null_sender(void **state)
{
    (void)state;
    struct scene s;
    struct ipc_recipient_in ask;
    struct ipc_report report;
    scene_init(&s, 1);
    struct courier_report *r = make(&s);
    courier_report_ask(r, &ask);
    assert_true(ask.trusted && text_peek(ask.reverse_path).len == 0);
    assert_true(str_eq(text_peek(ask.recipient), STR("ann@a.example")));
    assert_int_equal(courier_report_planned(r, &ann_is_here), REPORT_PLANNED);
    give_original(r, str_make(body, sizeof body - 1), 1000);
    assert_int_equal(courier_report_finish(r, &report), STATUS_OK);
    assert_true(str_eq(report.trace_id, STR("06new")));
    assert_true(str_eq(report.about, STR("06old")));
    assert_int_equal(report.at_ms, NOW);
    assert_int_equal(report.recipient.notify, NEVER);
    assert_int_equal(report.recipient.deliveries_count, 1);
    assert_int_equal(report.recipient.deliveries[0].account, 3);
    assert_int_equal(report.recipient.deliveries[0].mailbox, 4);
    assert_true(str_eq(report.recipient.deliveries[0].prefix,
                       STR("Return-Path: <>\r\nDelivered-To: ann@a.example\r\n")));
    assert_int_equal(report.envelope.body, 0);
    assert_true(str_eq(text_peek(report.email.message_id), STR("<06new@mx.a.example>")));
    assert_true(report.email.structure.len > 0 && report.email.signature.len > 0);
    courier_report_free(r);

    r = make(&s);
    assert_int_equal(courier_report_planned(r, &ann_is_elsewhere), REPORT_PLANNED);
    courier_report_original_lost(r);
    assert_int_equal(courier_report_finish(r, &report), STATUS_OK);
    assert_int_equal(report.recipient.deliveries_count, 0);
    assert_int_equal(report.recipient.relays_count, 1);
    assert_true(str_eq(report.recipient.relays[0].destination, STR("dns:a.example")));
    courier_report_free(r);
}

static void a_sender_who_cannot_be_told_is_not_told(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 1);
    struct courier_report *r = make(&s);
    const struct ipc_recipient_out nobody = {
        .code = 550, .enhanced = STR("5.1.1"), .text = STR("Nobody here")};
    const struct ipc_recipient_out busy = {.code = 451, .enhanced = STR("4.3.0")};
    const struct ipc_recipient_out nowhere = {.code = 250};
    assert_int_equal(courier_report_planned(r, &busy), REPORT_LATER);
    assert_int_equal(courier_report_planned(r, &nowhere), REPORT_DROPPED);
    assert_int_equal(courier_report_planned(r, &nobody), REPORT_DROPPED);
    assert_true(
        str_eq(courier_report_drop_words(r), STR(" (bounce-dropped: 550 5.1.1 Nobody here)")));
    courier_report_free(r);
}

static void nobody_is_told_where_nobody_asked(void **state)
{
    (void)state;
    struct scene s;
    enum status_code status = STATUS_IO;
    scene_init(&s, 2);
    s.recipients[0].notify = NEVER;
    s.outcomes[1].outcome = DONE;
    assert_null(courier_report_new(&s.facts, &status));
    assert_int_equal(status, STATUS_OK);
}

static void recipients_of_one_batch_share_a_report(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 3);
    s.recipients[0].recipient = TEXT("a@b.example");
    s.recipients[1].notify = NEVER;
    s.recipients[2].recipient = TEXT("c@b.example");
    s.recipients[2].orcpt = TEXT("rfc822;cyd@old.example");
    static const char *const has[] = {
        "Final-Recipient: rfc822; a@b.example\r\n",
        "Original-Recipient: rfc822;cyd@old.example\r\nFinal-Recipient: rfc822; c@b.example\r\n",
        NULL};
    static const char *const lacks[] = {"bob@b.example", NULL};
    expect_report(&s, str_make(body, sizeof body - 1), has, lacks);
}

static void many_recipients_share_one_too(void **state)
{
    (void)state;
    enum { MANY = LIMIT_SMTP_RECIPIENTS };
    static struct ipc_job_recipient recipients[MANY];
    static struct ipc_outcome outcomes[MANY];
    static struct courier_report_result results[MANY];
    static char words[3000], orcpt[500], address[311];
    struct scene s;
    struct ipc_report report;
    scene_init(&s, 1);
    memset(words, 'w', sizeof words);
    memset(orcpt, 'o', sizeof orcpt);
    memset(address, 'a', sizeof address);
    address[60] = '@';
    address[120] = address[180] = address[240] = '.';
    orcpt[6] = ';';
    for (size_t i = 0; i < MANY; i++) {
        recipients[i] = s.recipients[0];
        recipients[i].recipient = text_from(str_make(address, sizeof address));
        recipients[i].orcpt = text_from(str_make(orcpt, sizeof orcpt));
        outcomes[i] = s.outcomes[0];
        outcomes[i].words = outcomes[i].remote = text_from(str_make(words, sizeof words));
        results[i] = s.results[0];
        results[i].recipient = &recipients[i];
        results[i].outcome = &outcomes[i];
    }
    s.facts.results = results;
    s.facts.count = MANY;
    struct courier_report *r = make(&s);
    assert_int_equal(courier_report_planned(r, &ann_is_here), REPORT_PLANNED);
    give_original(r, str_make(body, sizeof body - 1), 1000);
    assert_int_equal(courier_report_finish(r, &report), STATUS_OK);
    size_t size = 0;
    for (size_t i = 0; i < report.email.chunks_count; i++)
        size += report.email.chunks[i].data.len;
    assert_true(size < LIMIT_IPC_FRAME_SIZE / 4);
    courier_report_free(r);
}

static void a_header_without_end_is_cut_at_a_line(void **state)
{
    (void)state;
    struct scene s;
    struct buf original, out;
    struct ipc_report report;
    buf_init(&original, 1 << 20);
    while (original.len < 300000)
        buf_append_str(&original, STR("X-Field: caf\xC3\xA9\r\n"));
    scene_init(&s, 1);
    s.job.size = original.len;
    struct courier_report *r = make(&s);
    assert_int_equal(courier_report_planned(r, &ann_is_here), REPORT_PLANNED);
    give_original(r, buf_str(&original), LIMIT_CHUNK_SIZE);
    assert_false(courier_report_wants(r));
    assert_int_equal(courier_report_finish(r, &report), STATUS_OK);
    unpack(&report, &out);
    assert_true(str_find(buf_str(&out), STR("X-Field: caf\xC3\xA9\r\n\r\n--=_")) > 0);
    assert_int_equal(report.envelope.body, 1);
    assert_true(report.email.size < 80000);
    courier_report_free(r);
    buf_release(&out);
    buf_release(&original);
}

static void a_binary_header_does_not_come_along(void **state)
{
    (void)state;
    struct scene s;
    static const char *const header[] = {"text/rfc822-headers", NULL};
    scene_init(&s, 1);
    s.job.envelope.body = 2;
    expect_report(&s, STR("Subject: x\r\n\r\n\0"), header, NULL);
    expect_report(&s, STR("Subject: a\rb\r\n\r\nbody"), NULL, header);
    expect_report(&s, STR("Subject: a\0b\r\n\r\nbody"), NULL, header);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_is_due_as_the_sender_asked),
        cmocka_unit_test(rows_that_need_no_server_are_settled),
        cmocka_unit_test(a_failure_comes_back_with_the_header),
        cmocka_unit_test(full_returns_the_message_of_a_failure_only),
        cmocka_unit_test(it_is_given_to_the_vault_as_mail_with_the_null_sender),
        cmocka_unit_test(a_sender_who_cannot_be_told_is_not_told),
        cmocka_unit_test(nobody_is_told_where_nobody_asked),
        cmocka_unit_test(recipients_of_one_batch_share_a_report),
        cmocka_unit_test(many_recipients_share_one_too),
        cmocka_unit_test(a_header_without_end_is_cut_at_a_line),
        cmocka_unit_test(a_binary_header_does_not_come_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
