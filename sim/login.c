#include "sim/login.h"

#include "base/bug.h"
#include "codec/base64.h"
#include "io/random.h"

enum { MESSAGE_MAX = 8192 };

void login_drop(struct login *l)
{
    sasl_client_free(l->client);
    l->client = NULL;
}

void login_begin(struct login *l, struct world *w, unsigned account, struct buf *out)
{
    char nonce[SASL_NONCE_SIZE];
    struct str initial = {0};
    struct sasl_client_facts facts = {.name = str_from_c(world_names[account]),
                                      .password = STR(WORLD_PASSWORD),
                                      .tls = true,
                                      .nonce = str_make(nonce, sizeof nonce)};
    login_drop(l);
    random_bytes(nonce, sizeof nonce);
    invariant(sasl_client_new(world_draw(w, 2) ? STR("PLAIN") : STR("SCRAM-SHA-256"), &facts,
                              &l->client) == STATUS_OK);
    struct str name = sasl_client_mechanism(l->client);
    buf_printf(out, "%.*s ", STR_ARG(name));
    invariant(sasl_client_initial(l->client, &initial));
    base64_encode(out, initial);
}

bool login_step(struct login *l, struct str challenge, struct buf *out)
{
    struct buf plain;
    struct str response;
    buf_init(&plain, MESSAGE_MAX);
    bool good = l->client && base64_decode(&plain, challenge) &&
                sasl_client_step(l->client, buf_str(&plain), &response) == STATUS_OK;
    if (good)
        base64_encode(out, response);
    buf_release(&plain);
    return good;
}

bool login_done(struct login *l)
{
    bool done = l->client && sasl_client_done(l->client);
    login_drop(l);
    return done;
}
