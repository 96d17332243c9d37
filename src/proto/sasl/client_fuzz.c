/* What a server may say to a client: challenges, parted by NUL. */
#include "base/bug.h"
#include "proto/sasl/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str mechanisms[] = {STR("PLAIN"), STR("LOGIN"), STR("SCRAM-SHA-256"),
                                            STR("SCRAM-SHA-256-PLUS")};
    if (size < 1)
        return 0;
    struct sasl_client_facts facts = {
        .name = STR("ann,b=c"),
        .password = STR("secret"),
        .tls = true,
        .tls_exporter = STR("exporter"),
        .nonce = {"abcdefghijklmnopqr", SASL_NONCE_SIZE},
    };
    struct sasl_client *x = NULL;
    struct str rest = str_make(data + 1, size - 1), challenge, response;
    if (sasl_client_new(mechanisms[data[0] % 4], &facts, &x) != STATUS_OK)
        return 0;
    bool ended = false;
    while (str_split(&rest, '\0', &challenge)) {
        bool ok = sasl_client_step(x, challenge, &response) == STATUS_OK;
        invariant(!(ok && ended));
        ended = ended || !ok;
        /* Nobody can show what only the password tells. */
        invariant(data[0] % 4 < 2 || !sasl_client_done(x));
    }
    sasl_client_free(x);
    return 0;
}
