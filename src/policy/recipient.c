#include "policy/recipient.h"

#include "base/bug.h"
#include "base/limits.h"

struct recipient_node {
    struct recipient_address address;
    unsigned depth;
    bool without_detail; /* the question is about the part before the delimiter */
    struct recipient_node *next;
};

#define REPLY(c, e, t)                                                                             \
    {                                                                                              \
        .code = (c), .enhanced = {(e), sizeof(e) - 1}, .text = {(t), sizeof(t) - 1 }               \
    }

static const struct recipient_decision reply_ok = REPLY(250, "2.1.5", "Recipient ok");
static const struct recipient_decision reply_relay = REPLY(550, "5.7.1", "Relaying denied");
static const struct recipient_decision reply_ourselves =
    REPLY(550, "5.1.2", "This server's own name is no domain for mail");
static const struct recipient_decision reply_no_domain =
    REPLY(550, "5.1.3", "A recipient needs a domain");
static const struct recipient_decision reply_unknown = REPLY(550, "5.1.1", "No such mailbox here");
static const struct recipient_decision reply_disabled = REPLY(550, "5.2.1", "Mailbox disabled");
static const struct recipient_decision reply_loop =
    REPLY(550, "5.4.6", "The alias leads back to itself");
static const struct recipient_decision reply_expansion =
    REPLY(550, "5.2.4", "The alias leads to too many addresses");
static const struct recipient_decision reply_full = REPLY(452, "4.2.2", "Mailbox full");
static const struct recipient_decision reply_too_big =
    REPLY(552, "5.2.2", "Message larger than the mailbox may become");
static const struct recipient_decision reply_nobody =
    REPLY(451, "4.2.1", "There is no mailbox for postmaster yet");
static const struct recipient_decision reply_memory =
    REPLY(451, "4.3.0", "Out of memory, try again later");

/* Of several members' reasons the first is told, but one that may pass goes before one that stays.
 */
static void refuse(struct recipient *r, const struct recipient_decision *why)
{
    if (r->refusal.code == 0 || (r->refusal.code / 100 == 5 && why->code / 100 == 4))
        r->refusal = *why;
}

/* Nothing more is looked at: this is the answer. */
static void decide(struct recipient *r, const struct recipient_decision *decision)
{
    r->decision = *decision;
    r->asking = false;
}

static bool is_postmaster(const struct recipient_node *node)
{
    return str_eq(node->address.local, STR("postmaster"));
}

static void ask(struct recipient *r, enum recipient_question_kind kind, struct str local)
{
    r->question =
        (struct recipient_question){.kind = kind, .local = local, .domain = r->at->address.domain};
}

static void ask_postmaster(struct recipient *r)
{
    r->fallback = true;
    r->asking = true;
    ask(r, RECIPIENT_POSTMASTER, r->at->address.local);
}

static void ask_account(struct recipient *r, uint64_t account)
{
    r->question = (struct recipient_question){.kind = RECIPIENT_ACCOUNT, .account = account};
}

/* This address is done with; the next one comes up at the next question. */
static void finish_node(struct recipient *r)
{
    r->at = r->at->next;
    r->asking = false;
}

static void refuse_node(struct recipient *r, const struct recipient_decision *why)
{
    refuse(r, why);
    finish_node(r);
}

static bool seen(const struct recipient *r, const struct recipient_address *a)
{
    for (const struct recipient_node *n = r->nodes; n; n = n->next)
        if (str_eq(n->address.local, a->local) && str_eq(n->address.domain, a->domain))
            return true;
    return false;
}

static bool append_node(struct recipient *r, const struct recipient_address *address,
                        unsigned depth)
{
    struct recipient_node *node = arena_alloc(r->arena, sizeof(*node));
    if (!node)
        return false;
    node->address = *address;
    node->depth = depth;
    if (r->last)
        r->last->next = node;
    else
        r->nodes = node;
    r->last = node;
    r->node_count++;
    return true;
}

/* It counts, and is shown to its reader, as an address of the home domain. */
static bool go_home(struct recipient *r, struct recipient_address *a)
{
    size_t domain_size =
        str_empty(a->domain) ? 0 : a->text.len - (size_t)str_rfind_byte(a->text, '@');
    struct str user = str_sub(a->text, 0, a->text.len - domain_size), home = r->rules.home_domain;
    char *text = arena_alloc(r->arena, user.len + 1 + home.len);
    if (!text)
        return false;
    memcpy(text, user.ptr, user.len);
    text[user.len] = '@';
    memcpy(text + user.len + 1, home.ptr, home.len);
    a->text = str_make(text, user.len + 1 + home.len);
    a->domain = home;
    return true;
}

