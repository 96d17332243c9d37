#include "roles/config.h"

#include "base/testing.h"

struct read {
    struct arena arena;
    struct conf_errors errors;
    struct config config;
    enum status_code status;
    struct buf printed;
};

static void read_text(struct read *r, const char *text)
{
    *r = (struct read){0};
    arena_init(&r->arena, CONFIG_ARENA_SIZE);
    conf_errors_init(&r->errors, &r->arena);
    r->status = config_parse(str_from_c(text), &r->arena, &r->config, &r->errors);
    buf_init(&r->printed, 1 << 20);
    conf_errors_print(&r->errors, STR("f"), &r->printed);
    buf_append_byte(&r->printed, '\0');
}

static void release(struct read *r)
{
    buf_release(&r->printed);
    arena_reset(&r->arena);
}

static void read_well(struct read *r, const char *text)
{
    read_text(r, text);
    assert_string_equal(r->printed.ptr, "");
    assert_int_equal(r->status, STATUS_OK);
}

/* `text` behind two lines that are always needed: errors begin in line 3. */
static void expect_errors(const char *text, const char *errors)
{
    struct read r;
    struct buf whole;
    buf_init(&whole, 100000);
    buf_printf(&whole, "hostname h.test\ndata /d\n%s", text);
    buf_append_byte(&whole, '\0');
    read_text(&r, whole.ptr);
    assert_string_equal(r.printed.ptr, errors);
    assert_int_equal(r.status, STATUS_INVALID);
    release(&r);
    buf_release(&whole);
}

static void assert_str(struct str s, const char *wanted)
{
    assert_int_equal(s.len, strlen(wanted));
    assert_memory_equal(s.ptr, wanted, s.len);
}

static void a_short_file_has_sensible_defaults(void **state)
{
    (void)state;
    struct read r;
    read_well(&r, "hostname MX.B\xC3\xBC"
                  "cher.example\ndata /var/lib/postern\n");
    assert_str(r.config.hostname, "mx.xn--bcher-kva.example");
    assert_str(r.config.control, "/var/lib/postern/control");
    assert_str(r.config.users[ROLE_KEEPER], "postern-keeper");
    assert_str(r.config.group, "postern");
    assert_int_equal(r.config.processes[ROLE_EDGE], 0);
    assert_int_equal(r.config.recipient_delimiter, '+');
    assert_true(r.config.reverse_dns);
    assert_int_equal(r.config.mailbox_count, 5);
    assert_str(r.config.mailboxes[1].use, "sent");
    assert_int_equal(r.config.limits.message_size, 50 * 1024 * 1024);
    assert_int_equal(r.config.retention_expunged_ms, 7 * 86400000);
    release(&r);
}

static void every_directive_arrives(void **state)
{
    (void)state;
    struct read r;
    read_well(&r,
              "hostname h.test\ndata /d\ncontrol /run/c\nuser edge e\nuser vault 901\n"
              "group mail\nprocesses edge 2\nprocesses mailroom 3\n"
              "certificate /c.pem /k.pem\ncertificate /c2.pem \"/k 2.pem\"\n"
              "trust 127.0.0.0/8 ::1\ntrust 10.1.2.3\nlogin-domain example.org\n"
              "recipient-delimiter -\nreverse-dns no\n"
              "default-mailbox \"Sent Items\" sent\ndefault-mailbox Lists\n"
              "retention expunged 30d\nlog {\n format json\n level debug\n}\n"
              "resolver {\n forward 192.0.2.1 [2001:db8::1]:5353\n stub example.test 192.0.2.2:54\n"
              " nodefault test 10.in-addr.arpa\n}\n"
              "limits {\n message-size 1M\n idle-time 90s\n recipients 7\n tarpit 0s\n "
              "greeting-delay 2500ms\n role-silence 5s\n}\n");
    const struct config *c = &r.config;
    assert_str(c->control, "/run/c");
    assert_str(c->users[ROLE_EDGE], "e");
    assert_str(c->users[ROLE_VAULT], "901");
    assert_int_equal(c->processes[ROLE_MAILROOM], 3);
    assert_int_equal(c->certificate_count, 2);
    assert_str(c->certificates[1].key_file, "/k 2.pem");
    assert_int_equal(c->trust.count, 3);
    assert_int_equal(c->recipient_delimiter, '-');
    assert_false(c->reverse_dns);
    assert_int_equal(c->mailbox_count, 2);
    assert_str(c->mailboxes[0].name, "Sent Items");
    assert_str(c->mailboxes[1].use, "");
    assert_int_equal(c->retention_expunged_ms, INT64_C(30) * 86400000);
    assert_true(c->log_json);
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_int_equal(c->resolver.forward_count, 2);
    assert_str(c->resolver.forward[1].address, "2001:db8::1");
    assert_int_equal(c->resolver.forward[1].port, 5353);
    assert_int_equal(c->resolver.stubs[0].servers[0].port, 54);
    assert_int_equal(c->resolver.nodefault_count, 2);
    assert_int_equal(c->limits.message_size, 1 << 20);
    assert_int_equal(c->limits.smtp_idle_ms, 90000);
    assert_int_equal(c->limits.recipients, 7);
    assert_int_equal(c->limits.tarpit_ms, 0);
    assert_int_equal(c->limits.greeting_delay_ms, 2500);
    assert_int_equal(c->limits.role_silence_ms, 5000);
    release(&r);
}

