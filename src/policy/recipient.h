#ifndef POSTERN_POLICY_RECIPIENT_H
#define POSTERN_POLICY_RECIPIENT_H

#include "base/arena.h"
#include "base/str.h"
#include "mail/address.h"

/*
 * Where mail for a recipient goes, or why it is refused. Pure: the resolution asks one question of
 * the directory at a time, the owner answers it from the database (or a test from a table), until
 * there is a decision:
 *
 *     recipient_begin(&r, &arena, &rules, address, size);
 *     while (recipient_next(&r, &question))
 *         recipient_answer(&r, look_up(&question));
 *     use(&r.decision);
 *
 * The rules, in this order. Whoever asks, an address in a local domain is looked up; everything
 * else is relaying, and so are address literals, and in a local domain the percent hack, bang paths
 * and other routes inside a local part that is not itself a known address. Relaying is for those
 * who may (rules.may_relay), and only to other domains: what a local part means there is that
 * domain's affair (RFC 5321 §2.3.11). An exact address; else
 * the address without its detail (alice+shop); else postmaster, which is never refused (RFC 5321
 * §4.5.1); else the domain's catch-all. Aliases are followed through any number of members, each
 * address once, so a loop ends by itself.
 *
 * An alias is accepted where one of its members can take the message, here or elsewhere: the
 * operator who made the alias has decided that its mail is sent on, whoever it is from. Members
 * without a mailbox that works are left out (and those elsewhere where no mail leaves at all);
 * members over their quota then get the message all the same, because nobody could be told that
 * they did not. A report of ours is never refused for a quota: the failure it tells of would be
 * tried again and again, and its sender would be the last to know.
 *
 * Everything the resolution hands out lives in the arena, or is borrowed from the address given.
 */
struct recipient_address {
    struct str text;   /* as written in Delivered-To: local@domain, quoted where it must be */
    struct str local;  /* this and the next in normal form, see mail/address.h */
    struct str domain; /* empty where there was none; "[...]" is an address literal */
};

/*
 * Brings an address into these forms. False where its domain is none that IDNA allows, or the arena
 * is full.
 */
bool recipient_address_make(struct arena *arena, const struct mailbox_address *mailbox,
                            struct recipient_address *ret_address);

struct recipient_rules {
    struct str hostname;    /* postmaster is accepted here as well */
    struct str home_domain; /* whose postmaster a bare "postmaster" is; may be empty */
    bool outbound;          /* mail leaves this server at all */
    bool may_relay;         /* who sends this may send it to anywhere */
    bool is_report;         /* of ours, to a sender: quotas do not keep it out */
};

enum recipient_question_kind {
    RECIPIENT_DOMAIN,    /* is .domain local?  found, separators */
    RECIPIENT_ADDRESS,   /* what is .local at .domain, letter by letter?  found, account, members */
    RECIPIENT_CATCH_ALL, /* who takes what nobody has at .domain?  the same */
    RECIPIENT_POSTMASTER, /* who reads postmaster's mail at .domain where nobody was named?  the
                             same */
    RECIPIENT_ACCOUNT,    /* .account  found, inbox, disabled, quota_size, used_size */
};

struct recipient_question {
    enum recipient_question_kind kind;
    struct str local;
    struct str domain;
    uint64_t account;
};

struct recipient_fact {
    bool found;
    struct str separators; /* each may stand between user and detail; empty: no details */
    uint64_t account;      /* 0: an alias, see members */
    const struct recipient_address *members;
    size_t member_count;
    uint64_t inbox;
    bool disabled;
    uint64_t quota_size; /* 0: none */
    uint64_t used_size;
};

struct recipient_target {
    uint64_t account;
    uint64_t mailbox;
    struct str delivered_to;
};

/* address as given, for the next server; domain in normal form, for the route to it. */
struct recipient_relay {
    struct str address;
    struct str domain; /* A-labels in lower case, or "[192.0.2.1]" */
};

/* code 250, or the refusal for the peer. */
struct recipient_decision {
    unsigned code;
    struct str enhanced;
    struct str text;
    const struct recipient_target *targets;
    size_t target_count;
    const struct recipient_relay *relays;
    size_t relay_count;
};

struct recipient_node;

struct recipient {
    struct arena *arena;
    struct recipient_rules rules;
    uint64_t size;
    struct recipient_node *nodes; /* every address seen, in the order it was found */
    struct recipient_node *last;
    struct recipient_node *at; /* the one being resolved; NULL behind the last */
    size_t node_count;
    bool asking;           /* question waits for its answer */
    struct str separators; /* of the domain at hand */
    struct recipient_question question;
    struct recipient_target *targets;
    size_t target_count;
    size_t target_room;
    struct recipient_relay *relays;
    size_t relay_count;
    size_t relay_room;
    bool is_local;                      /* the recipient's own domain is */
    bool accepted;                      /* there is somebody who can take it */
    bool fallback;                      /* postmaster's mail goes to whom nobody named */
    struct recipient_decision refusal;  /* the best of the reasons seen so far */
    struct recipient_decision decision; /* when recipient_next has returned false */
};

/*
 * size: what the sender said with SIZE, 0 if nothing. The strings of rules and address are borrowed
 * until the resolution is done with.
 */
void recipient_begin(struct recipient *r, struct arena *arena, const struct recipient_rules *rules,
                     const struct recipient_address *address, uint64_t size);

/* The next question; false when r->decision is there. */
bool recipient_next(struct recipient *r, struct recipient_question *ret_question);

/* The answer to the question last given; what it points to is copied. */
void recipient_answer(struct recipient *r, const struct recipient_fact *fact);

/*
 * Whether the address is the account's own, be its mailbox full or not, so that the account may
 * send from it (RFC 6409 §6.1): mail for it goes there and nowhere else. So an address of the
 * account is, with any detail; an alias with one member; what its catch-all takes; postmaster where
 * nobody was named, for the first account. An alias with several members is nobody's own. After the
 * decision.
 */
bool recipient_is_own(const struct recipient *r, uint64_t account);

#endif
