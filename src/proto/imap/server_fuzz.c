#include "base/bug.h"
#include "proto/imap/engine.h"
#include "proto/imap/testing_owner.h"

/*
 * The whole engine with an owner whose answers and whose world the input chooses as well. The
 * first byte is the configuration; then come bytes of the client, and 0x01 with an act of the
 * owner: the next question of a kind fails with a code, or the selected mailbox changes.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drain(struct owner *o)
{
    struct str out;
    owner_pump(o);
    while (!str_empty(out = imap_server_output(o->engine))) {
        invariant(out.len <= IMAP_OUTPUT_MAX);
        imap_server_output_done(o->engine, out.len > 4096 ? 4096 : out.len);
        owner_pump(o);
    }
}

static void hand_over(struct owner *o)
{
    struct imap_config config = o->config;
    if (!o->engine->stopped || o->engine->state != IMAP_STATE_AUTHENTICATED)
        return;
    config.authenticated = true;
    imap_server_free(o->engine);
    o->engine = imap_server_create(&config, o->now);
    invariant(o->engine);
}

static void feed(struct owner *o, struct str bytes)
{
    drain(o);
    while (!str_empty(bytes)) {
        size_t taken = imap_server_input(o->engine, bytes, o->now);
        bytes = str_skip(bytes, taken);
        drain(o);
        hand_over(o);
        if (o->tls_wanted)
            imap_server_tls_started(o->engine, STR("PLAIN"));
        o->tls_wanted = false;
        /* Every question is answered and all output is taken: the engine may not be stuck. */
        invariant(taken > 0 || str_empty(bytes) || o->engine->input == IMAP_INPUT_COMMAND);
    }
}

static void act(struct owner *o, uint8_t what, uint8_t a, uint8_t b)
{
    struct owner_mailbox *m = o->selected ? o->selected : &o->mailboxes[0];
    switch (what % 6) {
    case 0:
        o->fail_kind = (enum imap_event_kind)(a % IMAP_EVENT_COUNT);
        o->fail_code = (enum imap_code)(1 + b % (IMAP_CODE_COUNT - 1));
        break;
    case 1:
        owner_deliver(o, m, STR("Subject: x\r\n\r\nx"));
        break;
    case 2:
        owner_set_flags(o, m, a, b & IMAP_FLAGS_ALL);
        break;
    case 3:
        owner_expunge(o, m, a);
        break;
    case 4:
        o->now.mono_ms += a * 1000 * b;
        imap_server_tick(o->engine, o->now);
        break;
    default:
        o->few = a & 1;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct owner o;
    struct str rest = str_make(data, size);
    uint8_t bits = size ? data[0] : 0;
    struct imap_config config = {.host_name = "host",
                                 .mechanisms = STR("PLAIN"),
                                 .authenticated = bits & 1,
                                 .clear_login = bits & 2,
                                 .tls_offered = bits & 4,
                                 .tls_active = bits & 8};
    owner_init(&o, &config);
    rest = str_skip(rest, 1);
    while (!str_empty(rest)) {
        ptrdiff_t at = str_find_byte(rest, 1);
        feed(&o, at < 0 ? rest : str_sub(rest, 0, (size_t)at));
        rest = at < 0 ? STR("") : str_skip(rest, (size_t)at + 1);
        if (at >= 0 && rest.len >= 3)
            act(&o, (uint8_t)rest.ptr[0], (uint8_t)rest.ptr[1], (uint8_t)rest.ptr[2]);
        rest = at < 0 ? rest : str_skip(rest, 3);
    }
    drain(&o);
    owner_release(&o);
    return 0;
}
