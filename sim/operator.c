#include "sim/operator.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "roles/link.h"

enum { WAIT_TURNS = 20000 };

/* As in ipc.table's queue_change. */
enum action { HOLD, RELEASE, RETRY, BOUNCE, REMOVE, REROUTE, ACTIONS };

/* ---- Calls --------------------------------------------------------------------------------------
 */

struct answer {
    enum status_code status;
    uint64_t number;
    bool there;
};

#define ON_ANSWER(name, field)                                                                     \
    static void on_##name(void *context, enum status_code status,                                  \
                          const struct ipc_##name##_out *out)                                      \
    {                                                                                              \
        *(struct answer *)context =                                                                \
            (struct answer){.status = status == STATUS_OK ? out->status : status,                  \
                            .number = status == STATUS_OK ? (field) : 0,                           \
                            .there = true};                                                        \
    }

ON_ANSWER(domain_add, 0)
ON_ANSWER(account_add, out->account)
ON_ANSWER(account_set, 0)
ON_ANSWER(alias_set, 0)
ON_ANSWER(password_set, 0)
ON_ANSWER(login_disable, 0)
ON_ANSWER(queue_change, out->through)

/* Whoever is gone meanwhile answers too: the link is closed. STATUS_GONE: nobody knows. */
static enum status_code finish(struct world *w, struct link *link, struct answer *answer)
{
    for (int i = 0; i < WAIT_TURNS && !answer->there && loop_turn(w->loop, false); i++)
        ;
    enum status_code status = answer->there ? answer->status : STATUS_GONE;
    link_close(link);
    return status;
}

static void must(struct world *w, enum status_code status, const char *what)
{
    if (status != STATUS_OK)
        world_wrong(w, "setting up: %s: %s", what, status_name(status));
}

/* ---- Setting up ---------------------------------------------------------------------------------
 */

static void add_domain(struct world *w)
{
    struct answer answer = {0};
    struct link *link = world_operate(w, WORLD_VAULT);
    ipc_domain_add_call(link_channel(link),
                        &(struct ipc_domain_add_in){w->clock.wall_ms, STR("sim.test")},
                        on_domain_add, &answer);
    must(w, finish(w, link, &answer), "domain");
}

static void add_account(struct world *w, unsigned i)
{
    char words[40];
    struct answer answer = {0};
    struct link *link = world_operate(w, WORLD_VAULT);
    post_address(0, i, words);
    struct ipc_address address = {text_from(str_from_c(words))};
    struct ipc_account_add_in in = {.at_ms = w->clock.wall_ms,
                                    .name = str_from_c(world_names[i]),
                                    .addresses = &address,
                                    .addresses_count = 1};
    ipc_account_add_call(link_channel(link), &in, on_account_add, &answer);
    must(w, finish(w, link, &answer), "account");
    w->accounts[i] = answer.number;
    answer.there = false;
    link = world_operate(w, WORLD_KEEPER);
    ipc_password_set_call(link_channel(link),
                          &(struct ipc_password_set_in){.account = w->accounts[i],
                                                        .login = str_from_c(world_names[i]),
                                                        .password = STR(WORLD_PASSWORD)},
                          on_password_set, &answer);
    must(w, finish(w, link, &answer), "password");
}

/* The same targets each time, in an order that is drawn. */
static enum status_code set_alias(struct world *w)
{
    char name[40], words[WORLD_ACCOUNTS][40];
    struct ipc_address targets[WORLD_ACCOUNTS];
    struct answer answer = {0};
    struct link *link = world_operate(w, WORLD_VAULT);
    uint64_t first = world_draw(w, WORLD_ACCOUNTS);
    if (!link)
        return STATUS_GONE;
    for (unsigned i = 0; i < WORLD_ACCOUNTS; i++) {
        post_address(0, (unsigned)(i + first) % WORLD_ACCOUNTS, words[i]);
        targets[i] = (struct ipc_address){text_from(str_from_c(words[i]))};
    }
    post_address(0, POST_WHO, name);
    ipc_alias_set_call(link_channel(link),
                       &(struct ipc_alias_set_in){.at_ms = w->clock.wall_ms,
                                                  .address = text_from(str_from_c(name)),
                                                  .targets = targets,
                                                  .targets_count = WORLD_ACCOUNTS},
                       on_alias_set, &answer);
    return finish(w, link, &answer);
}

void operator_set_up(struct operator* o, struct post *post, struct sink *sink)
{
    *o = (struct operator){.world = post->world, .post = post, .sink = sink};
    add_domain(o->world);
    for (unsigned i = 0; i < WORLD_ACCOUNTS; i++)
        add_account(o->world, i);
    must(o->world, set_alias(o->world), "alias");
    world_settle(o->world);
    world_furnish(o->world);
}

/* ---- Accounts -----------------------------------------------------------------------------------
 */

bool operator_troubles(const struct operator* o, unsigned account)
{
    return o->disabled[account] || o->no_login[account] || o->quota[account] != 0;
}

