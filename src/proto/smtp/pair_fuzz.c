/*
 * Our client against our server: whatever the body and the envelope are, and however they are cut,
 * the server's owner gets exactly them, or the client refuses them and nothing of it arrives.
 */
#include "base/bug.h"
#include "proto/smtp/scan.h"
#include "proto/smtp/testing_pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 6 };

static bool is_mail(struct str body, bool binary)
{
    struct smtp_scan scan = {.binary = binary, .line_size_max = LIMIT_SMTP_TEXT_LINE_SIZE};
    struct str span;
    bool end;
    while (!str_empty(body))
        body = str_skip(body, smtp_scan_take(&scan, body, &span, &end));
    smtp_scan_finish(&scan);
    return scan.fault == SMTP_SCAN_CLEAN;
}

static enum smtp_client_verdict verdict_of(struct str path)
{
    if (str_starts(path, STR("no")))
        return SMTP_CLIENT_REFUSED;
    return str_starts(path, STR("later")) ? SMTP_CLIENT_LATER : SMTP_CLIENT_TAKEN;
}

static void check(const struct pair *p, bool good)
{
    bool wanted = false;
    for (uint32_t i = 0; i < p->message->recipient_count; i++) {
        enum smtp_client_verdict verdict = verdict_of(p->message->recipients[i].path);
        bool refused = p->told[i] == 1 + SMTP_CLIENT_REFUSED;
        wanted = wanted || verdict == SMTP_CLIENT_TAKEN;
        /* A body that is no mail may be found out before the server says its word. */
        if (good || !refused)
            invariant(p->told[i] == 1 + verdict && (good || verdict != SMTP_CLIENT_TAKEN));
    }
    invariant(!good || !p->closed);
    invariant(!good || !wanted || pair_body_arrived(p));
}

/* Printable for sure, as the server wants words that go into reports. */
static void fill_words(char *words, size_t size, uint8_t from)
{
    for (size_t i = 0; i < size; i++)
        words[i] = (char)(' ' + (from + i * 7) % 95);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str paths[] = {STR("a@y.test"), STR("nobody@y.test"), STR("later@y.test"),
                                       STR("\"a b\"@[192.0.2.1]"), STR("c+d=e@y.test")};
    if (size < HEAD)
        return 0;
    struct way way = {
        .lmtp = data[0] & 1,
        .pipelining = data[0] & 2,
        .chunking = data[0] & 4,
        .body = (enum smtp_body_type)(data[0] / 8 % 3),
        .cut = data[1] == 0 ? SIZE_MAX : data[1],
        .piece = data[2] == 0 ? SIZE_MAX : data[2],
    };
    way.chunking = way.chunking || way.body == SMTP_BODY_BINARYMIME;
    char words[32];
    fill_words(words, sizeof words, data[3]);
    struct str word = str_make(words, 1 + data[3] % (sizeof words - 1));
    struct smtp_client_recipient recipients[4];
    for (size_t i = 0; i < 4; i++)
        recipients[i] = (struct smtp_client_recipient){.path = paths[(data[4] >> 2 * i) % 5],
                                                       .notify = data[5] % 2 ? 4 : 0};
    struct str body = str_make(data + HEAD, size - HEAD);
    struct smtp_client_message m = {
        .reverse_path = data[5] & 2 ? STR("") : paths[3],
        .size = data[5] & 4 ? body.len : body.len + 100000,
        .body = way.body,
        .utf8 = data[5] & 8,
        .ret = (enum smtp_ret)(data[5] / 16 % 3),
        .envid = word,
        .recipients = recipients,
        .recipient_count = 1 + data[4] % 4,
    };
    struct pair p;
    pair_init(&p, &way);
    bool good = is_mail(body, way.body == SMTP_BODY_BINARYMIME);
    pair_send(&p, &m, body);
    check(&p, good);
    if (!p.closed) { /* and once more on the same connection */
        pair_send(&p, &m, body);
        check(&p, good);
    }
    pair_release(&p);
    return 0;
}
