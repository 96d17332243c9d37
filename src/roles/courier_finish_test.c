#include "roles/courier_finish.h"

#include "base/testing.h"

static const char ascii[] = "Subject: x\r\n\r\nplain\r\n";
static const char eight[] =
    "MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\na caf\xC3\xA9\r\n";
static const char binary[] =
    "MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\na\0b\r\n";
static const char utf8_header[] = "Subject: caf\xC3\xA9\r\n\r\nplain\r\n";
static const char utf8_part[] =
    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    "Content-Disposition: attachment; filename=\"caf\xC3\xA9\"\r\n\r\nplain\r\n--b--\r\n";

/* What a server offers, as letters: 8 BITMIME, B INARYMIME, C HUNKING, U TF8. */
static struct courier_next_hop hop_of(const char *offers)
{
    return (struct courier_next_hop){.eight_bit_mime = strchr(offers, '8') != NULL,
                                     .binary_mime = strchr(offers, 'B') != NULL,
                                     .chunking = strchr(offers, 'C') != NULL,
                                     .smtputf8 = strchr(offers, 'U') != NULL};
}

struct plan_case {
    struct str body;
    uint8_t said; /* envelope.body */
    bool utf8;
    bool in_part; /* only the start is here */
    const char *sender, *recipient, *offers;
    const char *refusal;
    bool unchanged, say_utf8;
    enum smtp_body_type declared;
};

#define BODY(b) str_make(b, sizeof(b) - 1)
#define ANN     "ann@a.example"
#define BOB     "bob@b.example"

static const struct plan_case plan_cases[] = {
    /* 8BITMIME, RFC 6152 §3 */
    {{ascii, sizeof ascii - 1}, 0, 0, 0, ANN, BOB, "", "", true, false, SMTP_BODY_7BIT},
    {{ascii, sizeof ascii - 1}, 0, 0, 0, ANN, BOB, "8", "", true, false, SMTP_BODY_7BIT},
    {{ascii, sizeof ascii - 1}, 1, 0, 0, ANN, BOB, "8", "", true, false, SMTP_BODY_8BITMIME},
    {{ascii, sizeof ascii - 1}, 1, 0, 0, ANN, BOB, "", "", true, false, SMTP_BODY_7BIT},
    {{ascii, sizeof ascii - 1}, 1, 0, 1, ANN, BOB, "", "", false, false, SMTP_BODY_7BIT},
    {{eight, sizeof eight - 1}, 1, 0, 0, ANN, BOB, "8", "", true, false, SMTP_BODY_8BITMIME},
    {{eight, sizeof eight - 1}, 0, 0, 0, ANN, BOB, "8", "", true, false, SMTP_BODY_8BITMIME},
    {{eight, sizeof eight - 1}, 1, 0, 0, ANN, BOB, "BC", "", false, false, SMTP_BODY_7BIT},
    {{eight, sizeof eight - 1}, 0, 0, 0, ANN, BOB, "", "", false, false, SMTP_BODY_7BIT},
    /* BINARYMIME, RFC 3030 §3 */
    {{binary, sizeof binary - 1}, 2, 0, 0, ANN, BOB, "8BC", "", true, false, SMTP_BODY_BINARYMIME},
    {{binary, sizeof binary - 1}, 2, 0, 0, ANN, BOB, "8B", "", false, false, SMTP_BODY_8BITMIME},
    {{binary, sizeof binary - 1}, 2, 0, 0, ANN, BOB, "", "", false, false, SMTP_BODY_7BIT},
    {{ascii, sizeof ascii - 1}, 2, 0, 0, ANN, BOB, "8", "", true, false, SMTP_BODY_8BITMIME},
    /* SMTPUTF8, RFC 6531 §3.2 */
    {{ascii, sizeof ascii - 1}, 1, 1, 0, ANN, BOB, "8U", "", true, false, SMTP_BODY_8BITMIME},
    {{ascii, sizeof ascii - 1}, 1, 1, 0, ANN, BOB, "8", "", true, false, SMTP_BODY_8BITMIME},
    {{ascii, sizeof ascii - 1}, 1, 1, 1, ANN, BOB, "8U", "", true, true, SMTP_BODY_8BITMIME},
    {{ascii, sizeof ascii - 1}, 1, 1, 1, ANN, BOB, "8", "", true, false, SMTP_BODY_8BITMIME},
    {{utf8_header, sizeof utf8_header - 1}, 1, 1, 0, ANN, BOB, "8U", "", true, true, 1},
    {{utf8_header, sizeof utf8_header - 1}, 1, 1, 0, ANN, BOB, "8", "5.6.7", true, false, 1},
    {{utf8_header, sizeof utf8_header - 1}, 1, 0, 0, ANN, BOB, "8", "", true, false, 1},
    {{utf8_part, sizeof utf8_part - 1}, 1, 1, 0, ANN, BOB, "8", "5.6.7", true, false, 1},
    {{ascii, sizeof ascii - 1}, 0, 1, 0, "\xC3\xA4nn@a.example", BOB, "8", "5.6.7", true, 0, 0},
    {{ascii, sizeof ascii - 1},
     0,
     0,
     0,
     ANN,
     "b\xC3\xB6"
     "b@b.example",
     "8",
     "5.6.7",
     true,
     0,
     0},
    {{ascii, sizeof ascii - 1},
     0,
     0,
     0,
     ANN,
     "b\xC3\xB6"
     "b@b.example",
     "8U",
     "",
     true,
     true,
     0},
    {{ascii, sizeof ascii - 1},
     0,
     1,
     0,
     ANN,
     "bob@b\xC3\xBC"
     "cher.example",
     "8",
     "",
     true,
     false,
     0},
    {{ascii, sizeof ascii - 1}, 0, 0, 0, "", BOB, "", "", true, false, SMTP_BODY_7BIT},
};