/* Room for one more at the end of an array in the arena; NULL where there is no memory. */
static void *grow(struct arena *arena, void *items, size_t size, size_t count, size_t *room)
{
    if (count < *room)
        return items;
    size_t more = *room ? *room * 4 : 4;
    void *grown = arena_alloc(arena, more * size);
    if (grown && count > 0)
        memcpy(grown, items, count * size);
    if (grown)
        *room = more;
    return grown;
}

/* The address at hand is elsewhere. What an alias leads to, the operator has allowed. */
static void relay_node(struct recipient *r)
{
    const struct recipient_address *a = &r->at->address;
    bool is_member = r->at->depth > 0;
    if (!r->rules.outbound || !(r->rules.may_relay || is_member)) {
        refuse_node(r, &reply_relay);
        return;
    }
    if (str_eq_nocase(a->domain, r->rules.hostname)) {
        refuse_node(r, &reply_ourselves);
        return;
    }
    struct recipient_relay *grown =
        grow(r->arena, r->relays, sizeof *grown, r->relay_count, &r->relay_room);
    if (!grown) {
        decide(r, &reply_memory);
        return;
    }
    r->relays = grown;
    r->relays[r->relay_count++] = (struct recipient_relay){a->text, a->domain};
    r->accepted = true;
    finish_node(r);
}

static void start_node(struct recipient *r)
{
    struct recipient_address *a = &r->at->address;
    r->asking = true;
    /* RFC 5321 §4.5.1: "Postmaster" needs no domain; the server's own name is as good as one. */
    if (is_postmaster(r->at) && !str_empty(r->rules.home_domain) &&
        (str_empty(a->domain) || str_eq_nocase(a->domain, r->rules.hostname)) && !go_home(r, a)) {
        decide(r, &reply_memory);
        return;
    }
    if (str_empty(a->domain) && is_postmaster(r->at))
        ask_postmaster(r);
    else if (str_empty(a->domain))
        refuse_node(r, &reply_no_domain);
    else if (a->domain.ptr[0] == '[')
        relay_node(r);
    else
        ask(r, RECIPIENT_DOMAIN, a->local);
}

/* Every address has been looked at. */
static void conclude(struct recipient *r)
{
    if (r->accepted) {
        r->decision = reply_ok;
        r->decision.targets = r->targets;
        r->decision.target_count = r->target_count;
        r->decision.relays = r->relays;
        r->decision.relay_count = r->relay_count;
    } else if (is_postmaster(r->nodes) && !r->fallback && r->is_local) {
        r->at = r->nodes;
        ask_postmaster(r);
    } else {
        r->decision = r->refusal;
    }
}

static void answer_domain(struct recipient *r, const struct recipient_fact *fact)
{
    if (!fact->found) {
        relay_node(r);
        return;
    }
    r->is_local |= r->at == r->nodes;
    if (!arena_dup(r->arena, fact->separators, &r->separators)) {
        decide(r, &reply_memory);
        return;
    }
    ask(r, RECIPIENT_ADDRESS, r->at->address.local);
}

/* A member that was met before is skipped; a member that leads nowhere new is how a loop looks. */
static void follow_alias(struct recipient *r, const struct recipient_fact *fact)
{
    if (r->at->depth >= LIMIT_ALIAS_DEPTH) {
        refuse_node(r, &reply_expansion);
        return;
    }
    for (size_t i = 0; i < fact->member_count; i++) {
        if (seen(r, &fact->members[i])) {
            refuse(r, &reply_loop);
            continue;
        }
        if (r->node_count >= LIMIT_ALIAS_ADDRESSES) {
            decide(r, &reply_expansion);
            return;
        }
        struct recipient_address copy;
        if (!arena_dup(r->arena, fact->members[i].text, &copy.text) ||
            !arena_dup(r->arena, fact->members[i].local, &copy.local) ||
            !arena_dup(r->arena, fact->members[i].domain, &copy.domain) ||
            !append_node(r, &copy, r->at->depth + 1)) {
            decide(r, &reply_memory);
            return;
        }
    }
    finish_node(r);
}

static void follow(struct recipient *r, const struct recipient_fact *fact)
{
    if (fact->account != 0)
        ask_account(r, fact->account);
    else if (fact->member_count == 0)
        refuse_node(r, &reply_unknown);
    else
        follow_alias(r, fact);
}

/* At the first of the separators that local holds. */
static bool split_detail(struct str local, struct str separators, struct str *ret_user)
{
    struct str user, detail;
    bool found = false;
    for (size_t i = 0; i < separators.len; i++) {
        if (!address_split_detail(local, separators.ptr[i], &user, &detail) ||
            (found && user.len >= ret_user->len))
            continue;
        *ret_user = user;
        found = true;
    }
    return found;
}

