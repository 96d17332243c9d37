#include "proto/sasl/server.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/testing.h"
#include "base/testing_secret.h"
#include "codec/base64.h"

enum { ITERATIONS = 16 };

static const struct sasl_facts facts = {
    .tls_exporter = {"exporter-octets-exporter-octets-", 32},
    .tls_server_end_point = {"end-point-octets-end-point-octet", 32},
    .nonce = {"123456789012345678", SASL_NONCE_SIZE},
    .fake_secret = {"secret-secret-secret-secret-secr", SASL_SECRET_SIZE},
    .fake_iterations = ITERATIONS,
    .plus_offered = true,
};

static struct sasl_event next(struct sasl_server *e)
{
    struct sasl_event event;
    assert_true(sasl_next(e, &event));
    return event;
}

static enum sasl_failure failure_of(struct sasl_server *e)
{
    struct sasl_event event = next(e);
    assert_int_equal(event.type, SASL_FAILURE);
    assert_false(sasl_next(e, &event));
    sasl_server_free(e);
    return event.failure;
}

/* ---- PLAIN and LOGIN ------------------------------------------------------------------------ */

static struct sasl_server *plain(struct str message)
{
    struct sasl_server *e = sasl_server_new(SASL_PLAIN, &facts);
    assert_non_null(e);
    sasl_input(e, message);
    return e;
}

static void plain_asks_for_the_password_and_ends(void **state)
{
    (void)state;
    enum sasl_answer answers[] = {SASL_ANSWER_YES, SASL_ANSWER_NO, SASL_ANSWER_TEMPORARY};
    for (int i = 0; i < 3; i++) {
        struct sasl_server *e = plain(STR("\0alice@a.test\0p w"));
        struct sasl_event event = next(e);
        assert_int_equal(event.type, SASL_PASSWORD);
        assert_true(str_eq(event.name, STR("alice@a.test")));
        assert_true(str_eq(event.password, STR("p w")));
        assert_false(sasl_next(e, &event));
        sasl_answer_password(e, event.token, answers[i]);
        event = next(e);
        assert_int_equal(event.type, i == 0 ? SASL_SUCCESS : SASL_FAILURE);
        assert_true(str_eq(event.name, STR("alice@a.test")));
        if (i > 0)
            assert_int_equal(event.failure, i == 1 ? SASL_FAILURE_WRONG : SASL_FAILURE_TEMPORARY);
        sasl_server_free(e);
    }
}

/* In PLAIN and in LOGIN, whatever the answer. */
static void a_password_leaves_nothing_behind(void **state)
{
    (void)state;
    struct sasl_event event;
    for (unsigned number = 0; number < 4; number++) {
        bool is_plain = number % 2 == 0;
        struct sasl_server *e =
            is_plain ? sasl_server_new(SASL_PLAIN, &facts) : sasl_server_new(SASL_LOGIN, &facts);
        if (!is_plain) {
            sasl_input(e, STR("alice"));
            next(e);
        }
        struct testing_page page = testing_page_new(is_plain ? "+alice+" : "", number, "");
        if (is_plain)
            page.ptr[0] = page.ptr[6] = '\0';
        sasl_input(e, str_make(page.ptr, page.len));
        testing_page_free(&page);
        event = next(e);
        assert_int_equal(event.type, SASL_PASSWORD);
        assert_true(testing_memory_holds(number));
        sasl_answer_password(e, event.token, number < 2 ? SASL_ANSWER_YES : SASL_ANSWER_NO);
        next(e);
        assert_false(testing_memory_holds(number));
        sasl_server_free(e);
    }
}

static void plain_without_initial_response_starts_with_an_empty_challenge(void **state)
{
    (void)state;
    struct sasl_server *e = sasl_server_new(SASL_PLAIN, &facts);
    struct sasl_event event = next(e);
    assert_int_equal(event.type, SASL_CHALLENGE);
    assert_true(str_empty(event.data));
    assert_false(sasl_next(e, &event));
    sasl_input(e, STR("alice\0alice\0pw"));
    assert_int_equal(next(e).type, SASL_PASSWORD);
    sasl_server_free(e);
}

