#include "roles/keeper_admin.h"

#include <string.h>

#include "proto/sasl/prep.h"

bool admin_fold_login(struct str name, struct buf *out)
{
    size_t from = out->len;
    if (!sasl_prepare(name, out))
        return false;
    for (size_t i = from; i < out->len; i++)
        out->ptr[i] = ascii_lower(out->ptr[i]);
    return true;
}

static bool take_login(struct admin_change *change, struct str login)
{
    struct buf folded;
    buf_init(&folded, sizeof change->login);
    bool ok = admin_fold_login(login, &folded);
    if (ok) {
        memcpy(change->login, folded.ptr, folded.len);
        change->login_size = folded.len;
    }
    buf_release(&folded);
    return ok;
}

static bool take_password(struct admin_change *change, struct str password)
{
    struct buf prepared;
    buf_init_secret(&prepared, PASSWORD_MAX);
    bool ok = sasl_prepare(password, &prepared);
    if (ok) {
        memcpy(change->job.password, prepared.ptr, prepared.len);
        change->job.password_size = prepared.len;
    }
    buf_wipe(&prepared);
    return ok;
}

static bool take_label(struct admin_change *change, struct text label)
{
    struct str octets = text_peek(label);
    if (octets.len > sizeof change->label)
        return false;
    change->label_size = octets.len;
    if (octets.len)
        memcpy(change->label, octets.ptr, octets.len);
    return change->kind == SECRET_MAIN ? octets.len == 0 : octets.len > 0;
}

enum status_code admin_begin(struct secrets *s, const struct admin_wish *wish,
                             const uint8_t fresh[static SCRAM_SALT_SIZE],
                             struct admin_change *ret_change, struct diag *diag)
{
    *ret_change = (struct admin_change){.account = wish->account, .kind = wish->kind};
    ret_change->job.kind = PASSWORD_MAKE;
    if (!take_login(ret_change, wish->login))
        diag_set(diag, "not a login name");
    else if (!take_password(ret_change, wish->password))
        diag_set(diag, "a password is 1 to %d characters, without control characters",
                 PASSWORD_MAX);
    else if (!take_label(ret_change, wish->label))
        diag_set(diag, "an application password has a label of 1 to %d octets; others have none",
                 SECRETS_LABEL_MAX);
    else
        return secrets_salt(s, wish->account, wish->kind, fresh, &ret_change->job);
    return STATUS_INVALID;
}

enum status_code admin_finish(struct secrets *s, const struct admin_change *change,
                              const struct password_result *result, struct now now,
                              struct diag *diag)
{
    struct secrets_change c = {
        .account = change->account,
        .login = str_make(change->login, change->login_size),
        .kind = change->kind,
        .label = text_from(str_make(change->label, change->label_size)),
        .job = &change->job,
        .result = result,
        .at_ms = now.wall_ms,
        .mono_ms = now.mono_ms,
    };
    enum status_code status = result->status == STATUS_OK ? secrets_set(s, &c) : result->status;
    if (status == STATUS_EXISTS)
        diag_set(diag, "the label is taken, or the login name is another account's");
    else if (status == STATUS_TOO_BIG)
        diag_set(diag, "an account has at most %d passwords", SECRETS_PER_ACCOUNT_MAX);
    else if (status == STATUS_BUSY)
        diag_set(diag, "another password of the account was set at the same time: try again");
    else if (status != STATUS_OK)
        diag_set(diag, "%s", status_name(status));
    return status;
}
