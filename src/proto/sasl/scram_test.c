#include "proto/sasl/scram.h"

#include "base/testing.h"
#include "codec/base64.h"

/* RFC 7677 §3. */
#define AUTH_MESSAGE                                                                               \
    "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"          \
    "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"                                                           \
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"

static void decode(struct str text, uint8_t *to, size_t size)
{
    struct buf b;
    buf_init(&b, 100);
    assert_true(base64_decode(&b, text) && b.len == size);
    memcpy(to, b.ptr, size);
    buf_release(&b);
}

static void rfc_7677_example_holds(void **state)
{
    (void)state;
    uint8_t salt[16], proof[SCRAM_KEY_SIZE], signature[SCRAM_KEY_SIZE], want[SCRAM_KEY_SIZE];
    struct scram_keys keys;
    bool fits = false;
    decode(STR("W22ZaJ0SNY7soEsUEjb6gQ=="), salt, sizeof salt);
    decode(STR("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), proof, sizeof proof);
    decode(STR("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), want, sizeof want);
    assert_true(scram_keys_derive(STR("pencil"), str_make(salt, 16), 4096, &keys));
    assert_true(scram_proof_check(&keys, STR(AUTH_MESSAGE), proof, &fits));
    assert_true(fits);
    assert_true(scram_server_signature(&keys, STR(AUTH_MESSAGE), signature));
    assert_memory_equal(signature, want, sizeof want);
}

static void another_message_or_proof_does_not_fit(void **state)
{
    (void)state;
    uint8_t proof[SCRAM_KEY_SIZE];
    struct scram_keys keys;
    bool fits = true;
    decode(STR("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), proof, sizeof proof);
    assert_true(scram_keys_derive(STR("pencil"), STR("salt"), 1, &keys));
    assert_true(scram_proof_check(&keys, STR(AUTH_MESSAGE), proof, &fits));
    assert_false(fits);
}

static void a_made_up_salt_depends_on_name_and_secret(void **state)
{
    (void)state;
    uint8_t a[SCRAM_SALT_SIZE], b[SCRAM_SALT_SIZE], c[SCRAM_SALT_SIZE], d[SCRAM_SALT_SIZE];
    assert_true(scram_fake_salt(STR("secret"), STR("alice"), a));
    assert_true(scram_fake_salt(STR("secret"), STR("alice"), b));
    assert_true(scram_fake_salt(STR("secret"), STR("bob"), c));
    assert_true(scram_fake_salt(STR("other"), STR("alice"), d));
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    assert_memory_not_equal(a, d, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_7677_example_holds),
        cmocka_unit_test(another_message_or_proof_does_not_fit),
        cmocka_unit_test(a_made_up_salt_depends_on_name_and_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