static void listeners_are_read_with_their_kind_and_block(void **state)
{
    (void)state;
    struct read r;
    read_well(&r, "hostname h.test\ndata /d\ncertificate /c /k\n"
                  "listen mx 192.0.2.1:25 [2001:db8::1]:25 systemd:smtp {\n"
                  " proxy-from 10.0.0.0/8\n normalise-line-ends yes\n}\n"
                  "listen submission *:587\nlisten imaps *:993\nlisten imap *:143 {\n tls no\n}\n"
                  "listen lmtp 127.0.0.1:24\nlisten metrics 127.0.0.1:9000\n"
                  "listen sendmail unix:/run/postern/sendmail systemd:sendmail\n");
    const struct config_listener *l = r.config.listeners;
    assert_int_equal(r.config.listener_count, 10);
    assert_int_equal(l[0].at, LISTEN_AT_IPV4);
    assert_memory_equal(l[0].octets, "\0\0\0\0\0\0\0\0\0\0\xFF\xFF\xC0\0\2\1", 16);
    assert_int_equal(l[0].tls, LISTEN_TLS_STARTTLS);
    assert_true(l[2].normalise_line_ends);
    assert_int_equal(l[1].at, LISTEN_AT_IPV6);
    assert_int_equal(l[1].port, 25);
    assert_int_equal(l[2].at, LISTEN_AT_SYSTEMD);
    assert_str(l[2].systemd_name, "smtp");
    assert_int_equal(l[3].at, LISTEN_AT_ANY);
    assert_int_equal(l[3].tls, LISTEN_TLS_REQUIRED);
    assert_int_equal(l[4].tls, LISTEN_TLS_REQUIRED);
    assert_int_equal(l[5].tls, LISTEN_TLS_NO);
    assert_int_equal(l[6].tls, LISTEN_TLS_NO);
    assert_int_equal(l[8].at, LISTEN_AT_UNIX);
    assert_str(l[8].unix_path, "/run/postern/sendmail");
    assert_int_equal(l[8].tls, LISTEN_TLS_NO);
    assert_true(
        networks_have(&l[0].proxy_from, (const uint8_t *)"\0\0\0\0\0\0\0\0\0\0\xFF\xFF\x0A\1\2\3"));
    assert_false(
        networks_have(&l[0].proxy_from, (const uint8_t *)"\0\0\0\0\0\0\0\0\0\0\xFF\xFF\x0B\1\2\3"));
    release(&r);
}

static void every_error_is_told_at_once(void **state)
{
    (void)state;
    struct read r;
    read_text(&r,
              "hostnam x\ncontrol relative\nlisten mx 1.2.3:25 1.2.3.4 1.2.3.4:0 [1.2.3.4]:1\n");
    assert_string_equal(
        r.printed.ptr,
        "f:1:1: there is no directive \"hostnam\" here; did you mean \"hostname\"?\n"
        "f:1:1: the directive \"hostname\" is missing\n"
        "f:1:1: the directive \"data\" is missing\n"
        "f:2:9: control: \"relative\" is no absolute path (it begins with \"/\")\n"
        "f:3:11: listen: \"1.2.3:25\" has no IP address before its port (IPv6 stands in brackets)\n"
        "f:3:20: listen: \"1.2.3.4\" has no port (like 192.0.2.1:25, [2001:db8::1]:25 or *:25)\n"
        "f:3:28: listen: \"1.2.3.4:0\" does not end in a port from 1 to 65535\n"
        "f:3:38: listen: \"[1.2.3.4]:1\" has no IP address before its port (IPv6 stands in "
        "brackets)\n");
    release(&r);
}