static void plan(const struct plan_case *c, struct courier_finish_plan *ret_plan)
{
    struct ipc_job_recipient recipient = {.recipient = text_from(str_from_c(c->recipient))};
    struct ipc_job job = {.sender = text_from(str_from_c(c->sender)),
                          .size = c->body.len,
                          .prefix = STR("X-Prefix: 1\r\n"),
                          .envelope = {.body = c->said, .utf8 = c->utf8}};
    struct courier_next_hop hop = hop_of(c->offers);
    courier_finish_plan(&job, &recipient, 1, c->body, !c->in_part, &hop, ret_plan);
}

static void the_plan_follows_what_is_needed_and_offered(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plan_cases / sizeof plan_cases[0]; i++) {
        const struct plan_case *c = &plan_cases[i];
        struct courier_finish_plan p;
        plan(c, &p);
        assert_true(str_eq(p.refusal_status, str_from_c(c->refusal)));
        assert_int_equal(p.refusal_words.len > 0, c->refusal[0] != '\0');
        assert_int_equal(p.unchanged, c->unchanged);
        assert_int_equal(p.say_smtputf8, c->say_utf8);
        assert_int_equal(p.body, c->declared);
        assert_int_equal(p.size, c->unchanged ? c->body.len + strlen("X-Prefix: 1\r\n") : 0);
    }
}

static struct str finish(const struct plan_case *c, struct buf *out)
{
    struct courier_finish_plan p;
    plan(c, &p);
    struct courier_finish *f = courier_finish_begin(&p);
    buf_clear(out);
    for (size_t i = 0; i < c->body.len; i++)
        assert_int_equal(courier_finish_write(f, str_sub(c->body, i, 1), out), FINISH_OK);
    assert_int_equal(courier_finish_end(f, out), FINISH_OK);
    courier_finish_free(f);
    return buf_str(out);
}

static void the_octets_are_the_prefix_and_what_the_plan_says(void **state)
{
    (void)state;
    struct buf out;
    struct plan_case c = {.body = BODY(eight), .sender = ANN, .recipient = BOB, .offers = "8"};
    buf_init(&out, COURIER_FINISH_OUT_MAX(1000));
    assert_true(str_eq(finish(&c, &out), STR("X-Prefix: 1\r\nMIME-Version: 1.0\r\n"
                                             "Content-Transfer-Encoding: 8bit\r\n\r\n"
                                             "a caf\xC3\xA9\r\n")));
    c.offers = "";
    assert_true(str_eq(finish(&c, &out), STR("X-Prefix: 1\r\nMIME-Version: 1.0\r\n"
                                             "Content-Transfer-Encoding: base64\r\n\r\n"
                                             "YSBjYWbDqQ0K\r\n")));
    c.body = BODY(binary);
    c.said = 2;
    assert_true(str_eq(finish(&c, &out), STR("X-Prefix: 1\r\nMIME-Version: 1.0\r\n"
                                             "Content-Transfer-Encoding: base64\r\n\r\n"
                                             "YQBiDQo=\r\n")));
    buf_release(&out);
}

static void what_cannot_be_converted_is_told(void **state)
{
    (void)state;
    struct buf out;
    struct courier_finish_plan p;
    struct plan_case c = {.body = STR("Subject: a\0b\r\n\r\n"),
                          .said = 2,
                          .sender = ANN,
                          .recipient = BOB,
                          .offers = "8"};
    plan(&c, &p);
    struct courier_finish *f = courier_finish_begin(&p);
    buf_init(&out, COURIER_FINISH_OUT_MAX(1000));
    courier_finish_write(f, c.body, &out);
    assert_int_equal(courier_finish_end(f, &out), FINISH_IMPOSSIBLE);
    courier_finish_free(f);
    buf_release(&out);
}

static void a_domain_becomes_a_labels_where_utf8_is_not_said(void **state)
{
    (void)state;
    struct buf out;
    struct text address = text_from(STR("bob@b\xC3\xBC"
                                        "cher.example"));
    buf_init(&out, 1000);
    assert_true(courier_finish_address(&out, address, false));
    assert_true(str_eq(buf_str(&out), STR("bob@xn--bcher-kva.example")));
    buf_clear(&out);
    assert_true(courier_finish_address(&out, address, true));
    assert_true(str_eq(buf_str(&out), text_peek(address)));
    buf_clear(&out);
    assert_true(courier_finish_address(&out, text_from(STR("\"a b\"@[192.0.2.1]")), false));
    assert_true(str_eq(buf_str(&out), STR("\"a b\"@[192.0.2.1]")));
    assert_false(courier_finish_address(&out, text_from(STR("b\xC3\xB6@b.example")), false));
    assert_false(courier_finish_address(&out, text_from(STR("a\r\n@b.example")), true));
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_follows_what_is_needed_and_offered),
        cmocka_unit_test(the_octets_are_the_prefix_and_what_the_plan_says),
        cmocka_unit_test(what_cannot_be_converted_is_told),
        cmocka_unit_test(a_domain_becomes_a_labels_where_utf8_is_not_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
