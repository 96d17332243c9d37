#ifndef POSTERN_CLI_NAMES_H
#define POSTERN_CLI_NAMES_H

#include "cli/cli.h"
#include "store/directory.h"

/*
 * Names as people type them, in the form in which the directory has them. Each tells what is wrong
 * where it fails. Strings live in cli's arena.
 */
enum cli_exit cli_domain_name(struct cli *cli, const char *typed, struct str *ret_name);

/* local@domain in normal form, the local part without quotes. */
struct cli_address {
    struct str whole;
    struct str local;
    struct str domain;
};
enum cli_exit cli_address(struct cli *cli, const char *typed, struct cli_address *ret_address);

/* The name of an account: an address, or a word without "@". */
enum cli_exit cli_account_name(struct cli *cli, const char *typed, struct str *ret_name);

/* What is there under these names. alias: what it is called where there is none; either is found.
 */
enum cli_exit cli_find_domain(struct cli *cli, struct db *db, const char *typed,
                              struct domain_record *ret_domain);
enum cli_exit cli_find_account(struct cli *cli, struct db *db, const char *typed,
                               struct account_record *ret_account);
enum cli_exit cli_find_address(struct cli *cli, struct db *db, const char *typed, bool alias,
                               struct address_record *ret_address);

/* An address as one writes it: quoted where it must be. */
struct str cli_print_address(struct cli *cli, struct str local, struct str domain);

/* The same for "local@domain" as stored. */
struct str cli_print_stored(struct cli *cli, struct str whole);

#endif
