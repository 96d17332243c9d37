#include "cli/names.h"

#include "base/limits.h"
#include "codec/utf8.h"
#include "mail/address.h"

enum { NAME_SIZE_MAX = 4 * LIMIT_PATH_SIZE };

/* Keeps what was built; false where it or the arena is full. */
static bool keep(struct cli *cli, struct buf *built, struct str *ret)
{
    bool ok = !built->failed && arena_dup(&cli->arena, buf_str(built), ret);
    buf_release(built);
    return ok;
}

enum cli_exit cli_domain_name(struct cli *cli, const char *typed, struct str *ret_name)
{
    struct buf name;
    bool is_literal;
    struct str words = str_from_c(typed);
    buf_init(&name, NAME_SIZE_MAX);
    bool ok = address_parse_domain(words, &is_literal) && !is_literal &&
              address_normal_domain(&name, words);
    if (keep(cli, &name, ret_name) && ok)
        return CLI_OK;
    return cli_usage(cli, "%s is no domain name", typed);
}

/* How other servers write "whoever is unknown there". "*" itself is a local part, quoted too. */
static bool is_wildcard(struct str words)
{
    return str_starts(words, STR("@")) || str_starts(words, STR("*@"));
}

enum cli_exit cli_address(struct cli *cli, const char *typed, struct cli_address *ret_address)
{
    struct mailbox_address mailbox;
    struct buf whole;
    size_t cut = 0;
    if (is_wildcard(str_from_c(typed)))
        return cli_usage(cli,
                         "%s is no address; postern catch-all set DOMAIN ACCOUNT says who gets the "
                         "mail for unknown ones",
                         typed);
    buf_init(&whole, NAME_SIZE_MAX);
    bool ok = address_parse_mailbox(str_from_c(typed), &mailbox) == ADDRESS_OK &&
              !mailbox.is_literal && address_normal_local(&whole, &mailbox);
    if (ok) {
        cut = whole.len;
        ok = buf_append_byte(&whole, '@') && address_normal_domain(&whole, mailbox.domain);
    }
    if (!keep(cli, &whole, &ret_address->whole) || !ok)
        return cli_usage(cli, "%s is no address", typed);
    ret_address->local = str_sub(ret_address->whole, 0, cut);
    ret_address->domain = str_skip(ret_address->whole, cut + 1);
    return CLI_OK;
}

static bool is_plain_name(struct str words)
{
    if (str_empty(words) || words.len > LIMIT_LOCAL_PART_SIZE || !utf8_valid(words))
        return false;
    for (size_t i = 0; i < words.len; i++)
        if ((unsigned char)words.ptr[i] <= ' ' || words.ptr[i] == 0x7f)
            return false;
    return true;
}

enum cli_exit cli_account_name(struct cli *cli, const char *typed, struct str *ret_name)
{
    struct str words = str_from_c(typed);
    struct cli_address address;
    struct buf name;
    if (str_find_byte(words, '@') >= 0) {
        enum cli_exit code = cli_address(cli, typed, &address);
        *ret_name = address.whole;
        return code;
    }
    const struct mailbox_address mailbox = {.local = words};
    buf_init(&name, NAME_SIZE_MAX);
    bool ok = is_plain_name(words) && address_normal_local(&name, &mailbox);
    if (keep(cli, &name, ret_name) && ok)
        return CLI_OK;
    return cli_usage(cli, "%s cannot be the name of an account", typed);
}

/* ---- What is there ------------------------------------------------------------------------------
 */

static enum cli_exit found(struct cli *cli, enum status_code status, const char *what,
                           const char *typed)
{
    if (status == STATUS_OK)
        return CLI_OK;
    if (status == STATUS_NOT_FOUND)
        return cli_fail(cli, CLI_NOT_FOUND, "there is no %s %s", what, typed);
    return cli_fail_status(cli, status, NULL);
}

enum cli_exit cli_find_domain(struct cli *cli, struct db *db, const char *typed,
                              struct domain_record *ret_domain)
{
    struct str name;
    enum cli_exit code = cli_domain_name(cli, typed, &name);
    if (code != CLI_OK)
        return code;
    return found(cli, directory_domain(db, name, &cli->arena, ret_domain), "domain", typed);
}

enum cli_exit cli_find_account(struct cli *cli, struct db *db, const char *typed,
                               struct account_record *ret_account)
{
    struct str name;
    enum cli_exit code = cli_account_name(cli, typed, &name);
    if (code != CLI_OK)
        return code;
    return found(cli, directory_account_by_name(db, name, &cli->arena, ret_account), "account",
                 typed);
}

enum cli_exit cli_find_address(struct cli *cli, struct db *db, const char *typed, bool alias,
                               struct address_record *ret_address)
{
    struct cli_address address;
    struct domain_record domain;
    enum cli_exit code = cli_address(cli, typed, &address);
    if (code != CLI_OK)
        return code;
    enum status_code status = directory_domain(db, address.domain, &cli->arena, &domain);
    if (status == STATUS_OK)
        status = directory_address(db, domain.id, address.local, &cli->arena, ret_address);
    return found(cli, status, alias ? "alias" : "address", typed);
}

/* ---- For people
 * ----------------------------------------------------------------------------------- */

struct str cli_print_address(struct cli *cli, struct str local, struct str domain)
{
    struct buf words;
    struct str kept = {0};
    buf_init(&words, NAME_SIZE_MAX);
    address_print_parts(&words, local, domain);
    keep(cli, &words, &kept);
    return kept;
}

struct str cli_print_stored(struct cli *cli, struct str whole)
{
    ptrdiff_t at = str_rfind_byte(whole, '@');
    if (at < 0)
        return whole;
    return cli_print_address(cli, str_sub(whole, 0, (size_t)at), str_skip(whole, (size_t)at + 1));
}