static void look(struct operator* o, unsigned account)
{
    struct query *q =
        db_query(o->world->reader, "SELECT disabled, quota FROM account WHERE id = $id");
    query_bind_int(q, "$id", (int64_t)o->world->accounts[account]);
    if (!query_next(q))
        world_wrong(o->world, "the account of %s is gone", world_names[account]);
    o->disabled[account] = query_int(q, 0) != 0;
    o->quota[account] = (uint64_t)query_int(q, 1);
    if (query_end(q) != STATUS_OK)
        world_wrong(o->world, "the accounts cannot be read");
    if (operator_troubles(o, account))
        o->post->ever_troubled |= o->post->troubled |= 1u << account;
}

void operator_begin_step(struct operator* o)
{
    o->post->troubled = 0;
    for (unsigned i = 0; i < WORLD_ACCOUNTS; i++)
        if (operator_troubles(o, i))
            o->post->troubled |= 1u << i;
}

static enum status_code set_account(struct operator* o, unsigned account, uint64_t quota,
                                    bool disabled)
{
    struct world *w = o->world;
    struct answer answer = {0};
    struct link *link = world_operate(w, WORLD_VAULT);
    if (!link)
        return STATUS_GONE;
    ipc_account_set_call(link_channel(link),
                         &(struct ipc_account_set_in){.at_ms = w->clock.wall_ms,
                                                      .account = w->accounts[account],
                                                      .quota = quota,
                                                      .disabled = disabled},
                         on_account_set, &answer);
    enum status_code status = finish(w, link, &answer);
    world_settle(w);
    look(o, account);
    if (status == STATUS_OK && (o->disabled[account] != disabled || o->quota[account] != quota))
        world_wrong(w, "the account of %s is not as was answered", world_names[account]);
    return status;
}

static enum status_code set_login(struct operator* o, unsigned account, bool disabled)
{
    struct answer answer = {0};
    struct link *link = world_operate(o->world, WORLD_KEEPER);
    if (!link)
        return STATUS_GONE;
    ipc_login_disable_call(link_channel(link),
                           &(struct ipc_login_disable_in){.account = o->world->accounts[account],
                                                          .disabled = disabled},
                           on_login_disable, &answer);
    enum status_code status = finish(o->world, link, &answer);
    o->no_login[account] = disabled || (status != STATUS_OK && o->no_login[account]);
    o->post->ever_troubled |= o->post->troubled |= (unsigned)o->no_login[account] << account;
    return status;
}

/* ---- The queue ----------------------------------------------------------------------------------
 */

static enum status_code change_queue(struct operator* o, enum action action, uint32_t message)
{
    struct world *w = o->world;
    char words[40];
    struct ipc_queue_change_in in = {.at_ms = w->clock.wall_ms,
                                     .action = (uint8_t)action,
                                     .words = text_from(STR("as we will"))};
    enum status_code status = STATUS_OK;
    post_address(message, POST_ELSEWHERE, words);
    if (message != 0)
        in.selection.recipient = text_from(str_from_c(words));
    do {
        struct answer answer = {0};
        struct link *link = world_operate(w, WORLD_VAULT);
        if (!link)
            return STATUS_GONE;
        ipc_queue_change_call(link_channel(link), &in, on_queue_change, &answer);
        status = finish(w, link, &answer);
        in.after = answer.number;
    } while (status == STATUS_OK && in.after != 0);
    return status;
}

static void meddle_with_queue(struct operator* o)
{
    struct world *w = o->world;
    enum action action = (enum action)world_draw(w, ACTIONS);
    uint32_t message = world_draw(w, 4) == 0 ? 0 : sink_some_waiting(o->sink);
    if (message == 0 && (action == BOUNCE || action == REMOVE) && world_draw(w, 4) != 0)
        action = RELEASE;
    if (action == BOUNCE || action == REMOVE)
        sink_give_up(o->sink, message, action == BOUNCE);
    change_queue(o, action, message);
}

/* ---- What is done -------------------------------------------------------------------------------
 */

void operator_meddle(struct operator* o)
{
    struct world *w = o->world;
    unsigned account = (unsigned)world_draw(w, WORLD_ACCOUNTS);
    o->changes++;
    switch (world_draw(w, 8)) {
    case 0:
        set_account(o, account, 0, true);
        break;
    case 1:
        set_login(o, account, world_draw(w, 2));
        break;
    case 2:
        set_account(o, account, 1 + world_draw(w, 400000), false);
        break;
    case 3:
        set_alias(w);
        break;
    case 4:
        world_reload(w);
        break;
    case 5:
        operator_relent(o);
        break;
    default:
        meddle_with_queue(o);
        break;
    }
}

void operator_relent(struct operator* o)
{
    change_queue(o, RELEASE, 0);
    for (unsigned i = 0; i < WORLD_ACCOUNTS; i++) {
        set_account(o, i, 0, false);
        set_login(o, i, false);
    }
}