static void shapes_are_checked(void **state)
{
    (void)state;
    expect_errors("hostname a b\n", "f:3:1: hostname was given already, in line 1\n"
                                    "f:3:12: hostname: this is one argument too many\n");
    expect_errors("trust\nuser edge\n", "f:3:1: trust: an argument is missing\n"
                                        "f:4:6: user: more arguments are needed\n");
    expect_errors("trust ::1 {\n}\nlog\n", "f:3:1: trust has no block\n"
                                           "f:5:1: log needs a block: { ... }\n");
    expect_errors("message-size 1M\n",
                  "f:3:1: the directive \"message-size\" belongs into the block of \"limits\"\n");
    expect_errors("xyzzyplugh 1\n", "f:3:1: there is no directive \"xyzzyplugh\" here\n");
    expect_errors("log {\n levle info\n}\n",
                  "f:4:2: there is no directive \"levle\" here; did you mean \"level\"?\n");
}

static void values_are_checked(void **state)
{
    (void)state;
    expect_errors("limits {\n message-size 1\n recipients 1K\n idle-time 5\n errors 0\n}\n",
                  "f:4:15: message-size: \"1\" is less than this may be\n"
                  "f:5:13: recipients: \"1K\" is no number\n"
                  "f:6:12: idle-time: \"5\" is no duration (like 90s, 5m, 1h or 7d)\n"
                  "f:7:9: errors: \"0\" is less than this may be\n");
    expect_errors("trust 10.0.0.1/8 ::/129 10.0.0.0/33\n",
                  "f:3:7: trust: \"10.0.0.1/8\" has bits set behind its prefix\n"
                  "f:3:18: trust: \"::/129\" has a wrong prefix length\n"
                  "f:3:25: trust: \"10.0.0.0/33\" has a wrong prefix length\n");
    expect_errors(
        "user edge root\nuser warden x\nuser edge 0\nprocesses vault 2\n",
        "f:3:11: user: \"root\" is root, which no role may be\n"
        "f:4:6: user: \"warden\" is none of edge, courier, keeper, mailroom, vault\n"
        "f:5:11: user: \"0\" is root, which no role may be\n"
        "f:6:11: processes: \"vault\" is not edge or mailroom; of the others there is one "
        "each\n");
    expect_errors("login-domain a_b\nrecipient-delimiter xx\nreverse-dns maybe\n",
                  "f:3:14: login-domain: \"a_b\" is no host name\n"
                  "f:4:21: recipient-delimiter: \"xx\" is none of + - _ = ~ \"#\" none\n"
                  "f:5:13: reverse-dns: \"maybe\" is neither yes nor no\n");
    expect_errors(
        "default-mailbox INBOX\ndefault-mailbox A sent\ndefault-mailbox B sent\n"
        "default-mailbox C all\n",
        "f:3:17: default-mailbox: \"INBOX\" is no name for a mailbox\n"
        "f:5:17: default-mailbox: \"B\" has a name or a use that another mailbox has "
        "already\n"
        "f:6:19: default-mailbox: \"all\" is none of archive, drafts, junk, sent, trash\n");
}

