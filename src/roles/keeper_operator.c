#include <stdlib.h>
#include <string.h>

#include "io/random.h"
#include "roles/keeper.h"
#include "roles/keeper_admin.h"

/* A password_set whose password is with a hasher. */
struct setting {
    struct setting *next;
    struct keeper *keeper;
    struct channel *channel;
    uint32_t id;
    struct admin_change change;
};

static void reply_set(struct channel *ch, uint32_t id, enum status_code status,
                      const struct diag *diag)
{
    ipc_password_set_reply(
        ch, id, &(struct ipc_password_set_out){.status = status, .words = str_from_c(diag->words)});
}

static void log_change(struct keeper *k, const char *event, uint64_t account,
                       enum status_code status)
{
    struct log_line line;
    log_begin(&line, role_log(k->role), role_now(k->role), LOG_INFO, event);
    log_number(&line, "account", (int64_t)account);
    log_words(&line, "status", status_name(status));
    log_end(&line);
}

/* Takes the setting out of the list and answers it. */
static void end_setting(struct setting *s, enum status_code status, const struct diag *diag)
{
    struct setting **at = &s->keeper->settings;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    log_change(s->keeper, "password-set", s->change.account, status);
    reply_set(s->channel, s->id, status, diag);
    explicit_bzero(s, sizeof *s);
    free(s);
}

static void on_made(void *context, const struct password_result *result)
{
    struct setting *s = context;
    struct diag diag = {{0}};
    struct now now = role_now(s->keeper->role);
    now.mono_ms = keeper_end_time(s->keeper);
    enum status_code status = admin_finish(s->keeper->secrets, &s->change, result, now, &diag);
    login_cache_clear(s->keeper->cache);
    keeper_tell_ends(s->keeper, s->change.account);
    end_setting(s, status, &diag);
}

void keeper_on_password_set(void *context, struct channel *from, uint32_t id,
                            const struct ipc_password_set_in *in)
{
    struct keeper *k = context;
    struct diag diag = {{0}};
    uint8_t fresh[SCRAM_SALT_SIZE];
    struct setting *s = calloc(1, sizeof *s);
    if (!s || in->kind > SECRET_APPLICATION) {
        free(s);
        reply_set(from, id, s ? STATUS_INVALID : STATUS_NO_MEMORY, &diag);
        return;
    }
    struct admin_wish wish = {.account = in->account,
                              .login = in->login,
                              .kind = (enum secret_kind)in->kind,
                              .label = in->label,
                              .password = in->password};
    s->keeper = k;
    s->channel = from;
    s->id = id;
    s->next = k->settings;
    k->settings = s;
    random_bytes(fresh, sizeof fresh);
    enum status_code status = admin_begin(k->secrets, &wish, fresh, &s->change, &diag);
    if (status == STATUS_OK && hashers_submit(k->hashers, &s->change.job, on_made, s) == 0) {
        status = STATUS_BUSY;
        diag_set(&diag, "too many passwords wait to be checked");
    }
    if (status != STATUS_OK)
        end_setting(s, status, &diag);
}

void keeper_end_settings(struct keeper *k)
{
    struct diag diag = {"the keeper was stopped"};
    while (k->settings)
        end_setting(k->settings, STATUS_GONE, &diag);
}

void keeper_on_password_list(void *context, struct channel *from, uint32_t id,
                             const struct ipc_password_list_in *in)
{
    struct keeper *k = context;
    struct secrets_entry entries[SECRETS_PER_ACCOUNT_MAX];
    struct ipc_password passwords[SECRETS_PER_ACCOUNT_MAX];
    size_t count = 0;
    enum status_code status = secrets_list(k->secrets, in->account, entries, &count);
    if (status != STATUS_OK)
        count = 0;
    for (size_t i = 0; i < count; i++)
        passwords[i] = (struct ipc_password){
            .id = entries[i].id,
            .kind = (uint8_t)entries[i].kind,
            .label = text_from(str_make(entries[i].label, entries[i].label_size)),
            .created_ms = entries[i].created_ms,
            .last_used_ms = entries[i].used_ms,
        };
    ipc_password_list_reply(from, id,
                            &(struct ipc_password_list_out){.status = status,
                                                            .passwords = passwords,
                                                            .passwords_count = count});
}

void keeper_on_password_remove(void *context, struct channel *from, uint32_t id,
                               const struct ipc_password_remove_in *in)
{
    struct keeper *k = context;
    enum status_code status = secrets_remove(k->secrets, in->account, in->id, keeper_end_time(k));
    login_cache_clear(k->cache);
    keeper_tell_ends(k, in->account);
    log_change(k, "password-removed", in->account, status);
    ipc_password_remove_reply(from, id, &(struct ipc_password_remove_out){.status = status});
}

void keeper_on_login_disable(void *context, struct channel *from, uint32_t id,
                             const struct ipc_login_disable_in *in)
{
    struct keeper *k = context;
    enum status_code status =
        secrets_disable(k->secrets, in->account, in->disabled, keeper_end_time(k));
    login_cache_clear(k->cache);
    keeper_tell_ends(k, in->account);
    log_change(k, in->disabled ? "login-disabled" : "login-enabled", in->account, status);
    ipc_login_disable_reply(from, id, &(struct ipc_login_disable_out){.status = status});
}
