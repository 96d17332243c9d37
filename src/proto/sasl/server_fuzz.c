#include "base/bug.h"
#include "proto/sasl/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * First byte: mechanism and how questions are answered. Then the client's messages, each ended by
 * 0xFF (no mechanism's message holds one).
 */
static void answer(struct sasl_server *e, const struct sasl_event *event, unsigned how)
{
    static struct scram_credential credential = {
        .salt = "salt", .salt_size = 4, .iterations = 1, .key_count = 1};
    enum sasl_answer a = how == 0   ? SASL_ANSWER_YES
                         : how == 1 ? SASL_ANSWER_NO
                                    : SASL_ANSWER_TEMPORARY;
    if (event->type == SASL_CREDENTIAL)
        sasl_answer_credential(e, event->token, a, event->name, &credential);
    else if (event->type == SASL_PASSWORD)
        sasl_answer_password(e, event->token, a);
}

/* False when the exchange has ended. */
static bool pull(struct sasl_server *e, unsigned how)
{
    struct sasl_event event;
    while (sasl_next(e, &event)) {
        if (event.type == SASL_SUCCESS || event.type == SASL_FAILURE)
            return false;
        if (event.type == SASL_CHALLENGE)
            return true;
        invariant(event.name.len > 0);
        answer(e, &event, how);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct sasl_facts facts = {
        .tls_exporter = STR("0123456789abcdef0123456789abcdef"),
        .nonce = STR("123456789012345678"),
        .fake_secret = STR("secret-secret-secret-secret-secr"),
        .fake_iterations = 1,
        .plus_offered = true,
    };
    if (size == 0)
        return 0;
    struct sasl_server *e = sasl_server_new((enum sasl_mechanism)(data[0] % 4), &facts);
    unsigned how = data[0] / 4 % 3;
    struct str rest = str_skip(str_make(data, size), 1), message;
    if (!e)
        return 0;
    if (data[0] & 0x80)
        pull(e, how);
    while (str_split(&rest, (char)0xFF, &message)) {
        sasl_input(e, message);
        if (!pull(e, how))
            break;
    }
    sasl_server_free(e);
    return 0;
}
