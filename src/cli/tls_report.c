/* How TLS went with other servers: RFC 8460 §4. */

#include <jansson.h>

#include "auth/mtasts.h"
#include "auth/tlsrpt.h"
#include "base/bug.h"
#include "cli/commands.h"
#include "cli/listing.h"
#include "cli/names.h"
#include "cli/server.h"
#include "codec/date.h"
#include "codec/utf8.h"
#include "store/directory.h"
#include "store/queue.h"

const struct cli_option tls_report_options[] = {
    {"--table", NULL, "as a table, for people"},
    {NULL, NULL, NULL},
};

enum { DAY_MS = 86400000, WORDS_SIZE = 65536 };

struct report_day {
    struct cli *cli;
    struct str day;     /* "2026-11-22" */
    struct str domain;  /* of the one report that is wanted, or empty */
    struct str host;    /* who reports */
    struct str contact; /* postmaster's domain */
    struct tls_result_row *rows;
    size_t count;
};

static json_t *string(struct str s)
{
    struct buf clean;
    buf_init(&clean, WORDS_SIZE);
    utf8_repair(&clean, str_sub(s, 0, WORDS_SIZE / 4));
    json_t *value = json_stringn(clean.ptr ? clean.ptr : "", clean.len);
    buf_release(&clean);
    return value;
}

static void set(json_t *object, const char *key, json_t *value)
{
    int failed = json_object_set_new(object, key, value);
    invariant(failed == 0);
}

static void set_unless_empty(json_t *object, const char *key, struct str s)
{
    if (!str_empty(s))
        set(object, key, string(s));
}

__attribute__((format(printf, 1, 2))) static json_t *phrase(const char *format, ...)
{
    char words[1000];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    return string(str_from_c(words));
}

/* ---- A report ---------------------------------------------------------------------------------
 */

static bool same_policy(const struct tls_result_row *a, const struct tls_result_row *b)
{
    return str_eq(a->domain, b->domain) && a->policy_type == b->policy_type &&
           str_eq(text_peek(a->policy), text_peek(b->policy));
}

/* "an array of JSON strings", one for each line. */
static json_t *policy_lines(struct str policy)
{
    json_t *lines = json_array();
    struct str line;
    while (str_split(&policy, '\n', &line)) {
        if (str_ends(line, STR("\r")))
            line.len--;
        if (!str_empty(line))
            json_array_append_new(lines, string(line));
    }
    return lines;
}

static json_t *mx_patterns(struct str policy)
{
    json_t *patterns = json_array();
    struct str pattern;
    while (mtasts_next_mx(&policy, &pattern))
        json_array_append_new(patterns, string(pattern));
    return patterns;
}

static json_t *describe_policy(const struct tls_result_row *row)
{
    json_t *policy = json_object();
    struct str text = text_peek(row->policy);
    enum tlsrpt_policy type = row->policy_type < TLSRPT_POLICIES
                                  ? (enum tlsrpt_policy)row->policy_type
                                  : TLSRPT_NO_POLICY;
    set(policy, "policy-type", string(str_from_c(tlsrpt_policy_name(type))));
    if (!str_empty(text))
        set(policy, "policy-string", policy_lines(text));
    set(policy, "policy-domain", string(row->domain));
    if (type == TLSRPT_STS)
        set(policy, "mx-host", mx_patterns(text));
    return policy;
}

/* §4.3, §4.4: "failure-details" */
static json_t *describe_failure(const struct tls_result_row *row)
{
    json_t *failure = json_object();
    set(failure, "result-type", string(row->result));
    set_unless_empty(failure, "sending-mta-ip", row->sending_ip);
    set_unless_empty(failure, "receiving-mx-hostname", row->mx);
    set_unless_empty(failure, "receiving-ip", row->receiving_ip);
    set(failure, "failed-session-count", json_integer((json_int_t)row->sessions));
    set_unless_empty(failure, "failure-reason-code", text_peek(row->words));
    return failure;
}

/* The rows of one policy, from `at` on; returns where they end. */
static size_t add_policy(const struct report_day *d, size_t at, json_t *policies)
{
    const struct tls_result_row *first = &d->rows[at];
    json_t *entry = json_object(), *summary = json_object(), *failures = json_array();
    uint64_t good = 0, bad = 0;
    for (; at < d->count && same_policy(&d->rows[at], first); at++) {
        const struct tls_result_row *row = &d->rows[at];
        *(str_empty(row->result) ? &good : &bad) += row->sessions;
        if (!str_empty(row->result))
            json_array_append_new(failures, describe_failure(row));
    }
    set(summary, "total-successful-session-count", json_integer((json_int_t)good));
    set(summary, "total-failure-session-count", json_integer((json_int_t)bad));
    set(entry, "policy", describe_policy(first));
    set(entry, "summary", summary);
    if (json_array_size(failures) > 0)
        set(entry, "failure-details", failures);
    else
        json_decref(failures);
    json_array_append_new(policies, entry);
    return at;
}

