#include "cli/setup_text.h"

/* The word that stands at the front of text; NULL where there is none. */
static const struct setup_word *word_at(struct str text, const struct setup_word *words)
{
    for (; words->what; words++)
        if (str_starts(text, str_from_c(words->what)))
            return words;
    return NULL;
}

void setup_fill(struct buf *out, struct str template, const struct setup_word *words)
{
    while (!str_empty(template)) {
        const struct setup_word *word = word_at(template, words);
        if (word)
            buf_append_str(out, word->with);
        else
            buf_append_byte(out, template.ptr[0]);
        template = str_skip(template, word ? strlen(word->what) : 1);
    }
}

static void explain_dns(struct buf *out)
{
    static const char text[] =
        "\nDNS records for @DOMAIN@ (MACHINE is this machine's public address):\n\n"
        "  @HOSTNAME@.  A      MACHINE      (AAAA for IPv6)\n"
        "  @DOMAIN@.  MX     10 @HOSTNAME@.\n"
        "  @DOMAIN@.  TXT    \"v=spf1 mx -all\"\n"
        "  _dmarc.@DOMAIN@.  TXT    \"v=DMARC1; p=quarantine\"\n\n"
        "  PTR of MACHINE: @HOSTNAME@ (set it where you rent the address)\n\n"
        "SPF: this machine sends the domain's mail. If another server does too, name it there.\n"
        "DKIM: this version does not sign, so there is no key to publish.\n"
        "MTA-STS and TLSRPT: worth having once a real certificate is in place; the policy has to "
        "be\n"
        "served by a web server at mta-sts.@DOMAIN@, which this version is not, and it reads no\n"
        "reports. What other domains publish is followed.\n";
    buf_append(out, text, sizeof(text) - 1);
}

static void explain_next(struct buf *out)
{
    static const char text[] =
        "\nNext:\n\n"
        "  systemctl daemon-reload && systemctl enable --now postern\n"
        "  get a real certificate for @HOSTNAME@ and name it in /etc/postern/postern.conf\n"
        "  open the ports 25, 465, 587, 143, 993, 110 and 995\n"
        "  postern status\n";
    buf_append(out, text, sizeof(text) - 1);
}

void setup_explain(FILE *out, struct str domain, struct str hostname)
{
    const struct setup_word words[] = {{"@DOMAIN@", domain}, {"@HOSTNAME@", hostname}, {NULL, {0}}};
    struct buf template, text;
    buf_init(&template, 16384);
    buf_init(&text, 65536);
    explain_dns(&template);
    explain_next(&template);
    setup_fill(&text, buf_str(&template), words);
    fwrite(text.ptr, 1, text.len, out);
    buf_release(&text);
    buf_release(&template);
}