static void answer_address(struct recipient *r, const struct recipient_fact *fact)
{
    struct recipient_node *node = r->at;
    struct str local = node->address.local;
    if (fact->found) {
        follow(r, fact);
        return;
    }
    struct str user = {0};
    if (!node->without_detail && split_detail(local, r->separators, &user)) {
        node->without_detail = true;
        ask(r, RECIPIENT_ADDRESS, user);
    } else if (is_postmaster(node)) {
        ask_postmaster(r);
    } else if (address_is_relay_attempt(local)) {
        /* The world's relay tests try these; a catch-all must not make it look as if they worked.
         */
        refuse_node(r, &reply_relay);
    } else {
        ask(r, RECIPIENT_CATCH_ALL, local);
    }
}

static void answer_catch_all(struct recipient *r, const struct recipient_fact *fact)
{
    if (fact->found)
        follow(r, fact);
    else
        refuse_node(r, &reply_unknown);
}

static void answer_postmaster(struct recipient *r, const struct recipient_fact *fact)
{
    if (!fact->found)
        decide(r, &reply_nobody);
    else
        follow(r, fact);
}

static bool reaches(const struct recipient *r, uint64_t account)
{
    for (size_t i = 0; i < r->target_count; i++)
        if (r->targets[i].account == account)
            return true;
    return false;
}

/* An account reached along several ways gets one copy. */
static bool add_target(struct recipient *r, const struct recipient_target *target)
{
    if (reaches(r, target->account))
        return true;
    struct recipient_target *grown =
        grow(r->arena, r->targets, sizeof *grown, r->target_count, &r->target_room);
    if (!grown)
        return false;
    r->targets = grown;
    r->targets[r->target_count++] = *target;
    return true;
}

/* NULL where the account has room; postmaster always has (RFC 5321 §4.5.1). */
static const struct recipient_decision *quota_refusal(const struct recipient *r,
                                                      const struct recipient_fact *fact)
{
    if (fact->quota_size == 0 || r->rules.is_report || is_postmaster(r->nodes))
        return NULL;
    if (r->size > fact->quota_size)
        return &reply_too_big;
    if (fact->used_size >= fact->quota_size || r->size > fact->quota_size - fact->used_size)
        return &reply_full;
    return NULL;
}

static void answer_account(struct recipient *r, const struct recipient_fact *fact)
{
    if (!fact->found || fact->disabled) {
        refuse_node(r, fact->found ? &reply_disabled : &reply_unknown);
        return;
    }
    const struct recipient_target target = {r->question.account, fact->inbox, r->at->address.text};
    if (!add_target(r, &target)) {
        decide(r, &reply_memory);
        return;
    }
    const struct recipient_decision *full = quota_refusal(r, fact);
    if (full)
        refuse(r, full);
    else
        r->accepted = true;
    finish_node(r);
}

void recipient_begin(struct recipient *r, struct arena *arena, const struct recipient_rules *rules,
                     const struct recipient_address *address, uint64_t size)
{
    *r = (struct recipient){.arena = arena, .rules = *rules, .size = size};
    if (!append_node(r, address, 0)) {
        decide(r, &reply_memory);
        return;
    }
    r->at = r->nodes;
}

bool recipient_next(struct recipient *r, struct recipient_question *ret_question)
{
    while (!r->asking && r->decision.code == 0) {
        if (r->at)
            start_node(r);
        else
            conclude(r);
    }
    if (r->decision.code != 0)
        return false;
    *ret_question = r->question;
    return true;
}

void recipient_answer(struct recipient *r, const struct recipient_fact *fact)
{
    static void (*const answers[])(struct recipient *, const struct recipient_fact *) = {
        [RECIPIENT_DOMAIN] = answer_domain,       [RECIPIENT_ADDRESS] = answer_address,
        [RECIPIENT_CATCH_ALL] = answer_catch_all, [RECIPIENT_POSTMASTER] = answer_postmaster,
        [RECIPIENT_ACCOUNT] = answer_account,
    };
    invariant(r->asking);
    answers[r->question.kind](r, fact);
}

bool recipient_is_own(const struct recipient *r, uint64_t account)
{
    /* Each address led to one other at most: the last is as deep as there are addresses. */
    bool is_chain = r->last && r->last->depth + 1 == r->node_count;
    return is_chain && reaches(r, account);
}

bool recipient_address_make(struct arena *arena, const struct mailbox_address *mailbox,
                            struct recipient_address *ret_address)
{
    struct buf words;
    buf_init(&words, 4 * LIMIT_PATH_SIZE);
    bool ok = address_print(&words, mailbox);
    size_t text_end = words.len;
    ok = ok && address_normal_local(&words, mailbox);
    size_t local_end = words.len;
    ok = ok && (str_empty(mailbox->domain) || address_normal_domain(&words, mailbox->domain));
    struct str copy;
    ok = ok && arena_dup(arena, buf_str(&words), &copy);
    buf_release(&words);
    if (!ok)
        return false;
    ret_address->text = str_sub(copy, 0, text_end);
    ret_address->local = str_sub(copy, text_end, local_end - text_end);
    ret_address->domain = str_skip(copy, local_end);
    return true;
}