/* The report to one domain, whose rows begin at `at`; returns where they end. */
static size_t make_report(const struct report_day *d, size_t at, json_t **ret_report)
{
    json_t *report = json_object(), *range = json_object(), *policies = json_array();
    struct str domain = d->rows[at].domain;
    set(range, "start-datetime", phrase("%.*sT00:00:00Z", STR_ARG(d->day)));
    set(range, "end-datetime", phrase("%.*sT23:59:59Z", STR_ARG(d->day)));
    set(report, "organization-name", string(d->host));
    set(report, "date-range", range);
    set(report, "contact-info", phrase("postmaster@%.*s", STR_ARG(d->contact)));
    set(report, "report-id",
        phrase("%.*s_%.*s@%.*s", STR_ARG(d->day), STR_ARG(domain), STR_ARG(d->host)));
    while (at < d->count && str_eq(d->rows[at].domain, domain))
        at = add_policy(d, at, policies);
    set(report, "policies", policies);
    *ret_report = report;
    return at;
}

static void print_json(const struct report_day *d)
{
    json_t *reports = json_array(), *report;
    for (size_t at = 0; at < d->count;) {
        at = make_report(d, at, &report);
        json_array_append_new(reports, report);
    }
    json_dumpf(str_empty(d->domain) ? reports : json_array_get(reports, 0), d->cli->out,
               JSON_INDENT(2) | JSON_ENSURE_ASCII);
    fputc('\n', d->cli->out);
    json_decref(reports);
}

/* ---- The same for people ----------------------------------------------------------------------
 */

static void print_table(const struct report_day *d)
{
    static const struct listing_column columns[] = {
        {"DOMAIN", "domain", LISTING_WORDS},      {"POLICY", "policy", LISTING_WORDS},
        {"SERVER", "server", LISTING_WORDS},      {"RESULT", "result", LISTING_WORDS},
        {"SESSIONS", "sessions", LISTING_NUMBER}, {"WORDS", "words", LISTING_WORDS}};
    struct listing l;
    listing_init(&l, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < d->count; i++) {
        const struct tls_result_row *row = &d->rows[i];
        listing_words(&l, row->domain);
        listing_words(&l, str_from_c(row->policy_type < TLSRPT_POLICIES
                                         ? tlsrpt_policy_name((enum tlsrpt_policy)row->policy_type)
                                         : "-"));
        listing_words(&l, row->mx);
        listing_words(&l, str_empty(row->result) ? STR("success") : row->result);
        listing_number(&l, (int64_t)row->sessions);
        listing_words(&l, text_peek(row->words));
    }
    listing_print_table(&l, d->cli->out, d->cli->json,
                        "No session with other servers is known of that day.");
}

/* ---- The command -------------------------------------------------------------------------------
 */

static enum cli_exit read_day(struct cli *cli, int64_t *ret_day)
{
    char moment[64];
    int64_t ms;
    size_t len = strlen(cli->args[0]);
    snprintf(moment, sizeof moment, "%.20sT00:00:00Z", cli->args[0]);
    if (len != 10 || !date_parse_iso(str_from_c(moment), &ms))
        return cli_usage(cli, "%s is no day (like 2026-11-22)", cli->args[0]);
    *ret_day = ms / DAY_MS;
    return CLI_OK;
}

static void keep_domain(struct report_day *d)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->count; i++)
        if (str_eq(d->rows[i].domain, d->domain))
            d->rows[kept++] = d->rows[i];
    d->count = kept;
}

static enum cli_exit read_rows(struct report_day *d, int64_t day)
{
    struct config config;
    struct db *db = NULL;
    enum cli_exit code = cli_look(d->cli, &config, &db);
    if (code != CLI_OK)
        return code;
    d->host = config.hostname;
    enum status_code status = read_tls_results(db, day, &d->cli->arena, &d->rows, &d->count);
    if (status == STATUS_OK && directory_first_domain(db, &d->cli->arena, &d->contact) != STATUS_OK)
        d->contact = config.hostname;
    db_close(db);
    return status == STATUS_OK ? CLI_OK : cli_fail_status(d->cli, status, NULL);
}

enum cli_exit run_tls_report(struct cli *cli)
{
    struct report_day d = {.cli = cli, .day = str_from_c(cli->args[0])};
    int64_t day = 0;
    enum cli_exit code = read_day(cli, &day);
    if (code == CLI_OK && cli->arg_count > 1)
        code = cli_domain_name(cli, cli->args[1], &d.domain);
    if (code == CLI_OK)
        code = read_rows(&d, day);
    if (code != CLI_OK)
        return code;
    if (!str_empty(d.domain))
        keep_domain(&d);
    if (!str_empty(d.domain) && d.count == 0)
        return cli_fail(cli, CLI_NOT_FOUND, "no session with servers of %s is known of that day",
                        cli->args[1]);
    if (cli_option(cli, "--table"))
        print_table(&d);
    else
        print_json(&d);
    return CLI_OK;
}
