#ifndef POSTERN_STORE_DIRECTORY_H
#define POSTERN_STORE_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "base/text.h"
#include "store/db.h"

/*
 * Look-ups: who is who. Facts only; what follows from them (sub-addressing, catch-all, loops,
 * refusals) is policy's.
 *
 * Domain names are stored as A-labels in lower case, local parts in lower case (ASCII); the caller
 * brings them into that form (directory_fold). Every function answers STATUS_OK, STATUS_NOT_FOUND,
 * or a temporary status where the store could not be read. Strs in results live in the arena.
 */

struct domain_record {
    uint64_t id;
    struct str name;
    uint64_t catch_all;    /* the account that gets what nobody else has; 0: none */
    struct str subaddress; /* separators of local part and detail, "+"; empty: none */
    int64_t created_ms;
};

struct account_record {
    uint64_t id;
    struct str name; /* the login */
    uint64_t quota;  /* bytes; 0: no quota */
    uint64_t used;   /* bytes of all entries that are not expunged */
    uint64_t inbox;  /* mailbox id */
    bool disabled;
    int64_t created_ms;
};

struct address_record {
    uint64_t domain;
    struct str local;
    struct str domain_name;
    uint64_t account; /* 0 where it is an alias */
    uint64_t alias;   /* 0 where it is an account's */
    int64_t created_ms;
};

/* Appends s in lower case (ASCII) to the arena; false where there is no room. */
bool directory_fold(struct arena *a, struct str s, struct str *ret_folded);

MUST_USE enum status_code directory_domain(struct db *db, struct str name, struct arena *a,
                                           struct domain_record *ret_domain);
MUST_USE enum status_code directory_address(struct db *db, uint64_t domain, struct str local,
                                            struct arena *a, struct address_record *ret_address);
MUST_USE enum status_code directory_account(struct db *db, uint64_t account, struct arena *a,
                                            struct account_record *ret_account);
MUST_USE enum status_code directory_account_by_name(struct db *db, struct str name, struct arena *a,
                                                    struct account_record *ret_account);

/* The addresses an alias leads to ("local@domain"), in the arena. */
MUST_USE enum status_code directory_alias_targets(struct db *db, uint64_t alias, struct arena *a,
                                                  struct str **ret_targets, size_t *ret_count);

/* The oldest account that is not disabled, and the oldest domain: whose is a bare postmaster? */
MUST_USE enum status_code directory_first_account(struct db *db, uint64_t *ret_account);
MUST_USE enum status_code directory_first_domain(struct db *db, struct arena *a,
                                                 struct str *ret_name);

/* Is local@domain one of the account's own addresses? */
MUST_USE enum status_code directory_owns(struct db *db, uint64_t account, struct str local,
                                         struct str domain, bool *ret_owns);

/* ---- Lists for people, all in the arena, in the order of names ------------------------------- */

MUST_USE enum status_code directory_domains(struct db *db, struct arena *a,
                                            struct domain_record **ret_domains, size_t *ret_count);
MUST_USE enum status_code directory_accounts(struct db *db, struct arena *a,
                                             struct account_record **ret_accounts,
                                             size_t *ret_count);

/* All addresses; account != 0: that account's; aliases: only those that are aliases. */
MUST_USE enum status_code directory_addresses(struct db *db, uint64_t account, bool aliases,
                                              struct arena *a,
                                              struct address_record **ret_addresses,
                                              size_t *ret_count);

#endif
