/* What would happen to mail for an address: the directory's part from the database, the way out
 * from a courier, who asks the DNS. */

#include "base/limits.h"
#include "cli/commands.h"
#include "cli/listing.h"
#include "cli/names.h"
#include "cli/reach.h"
#include "cli/server.h"
#include "codec/date.h"
#include "mail/address.h"
#include "roles/mailroom_rcpt.h"
#include "store/directory.h"
#include "store/queue.h"

enum {
    WORDS_SIZE = 2000,
    WAITING_MAX = 100000,
    MEMBERS_MAX = 1000,   /* of aliases, looked at */
    RELAYS_MS = 30 * 1000 /* for all addresses that an alias leads to: then no more are asked for */
};

struct explaining {
    struct cli *cli;
    struct config config;
    struct db *db;
    struct listing listing;
    struct cli_outcome outcome;
};

static const struct listing_column columns[] = {{"TOPIC", "topic", LISTING_WORDS},
                                                {"WORDS", "words", LISTING_WORDS}};

__attribute__((format(printf, 3, 4))) static void say(struct explaining *e, const char *topic,
                                                      const char *format, ...)
{
    char words[WORDS_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    listing_words(&e->listing, str_from_c(topic));
    listing_words(&e->listing, str_from_c(words));
}

/* ---- Here --------------------------------------------------------------------------------------
 */

static void say_target(struct explaining *e, const struct ipc_target *target)
{
    struct account_record account;
    if (directory_account(e->db, target->account, &e->cli->arena, &account) != STATUS_OK)
        return;
    say(e, "delivered to", "%.*s, into the mailbox of %.*s", STR_ARG(target->delivered_to),
        STR_ARG(account.name));
}

/* ---- Elsewhere ---------------------------------------------------------------------------------
 */

static void say_state(struct explaining *e, const struct destination_row *d, int64_t wall_ms)
{
    uint64_t waiting = 0;
    if (read_destination_waiting(e->db, d->id, WAITING_MAX, &waiting) == STATUS_OK)
        say(e, "waiting", "%llu%s for %.*s", (unsigned long long)waiting,
            waiting == WAITING_MAX ? " or more" : "", STR_ARG(d->name));
    if (d->trouble > 0) {
        struct str words = text_peek(d->last_words);
        say(e, "trouble", "not reached %u %s in a row: %.*s", d->trouble,
            d->trouble == 1 ? "time" : "times", STR_ARG(words));
    }
    if (d->trouble > 0 && d->due_in_ms > 0 && d->due_in_ms < INT64_MAX / 2) {
        struct buf when;
        buf_init(&when, 64);
        date_format_iso(&when, wall_ms + d->due_in_ms);
        say(e, "next attempt", "%.*s", STR_ARG(buf_str(&when)));
        buf_release(&when);
    }
}

static enum cli_exit say_waiting(struct explaining *e, struct str destination)
{
    struct destination_row row;
    int64_t wall_ms = cli_wall_ms(), clock_ms;
    enum status_code status = read_store_clock(e->db, wall_ms, &clock_ms);
    if (status == STATUS_OK)
        status = read_destination(e->db, destination, clock_ms, &e->cli->arena, &row);
    if (status == STATUS_OK)
        say_state(e, &row, wall_ms);
    return status == STATUS_OK || status == STATUS_NOT_FOUND
               ? CLI_OK
               : cli_fail_status(e->cli, status, NULL);
}

static void on_explain(void *context, enum status_code sent, const struct ipc_explain_out *out)
{
    struct explaining *e = context;
    for (size_t i = 0; out && i < out->lines_count; i++) {
        listing_words(&e->listing, out->lines[i].topic);
        listing_words(&e->listing, text_peek(out->lines[i].words));
    }
    cli_outcome_take(&e->outcome, sent, out ? out->status : sent, STR(""));
}

static enum cli_exit ask_courier(struct explaining *e, struct cli_server *server,
                                 const struct ipc_relay *relay)
{
    const struct ipc_explain_in in = {.address = relay->address};
    struct channel *courier = cli_server_role(server, ROLE_COURIER);
    e->outcome = (struct cli_outcome){0};
    return cli_server_wait(server, ipc_explain_call(courier, &in, on_explain, e), &e->outcome);
}

static enum cli_exit say_relays(struct explaining *e, const struct ipc_recipient_out *out)
{
    struct cli_server *server = NULL;
    enum cli_exit code = CLI_OK;
    int64_t end_ms = 0;
    if (out->relays_count > 0)
        code = cli_server_open(e->cli, &e->config, &server);
    if (server)
        end_ms = cli_server_mono_ms(server) + RELAYS_MS;
    for (size_t i = 0; code == CLI_OK && i < out->relays_count; i++) {
        if (cli_server_mono_ms(server) > end_ms) {
            say(e, "left out", "%zu more addresses elsewhere: those so far took too long",
                out->relays_count - i);
            break;
        }
        const struct ipc_relay *relay = &out->relays[i];
        say(e, "sent on to", "%.*s, with what waits for %.*s", STR_ARG(text_peek(relay->address)),
            STR_ARG(relay->destination));
        code = ask_courier(e, server, relay);
        if (code == CLI_OK)
            code = say_waiting(e, relay->destination);
    }
    cli_server_close(server);
    return code;
}

/* ---- Aliases -----------------------------------------------------------------------------------
 */

/* What alias leads to, appended to the list, each address once. */
static size_t add_members(struct explaining *e, struct str stored, struct str *list, size_t count)
{
    struct domain_record domain;
    struct address_record address;
    struct str *targets;
    size_t target_count;
    ptrdiff_t at = str_rfind_byte(stored, '@');
    struct arena *arena = &e->cli->arena;
    if (at < 0 ||
        directory_domain(e->db, str_skip(stored, (size_t)at + 1), arena, &domain) != STATUS_OK ||
        directory_address(e->db, domain.id, str_sub(stored, 0, (size_t)at), arena, &address) !=
            STATUS_OK ||
        address.alias == 0 ||
        directory_alias_targets(e->db, address.alias, arena, &targets, &target_count) != STATUS_OK)
        return count;
    for (size_t i = 0; i < target_count && count < MEMBERS_MAX; i++) {
        bool known = false;
        for (size_t j = 0; j < count; j++)
            known = known || str_eq(list[j], targets[i]);
        if (!known)
            list[count++] = targets[i];
    }
    return count;
}

/* Members of an alias that get nothing; the mail is taken where another one can have it. */
static void say_left_out(struct explaining *e, const struct mailbox_address *address)
{
    struct str *list = arena_alloc_array(&e->cli->arena, MEMBERS_MAX, sizeof *list);
    struct buf stored;
    size_t count = 0;
    buf_init(&stored, 4 * LIMIT_PATH_SIZE);
    if (list && !address->is_literal && address_normal_local(&stored, address) &&
        buf_append_byte(&stored, '@') && address_normal_domain(&stored, address->domain))
        count = add_members(e, buf_str(&stored), list, 0);
    buf_release(&stored);
    for (size_t i = 0; i < count; i++) {
        struct str why = cli_refusal(e->cli, &e->config, e->db, list[i]);
        if (!str_empty(why))
            say(e, "left out", "%.*s: %.*s", STR_ARG(cli_print_stored(e->cli, list[i])),
                STR_ARG(why));
        count = add_members(e, list[i], list, count);
    }
}

/* ---- The command -------------------------------------------------------------------------------
 */

/* For strangers, mail for elsewhere is refused: that is told as well. */
static void say_for_strangers(struct explaining *e, struct text address)
{
    const struct mailroom_rcpt stranger = {.recipient = address};
    struct ipc_recipient_out out;
    mailroom_rcpt_resolve(e->db, &e->config, &stranger, &e->cli->arena, &out);
    say(e, "from strangers", "%u %.*s %.*s", out.code, STR_ARG(out.enhanced), STR_ARG(out.text));
}

static enum cli_exit explain(struct explaining *e, struct text address,
                             const struct mailbox_address *mailbox)
{
    const struct mailroom_rcpt own = {.recipient = address, .may_relay = true};
    struct ipc_recipient_out out;
    mailroom_rcpt_resolve(e->db, &e->config, &own, &e->cli->arena, &out);
    say(e, "from own users", "%u %.*s %.*s", out.code, STR_ARG(out.enhanced), STR_ARG(out.text));
    say_for_strangers(e, address);
    for (size_t i = 0; i < out.targets_count; i++)
        say_target(e, &out.targets[i]);
    say_left_out(e, mailbox);
    return say_relays(e, &out);
}

enum cli_exit run_explain(struct cli *cli)
{
    struct explaining e = {.cli = cli};
    struct str address = str_from_c(cli->args[0]);
    struct mailbox_address mailbox = {.local = address};
    if (!str_eq_nocase(address, STR("postmaster")) &&
        address_parse_mailbox(address, &mailbox) != ADDRESS_OK)
        return cli_usage(cli, "%s is no address", cli->args[0]);
    enum cli_exit code = cli_look(cli, &e.config, &e.db);
    if (code != CLI_OK)
        return code;
    listing_init(&e.listing, columns, 2);
    code = explain(&e, text_from(address), &mailbox);
    db_close(e.db);
    if (code == CLI_OK)
        listing_print_table(&e.listing, cli->out, cli->json, "");
    else
        listing_release(&e.listing);
    return code;
}
