#include <stdlib.h>

#include "base/bug.h"
#include "base/limits.h"
#include "proto/pop3/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* First octet: the stage, how questions are answered, and the size of pieces. */

enum { MESSAGES = 3, OUTPUT_BOUND = 128 * 1024 };

static struct pop3_server *start(uint8_t how, struct now now)
{
    static const struct pop3_config config = {.hostname = STR("h"),
                                              .mechanisms = STR("PLAIN"),
                                              .mechanisms_tls = STR("PLAIN LOGIN"),
                                              .starttls = true,
                                              .password_clear = true,
                                              .login_ms = 1000,
                                              .idle_ms = 1000};
    if (how & 1)
        return pop3_server_new_login(&config, how & 2, now);
    struct pop3_maildrop m = {.uid_validity = 1, .count = MESSAGES};
    m.messages = calloc(MESSAGES, sizeof *m.messages);
    for (uint32_t i = 0; m.messages && i < MESSAGES; i++)
        m.messages[i] = (struct pop3_message){.octets = i * 40000, .uid = i + 1};
    return pop3_server_new_maildrop(&config, true, m, now);
}

static void act(struct pop3_server *e, const struct pop3_event *event, uint8_t how, struct now now)
{
    static const char text[] = "a: b\r\n\r\n.\r\n..x\r\r\n\n.";
    switch (event->type) {
    case POP3_SASL_START:
    case POP3_SASL_DATA:
        if (event->data.len % 2 == 0) {
            pop3_answer_challenge(e, event->token, event->data, now);
            break;
        }
        /* fall through */
    case POP3_LOGIN:
        pop3_answer_login(e, event->token, (enum pop3_login)(how / 4 % 5), now);
        break;
    case POP3_STARTTLS:
        pop3_tls_started(e, now);
        break;
    case POP3_READ:
        pop3_answer_read(e, event->token, how & 64 ? STATUS_IO : STATUS_OK,
                         str_sub(str_make(text, sizeof text), 0, event->size), now);
        break;
    case POP3_UPDATE:
        invariant(event->deleted > 0);
        pop3_answer_update(e, event->token, STATUS_OK, now);
        break;
    default:
        break;
    }
}

static void run(struct pop3_server *e, struct str rest, uint8_t how)
{
    struct now now = {0};
    struct pop3_event event;
    bool moved = true;
    while (moved) {
        size_t n = pop3_input(e, str_sub(rest, 0, how & 128 ? 1 : rest.len), now);
        rest = str_skip(rest, n);
        moved = n > 0;
        while (pop3_next(e, &event)) {
            act(e, &event, how, now);
            moved = true;
        }
        n = pop3_output(e).len;
        invariant(n < OUTPUT_BOUND);
        pop3_output_done(e, n);
        moved |= n > 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct now now = {0};
    if (size == 0)
        return 0;
    struct pop3_server *e = start(data[0], now);
    if (!e)
        return 0;
    run(e, str_skip(str_make(data, size), 1), data[0]);
    pop3_server_free(e);
    return 0;
}