static void what_belongs_together_is_checked(void **state)
{
    (void)state;
    expect_errors("listen imaps *:993\nlisten imap *:143\n",
                  "f:3:14: listen: imaps here needs a certificate, and none is given\n"
                  "f:4:13: listen: imap here needs a certificate, and none is given (or say \"tls "
                  "no\")\n");
    expect_errors("listen mx *:25 127.0.0.1:25\nlisten lmtp 127.0.0.1:24 127.0.0.1:24\n",
                  "f:3:16: listen: \"127.0.0.1:25\" is taken already, in line 3\n"
                  "f:4:26: listen: \"127.0.0.1:24\" is taken already, in line 4\n");
    expect_errors("certificate /c /k\nlisten imaps *:993 {\n tls no\n normalise-line-ends no\n}\n",
                  "f:5:2: tls: a listener of the kind imaps has no choice\n"
                  "f:6:2: normalise-line-ends: a listener of the kind imaps takes no messages\n");
    expect_errors("listen smtp *:25\n",
                  "f:3:8: listen: \"smtp\" is no kind of listener (mx, submission, submissions, "
                  "lmtp, sendmail, imap, imaps, pop3, pop3s, metrics)\n");
    expect_errors(
        "listen sendmail 127.0.0.1:25 unix:run unix:/a unix:/a\nlisten lmtp unix:/b\n",
        "f:3:17: listen: \"127.0.0.1:25\" does not fit: sendmail listens at unix:/path, and "
        "nothing else does\n"
        "f:3:30: listen: \"unix:run\" has no absolute path, of a length that a socket can "
        "have, behind \"unix:\"\n"
        "f:3:47: listen: \"unix:/a\" is taken already, in line 3\n"
        "f:4:13: listen: \"unix:/b\" does not fit: sendmail listens at unix:/path, and "
        "nothing else does\n");
}

static void the_way_out_has_sensible_defaults(void **state)
{
    (void)state;
    struct read r;
    read_well(&r, "hostname h.test\ndata /d\n");
    const struct config_outbound *o = &r.config.outbound;
    assert_true(o->enabled);
    assert_int_equal(o->lifetime_ms, 5 * 86400000);
    assert_int_equal(o->delay_notice_ms, 4 * 3600000);
    assert_int_equal(o->retry_count, 7);
    assert_int_equal(o->retry_ms[0], 60000);
    assert_int_equal(o->port, 25);
    assert_int_equal(o->recipients_per_day, 2000);
    assert_false(o->has_source_ipv4 || o->has_source_ipv6);
    assert_true(networks_have(&o->refused, (uint8_t[16]){[10] = 0xFF, 0xFF, 127, 9, 9, 9}));
    assert_true(networks_have(&o->refused, (uint8_t[16]){[10] = 0xFF, 0xFF, 0, 0, 0, 1}));
    assert_true(networks_have(&o->refused, (uint8_t[16]){[15] = 1}));
    assert_true(networks_have(&o->refused, (uint8_t[16]){0}));
    assert_false(networks_have(&o->refused, (uint8_t[16]){[10] = 0xFF, 0xFF, 128, 0, 0, 1}));
    assert_true(o->dane && o->mta_sts);
    assert_int_equal(r.config.routes.count, 0);
    assert_int_equal(r.config.relay_from.count, 0);
    release(&r);
}

static void the_way_out_is_read(void **state)
{
    (void)state;
    struct read r;
    read_well(&r,
              "hostname h.test\ndata /d\nrelay-from 10.0.0.0/8\nrelay-from ::1\n"
              "outbound {\n enabled no\n lifetime 2d\n delay-notice 1h\n retry 1s 2m\n timeout 9s\n"
              " connections 9\n connections-per-destination 3\n messages-per-connection 7\n"
              " recipients-per-day 0\n port 2525\n source 192.0.2.9 2001:db8::9\n"
              " refuse-addresses none\n dane no\n mta-sts no\n mta-sts-port 8443\n"
              " ca-file /ca.pem\n}\n"
              "resolver {\n trust-anchor /a.key\n trust-anchor /b.key\n}\n"
              "policy big.test .big.test {\n tls dane\n connections 4\n rate 600\n}\n"
              "policy * {\n rate 60\n}\n");
    const struct config_outbound *o = &r.config.outbound;
    assert_false(o->enabled || o->dane || o->mta_sts);
    assert_int_equal(r.config.relay_from.count, 2);
    assert_int_equal(o->lifetime_ms, 2 * 86400000);
    assert_int_equal(o->timeout_ms, 9000);
    assert_int_equal(o->delay_notice_ms, 3600000);
    assert_int_equal(o->retry_count, 2);
    assert_int_equal(o->retry_ms[1], 120000);
    assert_int_equal(o->connections, 9);
    assert_int_equal(o->connections_per_destination, 3);
    assert_int_equal(o->messages_per_connection, 7);
    assert_int_equal(o->recipients_per_day, 0);
    assert_int_equal(o->port, 2525);
    assert_true(o->has_source_ipv4 && o->has_source_ipv6);
    assert_int_equal(o->source_ipv4[12], 192);
    assert_int_equal(o->source_ipv6[15], 9);
    assert_int_equal(o->refused.count, 0);
    assert_int_equal(o->mta_sts_port, 8443);
    assert_str(o->ca_file, "/ca.pem");
    assert_int_equal(r.config.resolver.trust_anchor_count, 2);
    assert_str(r.config.resolver.trust_anchors[1], "/b.key");
    const struct config_policy *policy = config_policy_of(&r.config, STR("a.big.test"));
    assert_true(policy->has_tls);
    assert_int_equal(policy->tls, ROUTE_TLS_DANE);
    assert_int_equal(policy->connections, 4);
    assert_int_equal(policy->rate_per_minute, 600);
    policy = config_policy_of(&r.config, STR("small.test"));
    assert_false(policy->has_tls);
    assert_int_equal(policy->rate_per_minute, 60);
    release(&r);
}

