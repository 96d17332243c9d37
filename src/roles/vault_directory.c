#include "base/limits.h"
#include "roles/vault_internal.h"

/* What operators change. Each request runs between savepoints, and explains its failure. */

/* Begins a request; false: it cannot run, and *status says why. */
static bool begin(struct vault_batch *b, enum status_code *status)
{
    if (!vault_batch_begin(b, true))
        return false;
    *status = vault_guard(b);
    return *status == STATUS_OK;
}

/* Ends it. The words are kept for the reply. */
static struct str finish(struct vault_batch *b, enum status_code *status, const struct diag *d)
{
    struct str words = {NULL, 0};
    *status = vault_unguard(b, *status);
    if (*status != STATUS_OK && !arena_dup(&b->results, str_from_c(d->words), &words))
        return (struct str){NULL, 0};
    return words;
}

static void tell_account(struct vault_batch *b, uint64_t account)
{
    struct ipc_change change = {.account = account, .kind = CHANGE_ACCOUNT};
    vault_changed(b, &change);
}

void vault_domain_add(struct vault_batch *b, struct vault_ticket t,
                      const struct ipc_domain_add_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_DOMAIN_ADD};
    struct diag d = {0};
    enum status_code status = STATUS_OK;
    if (begin(b, &status)) {
        status = domain_add(&b->writer, in->name, in->at_ms, &d);
        reply.domain_add.words = finish(b, &status, &d);
    }
    reply.status = status;
    vault_answer(b, &reply);
}

void vault_domain_set(struct vault_batch *b, struct vault_ticket t,
                      const struct ipc_domain_set_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_DOMAIN_SET};
    struct diag d = {0};
    enum status_code status = STATUS_OK;
    if (begin(b, &status)) {
        status = domain_set(&b->writer, in->name, in->catch_all, in->subaddress, &d);
        reply.domain_set.words = finish(b, &status, &d);
    }
    reply.status = status;
    vault_answer(b, &reply);
}

void vault_domain_remove(struct vault_batch *b, struct vault_ticket t,
                         const struct ipc_domain_remove_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_DOMAIN_REMOVE};
    struct diag d = {0};
    enum status_code status = STATUS_OK;
    if (begin(b, &status)) {
        status = domain_remove(&b->writer, in->name, &d);
        reply.domain_remove.words = finish(b, &status, &d);
    }
    reply.status = status;
    vault_answer(b, &reply);
}

static enum status_code add_account(struct vault_batch *b, const struct ipc_account_add_in *in,
                                    const struct account_mailbox *mailboxes, size_t mailbox_count,
                                    uint64_t *ret_account, struct diag *d)
{
    enum status_code status =
        account_add(&b->writer, in->name, in->quota, in->at_ms, ret_account, d);
    for (size_t i = 0; status == STATUS_OK && i < mailbox_count; i++)
        status = account_add_mailbox(&b->writer, *ret_account, &mailboxes[i], in->at_ms, d);
    for (size_t i = 0; status == STATUS_OK && i < in->addresses_count; i++)
        status = address_add(&b->writer, in->addresses[i].address, *ret_account, in->at_ms, d);
    return status;
}

void vault_account_add(struct vault_batch *b, struct vault_ticket t,
                       const struct ipc_account_add_in *in, const struct account_mailbox *mailboxes,
                       size_t mailbox_count)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_ACCOUNT_ADD};
    struct diag d = {0};
    enum status_code status = STATUS_OK;
    if (begin(b, &status)) {
        status = add_account(b, in, mailboxes, mailbox_count, &reply.account_add.account, &d);
        reply.account_add.words = finish(b, &status, &d);
    }
    reply.status = status;
    vault_answer(b, &reply);
}

void vault_account_set(struct vault_batch *b, struct vault_ticket t,
                       const struct ipc_account_set_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_ACCOUNT_SET};
    struct diag d = {0};
    enum status_code status = STATUS_OK;
    if (begin(b, &status)) {
        status = account_set(&b->writer, in->account, in->quota, in->disabled, &d);
        reply.account_set.words = finish(b, &status, &d);
        tell_account(b, in->account);
    }
    reply.status = status;
    vault_answer(b, &reply);
}

void vault_account_remove(struct vault_batch *b, struct vault_ticket t,
                          const struct ipc_account_remove_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_ACCOUNT_REMOVE};
    struct diag d = {0};
    enum status_code status = STATUS_OK;
    if (begin(b, &status)) {
        status = account_remove(&b->writer, in->account, b->queue.clock_ms, &d);
        reply.account_remove.words = finish(b, &status, &d);
        tell_account(b, in->account);
    }
    reply.status = status;
    vault_answer(b, &reply);
}

void vault_address_add(struct vault_batch *b, struct vault_ticket t,
                       const struct ipc_address_add_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_ADDRESS_ADD};
    struct diag d = {0};
    enum status_code status = STATUS_OK;
    if (begin(b, &status)) {
        status = address_add(&b->writer, in->address, in->account, in->at_ms, &d);
        reply.address_add.words = finish(b, &status, &d);
    }
    reply.status = status;
    vault_answer(b, &reply);
}

void vault_address_remove(struct vault_batch *b, struct vault_ticket t,
                          const struct ipc_address_remove_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_ADDRESS_REMOVE};
    struct diag d = {0};
    enum status_code status = STATUS_OK;
    if (begin(b, &status)) {
        status = address_remove(&b->writer, in->address, &d);
        reply.address_remove.words = finish(b, &status, &d);
    }
    reply.status = status;
    vault_answer(b, &reply);
}

static enum status_code set_alias(struct vault_batch *b, const struct ipc_alias_set_in *in,
                                  struct diag *d)
{
    uint64_t alias = 0;
    if (in->targets_count == 0 || in->targets_count > LIMIT_ALIAS_TARGETS) {
        diag_set(d, "an alias leads to 1 to %d addresses", LIMIT_ALIAS_TARGETS);
        return STATUS_INVALID;
    }
    enum status_code status = alias_clear(&b->writer, in->address, in->at_ms, &alias, d);
    for (size_t i = 0; status == STATUS_OK && i < in->targets_count; i++)
        status = alias_add_target(&b->writer, alias, (uint32_t)i, in->targets[i].address, d);
    return status;
}

void vault_alias_set(struct vault_batch *b, struct vault_ticket t,
                     const struct ipc_alias_set_in *in)
{
    struct vault_reply reply = {.ticket = t, .type = IPC_ALIAS_SET};
    struct diag d = {0};
    enum status_code status = STATUS_OK;
    if (begin(b, &status)) {
        status = set_alias(b, in, &d);
        reply.alias_set.words = finish(b, &status, &d);
    }
    reply.status = status;
    vault_answer(b, &reply);
}
