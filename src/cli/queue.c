/* Looking at the queue. */

#include "store/queue.h"
#include "cli/commands.h"
#include "cli/listing.h"
#include "cli/queue_choice.h"
#include "cli/server.h"
#include "store/directory.h"

enum {
    SLICE_ROWS = 2000,
    SLICE_MEMORY = 64 * 1024 * 1024,
    ACCOUNT_MEMORY = 64 * 1024,
    MAX_DEFAULT = 1000
};

const struct cli_option queue_list_options[] = {
    QUEUE_CHOICE_OPTIONS,
    {"--max", "NUMBER", "show so many at most (default 1000)"},
    {NULL, NULL, NULL},
};

static const struct listing_column columns[] = {
    {"ID", "id", LISTING_NUMBER},
    {"TRACE", "trace", LISTING_WORDS},
    {"SENDER", "sender", LISTING_WORDS},
    {"RECIPIENT", "recipient", LISTING_WORDS},
    {"STATE", "state", LISTING_WORDS},
    {"ATTEMPTS", "attempts", LISTING_NUMBER},
    {"NEXT", "next", LISTING_TIME},
    {"LAST WORDS", "last_words", LISTING_WORDS},
    /* The table of `queue list` ends here. */
    {"STATUS", "last_status", LISTING_WORDS},
    {"LAST SERVER", "last_server", LISTING_WORDS},
    {"LAST ATTEMPT", "last", LISTING_TIME},
    {"DESTINATION", "destination", LISTING_WORDS},
    {"RECEIVED", "received", LISTING_TIME},
    {"EXPIRES", "expires", LISTING_TIME},
    {"SIZE", "size", LISTING_SIZE},
    {"ACCOUNT", "account", LISTING_WORDS},
    {"ORCPT", "orcpt", LISTING_WORDS},
    {"NOTICED", "noticed", LISTING_YES_NO},
};
enum { COLUMNS = sizeof(columns) / sizeof(columns[0]), TABLE_COLUMNS = 8 };

struct looking {
    struct cli *cli;
    struct db *db;
    struct listing listing;
    bool whole; /* all columns */
    enum listing_shape shape;
    struct account_record account; /* the last one that was looked up */
    struct arena account_arena;
    int64_t wall_ms;
    int64_t clock_ms;
    uint64_t shown, max;
    bool more; /* there are more than max */
};

static const char *state_of(const struct queue_row *row)
{
    static const char *const reports[] = {
        [1] = "report", [2] = "expired", [3] = "bouncing", [4] = "notice", [5] = "report"};
    if (row->held)
        return "held";
    if (row->task >= 1 && row->task < sizeof(reports) / sizeof(reports[0]))
        return reports[row->task];
    return row->due_in_ms <= 0 ? "due" : "waiting";
}

/* A time that is relative to now; 0 (none) where it never comes. */
static int64_t wall_time(const struct looking *l, int64_t in_ms)
{
    return in_ms > INT64_MAX / 2 ? 0 : l->wall_ms + in_ms;
}

static struct str account_name(struct looking *l, uint64_t id)
{
    if (id != l->account.id) {
        arena_reset(&l->account_arena);
        if (directory_account(l->db, id, &l->account_arena, &l->account) != STATUS_OK)
            l->account = (struct account_record){.id = id};
    }
    return l->account.name;
}

static void add_rest(struct looking *l, const struct queue_row *row)
{
    struct listing *list = &l->listing;
    listing_words(list, row->last_status);
    listing_words(list, text_peek(row->last_remote));
    listing_number(list, row->last_ms);
    listing_words(list, row->destination_name);
    listing_number(list, row->received_ms);
    listing_number(list, wall_time(l, row->expires_in_ms));
    listing_number(list, (int64_t)row->size);
    listing_words(list, account_name(l, row->account));
    listing_words(list, text_peek(row->orcpt));
    listing_yes_no(list, row->noticed);
}

static void add_row(struct looking *l, const struct queue_row *row)
{
    struct listing *list = &l->listing;
    struct str sender = text_peek(row->sender);
    listing_number(list, (int64_t)row->id);
    listing_words(list, row->trace_id);
    listing_words(list, str_empty(sender) ? STR("<>") : sender);
    listing_words(list, text_peek(row->recipient));
    listing_words(list, str_from_c(state_of(row)));
    listing_number(list, row->attempts);
    listing_number(list, row->held ? 0 : wall_time(l, row->due_in_ms));
    listing_words(list, text_peek(row->last_words));
    if (l->whole)
        add_rest(l, row);
    l->shown++;
}

/* Slice by slice and page by page: a million rows take as little memory as a thousand. */
static enum status_code add_selection(struct looking *l, const struct queue_selection *selection)
{
    uint64_t through = 0;
    enum status_code status;
    do {
        struct queue_row *rows = NULL;
        struct arena arena;
        size_t count = 0;
        arena_init(&arena, SLICE_MEMORY);
        status = read_queue(l->db, selection, l->clock_ms, through, SLICE_ROWS, &arena, &rows,
                            &count, &through);
        for (size_t i = 0; status == STATUS_OK && i < count && !l->more; i++) {
            l->more = l->shown == l->max;
            if (!l->more)
                add_row(l, &rows[i]);
            listing_print_page(&l->listing, l->cli->out, l->cli->json, l->shape);
        }
        arena_reset(&arena);
    } while (status == STATUS_OK && through != 0 && !l->more);
    return status;
}

static enum cli_exit look(struct looking *l, bool must_choose)
{
    struct config config;
    struct queue_choice choice;
    enum cli_exit code = cli_queue_choice(l->cli, must_choose, &choice);
    if (code == CLI_OK)
        code = cli_look(l->cli, &config, &l->db);
    if (code != CLI_OK)
        return code;
    l->wall_ms = cli_wall_ms();
    arena_init(&l->account_arena, ACCOUNT_MEMORY);
    listing_init(&l->listing, columns, l->whole ? COLUMNS : TABLE_COLUMNS);
    enum status_code status = read_store_clock(l->db, l->wall_ms, &l->clock_ms);
    for (size_t i = 0; status == STATUS_OK && i < choice.count; i++)
        status = add_selection(l, &choice.selections[i]);
    db_close(l->db);
    arena_reset(&l->account_arena);
    if (status == STATUS_OK)
        return CLI_OK;
    listing_release(&l->listing);
    return cli_fail_status(l->cli, status, NULL);
}

enum cli_exit run_queue_list(struct cli *cli)
{
    struct looking l = {.cli = cli, .whole = cli->json, .max = MAX_DEFAULT};
    const char *max = cli_option(cli, "--max");
    if (max && !str_to_u64(str_from_c(max), UINT64_MAX, &l.max))
        return cli_usage(cli, "--max is a number");
    enum cli_exit code = look(&l, false);
    if (code != CLI_OK)
        return code;
    listing_print_table(&l.listing, cli->out, cli->json, "Nothing waits.");
    if (l.more)
        fprintf(cli->err, "There is more; --max shows it.\n");
    return CLI_OK;
}

enum cli_exit run_queue_show(struct cli *cli)
{
    struct looking l = {.cli = cli, .whole = true, .shape = LISTING_RECORDS, .max = UINT64_MAX};
    enum cli_exit code = look(&l, true);
    if (code != CLI_OK)
        return code;
    if (l.shown == 0) {
        listing_release(&l.listing);
        return cli_fail(cli, CLI_NOT_FOUND, "nothing waits under %s", cli->args[0]);
    }
    listing_print_records(&l.listing, cli->out, cli->json);
    return CLI_OK;
}