static void routes_are_read_with_their_places(void **state)
{
    (void)state;
    struct read r;
    read_well(&r, "hostname h.test\ndata /d\n"
                  "route smart {\n domains example.com\n domains .B\xC3\xBC"
                  "cher.test *\n"
                  " to smtp.example.net:587 192.0.2.1 [2001:db8::1]:26 2001:db8::2\n"
                  " auth me@example.net /etc/password\n}\n"
                  "route lists {\n domains l.test\n to unix:/run/l 127.0.0.1:24\n protocol lmtp\n"
                  " auth x /p\n}\n"
                  "route office {\n domains o.test\n to office.test\n lookup srv\n"
                  " service submission\n tls required\n}\n");
    const struct route_rule *rule = r.config.routes.list;
    assert_int_equal(r.config.routes.count, 3);
    assert_str(rule[0].name, "smart");
    assert_int_equal(rule[0].domain_count, 3);
    assert_str(rule[0].domains[1], ".xn--bcher-kva.test");
    assert_int_equal(rule[0].place_count, 4);
    assert_str(rule[0].places[0].host, "smtp.example.net");
    assert_int_equal(rule[0].places[0].port, 587);
    assert_true(rule[0].places[1].has_address);
    assert_int_equal(rule[0].places[1].port, 0);
    assert_int_equal(rule[0].places[2].port, 26);
    assert_int_equal(rule[0].places[3].octets[15], 2);
    assert_int_equal(rule[0].tls, ROUTE_TLS_VERIFIED);
    assert_str(rule[0].login, "me@example.net");
    assert_str(rule[1].places[0].unix_path, "/run/l");
    assert_true(rule[1].lmtp);
    assert_int_equal(rule[1].tls, ROUTE_TLS_OPPORTUNISTIC);
    assert_int_equal(rule[2].lookup, ROUTE_LOOKUP_SRV);
    assert_str(rule[2].service, "submission");
    assert_int_equal(rule[2].tls, ROUTE_TLS_REQUIRED);
    release(&r);
}

static void what_is_wrong_with_a_route_is_told(void **state)
{
    (void)state;
    expect_errors("route a/b {\n domains a_b\n to a..b h.test:0\n lookup ptr\n protocol uucp\n"
                  " tls dane\n service -x\n auth \"\" p\n}\n",
                  "f:3:1: route: \"domains\" is missing in its block, or has none\n"
                  "f:3:1: route: \"to\" is missing in its block, or has no place\n"
                  "f:3:7: route: \"a/b\" is no name (letters, digits and - _ . only, 64 at most)\n"
                  "f:4:10: domains: \"a_b\" is no domain (like example.org, .example.org or *)\n"
                  "f:5:5: to: \"a..b\" is no host or address\n"
                  "f:5:10: to: \"h.test:0\" does not end in a port from 1 to 65535\n"
                  "f:6:9: lookup: \"ptr\" is none of address, mx, srv\n"
                  "f:7:11: protocol: \"uucp\" is neither smtp nor lmtp\n"
                  "f:8:6: tls: \"dane\" is none of opportunistic, required, verified, no\n"
                  "f:9:10: service: \"-x\" is no name of a service (like submission)\n"
                  "f:10:7: auth: \"\" is no login name\n");
    expect_errors("route r {\n domains *\n to h.test\n tls opportunistic\n auth u /p\n}\n"
                  "route r {\n domains *\n to unix:/s 192.0.2.1\n lookup mx\n service s\n}\n",
                  "f:3:1: route: \"auth\" needs \"tls verified\" (or \"required\") where the "
                  "server is not on this machine\n"
                  "f:9:1: route: \"service\" is for \"lookup srv\" only\n"
                  "f:9:1: route: a Unix socket is for \"protocol lmtp\" only\n"
                  "f:9:1: route: \"lookup mx\" and \"lookup srv\" need the name of a domain in "
                  "\"to\"\n"
                  "f:9:1: route: \"lookup mx\" and \"lookup srv\" need the name of a domain in "
                  "\"to\"\n"
                  "f:9:7: route: \"r\" is the name of another route already\n");
    expect_errors("route r {\n domains *\n to h.test:25\n lookup srv\n}\nroute s\n",
                  "f:3:1: route: \"lookup srv\" finds the port: there is to be none in \"to\"\n"
                  "f:8:1: route needs a block: { ... }\n");
}

