/* The client's side of SASL against our own server's, and against servers that lie. */

#include "proto/sasl/client.h"

#include <stdio.h>

#include "base/testing.h"
#include "codec/base64.h"

static const struct sasl_facts server_facts = {
    .tls_exporter = {"exporter-octets-exporter-octets-", 32},
    .tls_server_end_point = {"end-point-octets-end-point-octet", 32},
    .nonce = {"123456789012345678", SASL_NONCE_SIZE},
    .fake_secret = {"secret-secret-secret-secret-secr", SASL_SECRET_SIZE},
    .fake_iterations = 4096,
    .plus_offered = true,
};

static struct sasl_client_facts facts_of(struct str name, struct str password)
{
    return (struct sasl_client_facts){
        .name = name,
        .password = password,
        .tls = true,
        .tls_exporter = server_facts.tls_exporter,
        .tls_server_end_point = server_facts.tls_server_end_point,
        .nonce = {"abcdefghijklmnopqr", SASL_NONCE_SIZE},
    };
}

static struct sasl_client *begin(struct str mechanisms, const struct sasl_client_facts *facts)
{
    struct sasl_client *x = NULL;
    assert_int_equal(sasl_client_new(mechanisms, facts, &x), STATUS_OK);
    assert_non_null(x);
    return x;
}

static struct scram_credential credential_of(struct str password)
{
    struct scram_credential c = {
        .salt = "0123456789abcdef", .salt_size = 16, .iterations = 4096, .key_count = 1};
    assert_true(scram_keys_derive(password, str_make(c.salt, 16), 4096, &c.keys[0]));
    return c;
}