static void plain_messages_out_of_form_are_malformed(void **state)
{
    (void)state;
    const struct str bad[] = {STR(""),           STR("alice"),      STR("\0alice"),
                              STR("\0alice\0"),  STR("\0\0pw"),     STR("\0alice\0pw\0"),
                              STR("\0a\xFF\0p"), STR("\xFF\0a\0pw")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(failure_of(plain(bad[i])), SASL_FAILURE_MALFORMED);
    static char big[SASL_MESSAGE_MAX + 1];
    assert_int_equal(failure_of(plain(str_make(big, sizeof big))), SASL_FAILURE_MALFORMED);
}

static void nobody_acts_as_another(void **state)
{
    (void)state;
    assert_int_equal(failure_of(plain(STR("bob\0alice\0pw"))), SASL_FAILURE_WRONG);
}

static void login_prompts_for_both(void **state)
{
    (void)state;
    for (int initial = 0; initial < 2; initial++) {
        struct sasl_server *e = sasl_server_new(SASL_LOGIN, &facts);
        if (!initial)
            assert_true(str_eq(next(e).data, STR("Username:")));
        sasl_input(e, STR("alice"));
        struct sasl_event event = next(e);
        assert_int_equal(event.type, SASL_CHALLENGE);
        assert_true(str_eq(event.data, STR("Password:")));
        sasl_input(e, STR("pw"));
        event = next(e);
        assert_int_equal(event.type, SASL_PASSWORD);
        sasl_answer_password(e, event.token, SASL_ANSWER_YES);
        assert_int_equal(next(e).type, SASL_SUCCESS);
        sasl_server_free(e);
    }
    struct sasl_server *e = sasl_server_new(SASL_LOGIN, &facts);
    sasl_input(e, STR(""));
    assert_int_equal(failure_of(e), SASL_FAILURE_MALFORMED);
}

static void mechanisms_are_found_by_name(void **state)
{
    (void)state;
    enum sasl_mechanism m;
    for (int i = 0; i < SASL_MECHANISM_COUNT; i++) {
        assert_true(sasl_mechanism_find(sasl_mechanism_name((enum sasl_mechanism)i), &m));
        assert_int_equal(m, i);
    }
    assert_true(sasl_mechanism_find(STR("scram-sha-256"), &m));
    assert_false(sasl_mechanism_find(STR("CRAM-MD5"), &m));
}

/* ---- SCRAM ---------------------------------------------------------------------------------- */

static struct scram_credential credential_of(struct str password)
{
    struct scram_credential c = {
        .salt = "0123456789abcdef", .salt_size = 16, .iterations = ITERATIONS, .key_count = 2};
    struct str salt = str_make(c.salt, 16);
    assert_true(scram_keys_derive(STR("another"), salt, ITERATIONS, &c.keys[0]));
    assert_true(scram_keys_derive(password, salt, ITERATIONS, &c.keys[1]));
    return c;
}

/* A client's last message: RFC 5802 §3 from the other side. */
static void client_final(struct buf *out, struct str password, struct str bare,
                         struct str server_first, struct str binding)
{
    uint8_t salted[32], client[32], stored[32], signature[32];
    struct buf auth;
    buf_init(&auth, 4096);
    ptrdiff_t comma = str_find_byte(server_first, ',');
    struct str nonce = str_sub(server_first, 2, (size_t)comma - 2);
    buf_printf(out, "c=");
    base64_encode(out, binding);
    buf_printf(out, ",r=%.*s", STR_ARG(nonce));
    buf_printf(&auth, "%.*s,%.*s,%.*s", STR_ARG(bare), STR_ARG(server_first),
               STR_ARG(buf_str(out)));
    struct str rest = str_skip(server_first, (size_t)comma + 3);
    struct buf salt;
    buf_init(&salt, 64);
    assert_true(base64_decode(&salt, str_sub(rest, 0, (size_t)str_find_byte(rest, ','))));
    PKCS5_PBKDF2_HMAC(password.ptr, (int)password.len, (const unsigned char *)salt.ptr,
                      (int)salt.len, ITERATIONS, EVP_sha256(), 32, salted);
    HMAC(EVP_sha256(), salted, 32, (const unsigned char *)"Client Key", 10, client, NULL);
    SHA256(client, 32, stored);
    HMAC(EVP_sha256(), stored, 32, (const unsigned char *)auth.ptr, auth.len, signature, NULL);
    for (int i = 0; i < 32; i++)
        client[i] ^= signature[i];
    buf_printf(out, ",p=");
    base64_encode(out, str_make(client, 32));
    buf_release(&auth);
    buf_release(&salt);
}

struct run {
    enum sasl_mechanism mechanism;
    struct str header;
    struct str bare;
    struct str binding; /* what the client puts in c= */
    struct str password;
    enum sasl_answer answer;
    const struct sasl_facts *facts;
};

#define BARE STR("n=alice,r=clientnonce")

static const struct run good = {SASL_SCRAM_SHA_256, STR("n,,"),      BARE,  STR("n,,"),
                                STR("pencil"),      SASL_ANSWER_YES, &facts};

/* Plays the exchange; leaves the engine at its last event. */
static struct sasl_server *play(struct run r, struct sasl_event *ret_event)
{
    struct scram_credential credential = credential_of(STR("pencil"));
    struct buf message;
    buf_init(&message, 4096);
    struct sasl_server *e = sasl_server_new(r.mechanism, r.facts);
    buf_append_str(&message, r.header);
    buf_append_str(&message, r.bare);
    sasl_input(e, buf_str(&message));
    *ret_event = next(e);
    if (ret_event->type == SASL_CREDENTIAL) {
        sasl_answer_credential(e, ret_event->token, r.answer, ret_event->name, &credential);
        *ret_event = next(e);
    }
    if (ret_event->type == SASL_CHALLENGE) {
        buf_clear(&message);
        client_final(&message, r.password, r.bare, ret_event->data, r.binding);
        sasl_input(e, buf_str(&message));
        *ret_event = next(e);
    }
    buf_release(&message);
    return e;
}

static void assert_succeeds(struct run r)
{
    struct sasl_event event;
    struct sasl_server *e = play(r, &event);
    assert_int_equal(event.type, SASL_CHALLENGE);
    assert_true(str_starts(event.data, STR("v=")));
    assert_false(sasl_next(e, &event));
    sasl_input(e, STR(""));
    event = next(e);
    assert_int_equal(event.type, SASL_SUCCESS);
    assert_true(str_eq(event.name, STR("alice")));
    assert_int_equal(event.key, 1);
    sasl_server_free(e);
}

static void assert_fails(struct run r, enum sasl_failure why)
{
    struct sasl_event event;
    struct sasl_server *e = play(r, &event);
    assert_int_equal(event.type, SASL_FAILURE);
    assert_int_equal(event.failure, why);
    sasl_server_free(e);
}

static void scram_lets_the_right_password_in(void **state)
{
    (void)state;
    assert_succeeds(good);
    struct run r = good;
    r.header = r.binding = STR("n,a=alice,");
    assert_succeeds(r);
    r = good;
    r.bare = STR("n=alice,r=clientnonce,x=extension");
    assert_succeeds(r);
}

static void scram_keeps_others_out(void **state)
{
    (void)state;
    struct run r = good;
    r.password = STR("pencil2");
    assert_fails(r, SASL_FAILURE_WRONG);
    r = good;
    r.answer = SASL_ANSWER_TEMPORARY;
    assert_fails(r, SASL_FAILURE_TEMPORARY);
    r = good;
    r.header = r.binding = STR("n,a=bob,");
    assert_fails(r, SASL_FAILURE_WRONG);
}

static void an_unknown_user_looks_like_a_wrong_password(void **state)
{
    (void)state;
    struct run r = good;
    r.answer = SASL_ANSWER_NO;
    assert_fails(r, SASL_FAILURE_WRONG);
    /* The salt is the same each time, and for all names that the owner takes for one. */
    char first[2][256];
    for (int i = 0; i < 2; i++) {
        struct sasl_server *e = sasl_server_new(SASL_SCRAM_SHA_256, &facts);
        sasl_input(e, i ? STR("n,,n=NOBODY@a.test,r=x") : STR("n,,n=nobody,r=x"));
        sasl_answer_credential(e, next(e).token, SASL_ANSWER_NO, STR("nobody@a.test"), NULL);
        assert_true(str_to_c(next(e).data, first[i], sizeof first[i]));
        sasl_server_free(e);
    }
    assert_string_equal(first[0], first[1]);
}

static void plus_binds_to_the_channel(void **state)
{
    (void)state;
    struct run r = good;
    r.mechanism = SASL_SCRAM_SHA_256_PLUS;
    r.header = STR("p=tls-exporter,,");
    r.binding = STR("p=tls-exporter,,exporter-octets-exporter-octets-");
    assert_succeeds(r);
    r.binding = STR("p=tls-exporter,,exporter-octets-exporter-octetsX");
    assert_fails(r, SASL_FAILURE_BINDING);
    r.header = STR("p=tls-server-end-point,,");
    r.binding = STR("p=tls-server-end-point,,end-point-octets-end-point-octet");
    assert_succeeds(r);
    r.header = r.binding = STR("p=tls-unique,,");
    assert_fails(r, SASL_FAILURE_BINDING);
    struct sasl_facts clear = facts;
    clear.tls_exporter = STR("");
    r.facts = &clear;
    r.header = r.binding = STR("p=tls-exporter,,");
    assert_fails(r, SASL_FAILURE_BINDING);
}

/* RFC 5802 §6. */
static void a_downgrade_is_noticed(void **state)
{
    (void)state;
    struct run r = good;
    r.header = r.binding = STR("y,,");
    assert_fails(r, SASL_FAILURE_BINDING);
    struct sasl_facts none = facts;
    none.plus_offered = false;
    r.facts = &none;
    assert_succeeds(r);
    r = good;
    r.header = STR("y,,"); /* but c= says n: the header was changed on its way */
    r.facts = &none;
    assert_fails(r, SASL_FAILURE_MALFORMED);
    r.header = STR("p=tls-exporter,,");
    assert_fails(r, SASL_FAILURE_MALFORMED);
    r.mechanism = SASL_SCRAM_SHA_256_PLUS;
    r.header = STR("n,,");
    assert_fails(r, SASL_FAILURE_MALFORMED);
}

static void first_messages_out_of_form_are_malformed(void **state)
{
    (void)state;
    const struct str bad[] = {
        STR(""),
        STR("n"),
        STR("n,"),
        STR("n,,"),
        STR("x,,n=a,r=b"),
        STR("p=,,n=a,r=b"),
        STR("n,b=c,n=a,r=b"),
        STR("n,a=,n=a,r=b"),
        STR("n,a=alice"),
        STR("n,,r=b,n=a"),
        STR("n,,n=a"),
        STR("n,,n=,r=b"),
        STR("n,,n=a,r="),
        STR("n,,n=a,r=b,"),
        STR("n,,n=a,r=b c"),
        STR("n,,n=a=,r=b"),
        STR("n,,n=a=2,r=b"),
        STR("n,,n=a=2c,r=b"),
        STR("n,,m=x,n=a,r=b"),
        STR("n,,n=a,r=b,x="),
        STR("n,,n=a,r=b,1=x"),
        STR("n,,n=a,r=b,x=\0"),
        STR("n,,n=\xFF,r=b"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sasl_server *e = sasl_server_new(SASL_SCRAM_SHA_256, &facts);
        sasl_input(e, bad[i]);
        assert_int_equal(failure_of(e), SASL_FAILURE_MALFORMED);
    }
}

static void names_are_unescaped(void **state)
{
    (void)state;
    struct sasl_server *e = sasl_server_new(SASL_SCRAM_SHA_256, &facts);
    sasl_input(e, STR("n,,n=a=2Cb=3Dc,r=x"));
    assert_true(str_eq(next(e).name, STR("a,b=c")));
    sasl_server_free(e);
}

static void final_messages_out_of_form_are_malformed(void **state)
{
    (void)state;
#define NONCE "clientnonceMTIzNDU2Nzg5MDEyMzQ1Njc4"
#define ZEROS "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    const struct str bad[] = {
        STR(""),
        STR("c=biws,r=" NONCE),
        STR("c=biws,r=" NONCE ",p="),
        STR("c=biws,r=" NONCE ",p=AAAA"),
        STR("c=biws,r=" NONCE ",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="),
        STR("c=biws,r=clientnonce,p=" ZEROS),
        STR("r=" NONCE ",c=biws,p=" ZEROS),
        STR("c=biws,r=" NONCE ",x,p=" ZEROS),
        STR("c=biwt,r=" NONCE ",p=" ZEROS),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad + 1; i++) {
        struct scram_credential credential = credential_of(STR("pencil"));
        struct sasl_server *e = sasl_server_new(SASL_SCRAM_SHA_256, &facts);
        sasl_input(e, STR("n,,n=alice,r=clientnonce"));
        sasl_answer_credential(e, next(e).token, SASL_ANSWER_YES, STR("alice"), &credential);
        assert_int_equal(next(e).type, SASL_CHALLENGE);
        if (i < sizeof bad / sizeof *bad) {
            sasl_input(e, bad[i]);
            assert_int_equal(failure_of(e), SASL_FAILURE_MALFORMED);
        } else {
            sasl_input(e, STR("c=biws,r=" NONCE ",x=y,p=" ZEROS));
            assert_int_equal(failure_of(e), SASL_FAILURE_WRONG);
        }
    }
}

static void the_client_says_nothing_more_at_the_end(void **state)
{
    (void)state;
    struct sasl_event event;
    struct sasl_server *e = play(good, &event);
    sasl_input(e, STR("x"));
    assert_int_equal(failure_of(e), SASL_FAILURE_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_asks_for_the_password_and_ends),
        cmocka_unit_test(a_password_leaves_nothing_behind),
        cmocka_unit_test(plain_without_initial_response_starts_with_an_empty_challenge),
        cmocka_unit_test(plain_messages_out_of_form_are_malformed),
        cmocka_unit_test(nobody_acts_as_another),
        cmocka_unit_test(login_prompts_for_both),
        cmocka_unit_test(mechanisms_are_found_by_name),
        cmocka_unit_test(scram_lets_the_right_password_in),
        cmocka_unit_test(scram_keeps_others_out),
        cmocka_unit_test(an_unknown_user_looks_like_a_wrong_password),
        cmocka_unit_test(plus_binds_to_the_channel),
        cmocka_unit_test(a_downgrade_is_noticed),
        cmocka_unit_test(first_messages_out_of_form_are_malformed),
        cmocka_unit_test(names_are_unescaped),
        cmocka_unit_test(final_messages_out_of_form_are_malformed),
        cmocka_unit_test(the_client_says_nothing_more_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