static void what_is_wrong_with_the_way_out_is_told(void **state)
{
    (void)state;
    expect_errors("outbound {\n retry 1m 0s x\n source 1.2.3.4 5.6.7.8\n port 0\n lifetime 0s\n"
                  " refuse-addresses none 1.2.3.4\n ca-file x\n}\n"
                  "policy -x {\n tls maybe\n connections 0\n rate x\n}\n",
                  "f:4:11: retry: \"0s\" is not between 1s and 7d\n"
                  "f:4:14: retry: \"x\" is no duration (like 90s, 5m, 1h or 7d)\n"
                  "f:5:17: source: \"5.6.7.8\" is a second address of its family\n"
                  "f:6:7: port: \"0\" is less than this may be\n"
                  "f:7:11: lifetime: \"0s\" is less than this may be\n"
                  "f:8:19: refuse-addresses: \"none\" is no IP address or network (like 10.0.0.0/8 "
                  "or 2001:db8::/32)\n"
                  "f:9:10: ca-file: \"x\" is no absolute path (it begins with \"/\")\n"
                  "f:11:8: policy: \"-x\" is no domain (like example.org, .example.org or *)\n"
                  "f:12:6: tls: \"maybe\" is none of opportunistic, required, verified, dane, no\n"
                  "f:13:14: connections: \"0\" is no number, or out of range\n"
                  "f:14:7: rate: \"x\" is no number, or out of range\n");
}

static void names_are_for_verified_tls_only(void **state)
{
    (void)state;
    expect_errors("policy a.test {\n tls required mx.a.test\n}\n"
                  "policy b.test {\n tls verified b.test *\n}\n",
                  "f:4:15: tls: \"mx.a.test\" is a name: that is for \"tls verified\" only\n"
                  "f:7:22: tls: \"*\" is no name that a certificate could have\n");
}

static void a_text_too_big_is_refused(void **state)
{
    (void)state;
    static char text[CONFIG_TEXT_SIZE_MAX + 1];
    struct arena arena;
    struct conf_errors errors;
    struct config config;
    memset(text, '\n', sizeof text);
    arena_init(&arena, CONFIG_ARENA_SIZE);
    conf_errors_init(&errors, &arena);
    struct str whole = str_make(text, sizeof text);
    assert_int_equal(config_parse(whole, &arena, &config, &errors), STATUS_TOO_BIG);
    assert_int_equal(config_parse(str_skip(whole, 1), &arena, &config, &errors), STATUS_INVALID);
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_file_has_sensible_defaults),
        cmocka_unit_test(every_directive_arrives),
        cmocka_unit_test(listeners_are_read_with_their_kind_and_block),
        cmocka_unit_test(every_error_is_told_at_once),
        cmocka_unit_test(shapes_are_checked),
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(what_belongs_together_is_checked),
        cmocka_unit_test(the_way_out_has_sensible_defaults),
        cmocka_unit_test(the_way_out_is_read),
        cmocka_unit_test(routes_are_read_with_their_places),
        cmocka_unit_test(what_is_wrong_with_a_route_is_told),
        cmocka_unit_test(what_is_wrong_with_the_way_out_is_told),
        cmocka_unit_test(names_are_for_verified_tls_only),
        cmocka_unit_test(a_text_too_big_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