static void the_best_that_is_safe_is_chosen(void **state)
{
    (void)state;
    const struct {
        struct str offered;
        bool tls, exporter, end_point;
        struct str chosen; /* empty: none will do */
    } cases[] = {
        {STR("LOGIN PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS"), true, true, true,
         STR("SCRAM-SHA-256-PLUS")},
        {STR("LOGIN PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS"), true, false, true,
         STR("SCRAM-SHA-256-PLUS")},
        {STR("LOGIN PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS"), true, false, false,
         STR("SCRAM-SHA-256")},
        {STR("LOGIN PLAIN scram-sha-256"), false, false, false, STR("SCRAM-SHA-256")},
        {STR("SCRAM-SHA-256-PLUS"), false, true, true, STR("")},
        {STR("LOGIN PLAIN"), true, true, true, STR("PLAIN")},
        {STR("LOGIN CRAM-MD5"), true, true, true, STR("LOGIN")},
        {STR("LOGIN PLAIN"), false, true, true, STR("")},
        {STR("CRAM-MD5 SCRAM-SHA-1 PLAINER"), true, true, true, STR("")},
        {STR(""), true, true, true, STR("")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sasl_client_facts facts = facts_of(STR("ann"), STR("secret"));
        struct sasl_client *x = NULL;
        facts.tls = cases[i].tls;
        facts.tls_exporter = cases[i].exporter ? facts.tls_exporter : STR("");
        facts.tls_server_end_point = cases[i].end_point ? facts.tls_server_end_point : STR("");
        enum status_code status = sasl_client_new(cases[i].offered, &facts, &x);
        assert_int_equal(status, str_empty(cases[i].chosen) ? STATUS_NOT_FOUND : STATUS_OK);
        if (status == STATUS_OK)
            assert_true(str_eq(sasl_client_mechanism(x), cases[i].chosen));
        sasl_client_free(x);
    }
}

/* Speaks the whole exchange with our server; true where both are content. */
static bool log_in(enum sasl_mechanism m, const struct sasl_client_facts *facts,
                   const struct sasl_facts *as_server, struct str right)
{
    struct sasl_client *x = begin(sasl_mechanism_name(m), facts);
    struct sasl_server *s = sasl_server_new(m, as_server);
    struct scram_credential credential = credential_of(right);
    struct sasl_event e;
    struct str said;
    bool content = false;
    if (sasl_client_initial(x, &said))
        sasl_input(s, said);
    while (sasl_next(s, &e)) {
        if (e.type == SASL_CREDENTIAL) {
            sasl_answer_credential(s, e.token, SASL_ANSWER_YES, e.name, &credential);
        } else if (e.type == SASL_PASSWORD) {
            bool fits = str_eq(e.password, right);
            sasl_answer_password(s, e.token, fits ? SASL_ANSWER_YES : SASL_ANSWER_NO);
        } else if (e.type == SASL_CHALLENGE) {
            assert_false(sasl_client_done(x));
            if (sasl_client_step(x, e.data, &said) != STATUS_OK)
                break;
            sasl_input(s, said);
        } else if (e.type == SASL_SUCCESS) {
            content = sasl_client_done(x);
            assert_true(content);
        }
    }
    sasl_client_free(x);
    sasl_server_free(s);
    return content;
}

static void our_own_server_is_content(void **state)
{
    (void)state;
    struct str password = STR("p\xC3\xA4ss, w=rd");
    for (int i = 0; i < SASL_MECHANISM_COUNT; i++) {
        enum sasl_mechanism m = (enum sasl_mechanism)i;
        struct sasl_client_facts facts = facts_of(STR("ann=b,c@x.test"), password);
        struct sasl_facts as_server = server_facts;
        as_server.plus_offered = m == SASL_SCRAM_SHA_256_PLUS; /* "y" is the truth otherwise */
        assert_true(log_in(m, &facts, &as_server, password));
        facts.tls_exporter = STR("");
        assert_true(log_in(m, &facts, &as_server, password));
        assert_false(log_in(m, &facts, &as_server, STR("another")));
    }
}

/* Who sits between client and server, and shows each of them another channel. */
static void somebody_in_between_is_found_out(void **state)
{
    (void)state;
    struct sasl_client_facts facts = facts_of(STR("ann"), STR("secret"));
    struct sasl_facts as_server = server_facts;
    as_server.tls_exporter = STR("another-channel-another-channel-");
    assert_false(log_in(SASL_SCRAM_SHA_256_PLUS, &facts, &as_server, STR("secret")));
    /* He hides that the server offered to bind: the client's "y" tells it. */
    assert_false(log_in(SASL_SCRAM_SHA_256, &facts, &server_facts, STR("secret")));
}

static void names_and_passwords_that_cannot_be_are_refused(void **state)
{
    (void)state;
    const struct {
        struct str mechanism, name, password;
    } cases[] = {
        {STR("PLAIN"), STR(""), STR("p")},
        {STR("PLAIN"), STR("n"), STR("")},
        {STR("PLAIN"), STR("n\0m"), STR("p")},
        {STR("LOGIN"), STR("n"), STR("p\0")},
        {STR("SCRAM-SHA-256"), STR("n\xFF"), STR("p")},
        {STR("SCRAM-SHA-256"), STR("n"), STR("p\x01")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sasl_client_facts facts = facts_of(cases[i].name, cases[i].password);
        struct sasl_client *x = NULL;
        assert_int_equal(sasl_client_new(cases[i].mechanism, &facts, &x), STATUS_INVALID);
        assert_null(x);
    }
}

static void a_server_that_lies_is_given_up(void **state)
{
    (void)state;
    static const char *const first[] = {
        "",
        "r=",
        "e=other-error",
        /* another nonce; ours alone; ours in front, but no salt; too few and too many rounds */
        "r=zzz,s=c2FsdA==,i=4096",
        "r=%s,s=c2FsdA==,i=4096",
        "r=%sx,i=4096",
        "r=%sx,s=c2FsdA==,i=4095",
        "r=%sx,s=c2FsdA==,i=200001",
        "r=%sx,s=c2FsdA==,i=99999999999",
        "r=%sx,s=,i=4096",
        "r=%sx,s=c2F*,i=4096",
        "r=%sx,s=c2FsdA==,i=4096,",
        "r=%sx,s=c2FsdA==",
        "m=new,r=%sx,s=c2FsdA==,i=4096",
        "r=%sx\x7F,s=c2FsdA==,i=4096",
        "r=%sx,s=c2FsdA==,i=-4096",
    };
    struct sasl_client_facts facts = facts_of(STR("ann"), STR("secret"));
    struct buf nonce;
    buf_init(&nonce, 100);
    base64_encode(&nonce, facts.nonce);
    buf_append_byte(&nonce, '\0');
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        struct buf challenge;
        struct str response, before = STR(""), words = str_from_c(first[i]);
        ptrdiff_t at = str_find(words, STR("%s"));
        buf_init(&challenge, 1000);
        buf_append_str(&challenge, at < 0 ? words : str_sub(words, 0, (size_t)at));
        if (at >= 0) {
            buf_append_str(&challenge, str_from_c(nonce.ptr));
            buf_append_str(&challenge, str_skip(words, (size_t)at + 2));
        }
        struct sasl_client *x = begin(STR("SCRAM-SHA-256"), &facts);
        assert_true(sasl_client_initial(x, &before));
        assert_int_equal(sasl_client_step(x, buf_str(&challenge), &response), STATUS_DENIED);
        assert_int_equal(sasl_client_step(x, buf_str(&challenge), &response), STATUS_DENIED);
        assert_false(sasl_client_done(x));
        sasl_client_free(x);
        buf_release(&challenge);
    }
    buf_release(&nonce);
}

/* RFC 5802 §5: the proof is the server's to give as well. */
static void a_server_that_does_not_know_the_password_is_given_up(void **state)
{
    (void)state;
    static const struct str finals[] = {
        STR("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        STR("v="),
        STR(""),
        STR("e=invalid-proof"),
        STR("v=AAAA"),
        STR("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")};
    struct sasl_client_facts facts = facts_of(STR("ann"), STR("secret"));
    for (size_t i = 0; i < sizeof finals / sizeof finals[0]; i++) {
        struct sasl_client *x = begin(STR("SCRAM-SHA-256"), &facts);
        struct buf first;
        struct str response;
        buf_init(&first, 1000);
        buf_append_str(&first, STR("r="));
        base64_encode(&first, facts.nonce);
        buf_append_str(&first, STR("x,s=c2FsdA==,i=4096"));
        assert_int_equal(sasl_client_step(x, buf_str(&first), &response), STATUS_OK);
        assert_false(sasl_client_done(x));
        assert_int_equal(sasl_client_step(x, finals[i], &response), STATUS_DENIED);
        assert_false(sasl_client_done(x));
        sasl_client_free(x);
        buf_release(&first);
    }
}

static void nothing_is_said_behind_the_end(void **state)
{
    (void)state;
    struct sasl_client_facts facts = facts_of(STR("ann"), STR("secret"));
    struct sasl_client *x = begin(STR("PLAIN"), &facts);
    struct str said;
    assert_true(sasl_client_initial(x, &said) && str_eq(said, STR("\0ann\0secret")));
    assert_true(sasl_client_done(x));
    assert_int_equal(sasl_client_step(x, STR("once more"), &said), STATUS_DENIED);
    assert_false(sasl_client_done(x));
    sasl_client_free(x);
    x = begin(STR("LOGIN"), &facts);
    assert_false(sasl_client_initial(x, &said));
    assert_int_equal(sasl_client_step(x, STR("Benutzername?"), &said), STATUS_OK);
    assert_true(str_eq(said, STR("ann")) && !sasl_client_done(x));
    assert_int_equal(sasl_client_step(x, STR(""), &said), STATUS_OK);
    assert_true(str_eq(said, STR("secret")) && sasl_client_done(x));
    assert_int_equal(sasl_client_step(x, STR(""), &said), STATUS_DENIED);
    sasl_client_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_that_is_safe_is_chosen),
        cmocka_unit_test(our_own_server_is_content),
        cmocka_unit_test(somebody_in_between_is_found_out),
        cmocka_unit_test(names_and_passwords_that_cannot_be_are_refused),
        cmocka_unit_test(a_server_that_lies_is_given_up),
        cmocka_unit_test(a_server_that_does_not_know_the_password_is_given_up),
        cmocka_unit_test(nothing_is_said_behind_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
