#include "roles/keeper_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "codec/base64.h"
#include "io/socket.h"

/* ---- The others
 * --------------------------------------------------------------------------------------- */

static void on_ready(void *context, struct channel *from)
{
    (void)from;
    ((struct world *)context)->ready++;
}

static void on_capability_key(void *context, struct channel *from,
                              const struct ipc_capability_key_in *in)
{
    struct world *w = context;
    (void)from;
    assert_true(capability_keys_add(&w->keys, in->key));
    w->told_key++;
}

static void on_logins_ended(void *context, struct channel *from,
                            const struct ipc_logins_ended_in *in)
{
    struct world *w = context;
    struct capability_ends *ends = from == link_channel(w->vault) ? &w->vault_ends : &w->edge_ends;
    for (size_t i = 0; i < in->ends_count; i++)
        assert_true(capability_ends_add(ends, &(struct capability_end){in->ends[i].account,
                                                                       in->ends[i].credential,
                                                                       in->ends[i].issued_ms}));
}

void set_buf(struct buf *b, struct str s)
{
    buf_clear(b);
    buf_append_str(b, s);
}

static void on_rotated(void *context, struct channel *from,
                       const struct ipc_ticket_keys_rotated_in *in)
{
    struct world *w = context;
    assert_true(from == link_channel(w->edge));
    set_buf(&w->data, in->keys);
    w->rotated++;
}

static void on_ended(void *owner, enum status_code why, const char *words)
{
    (void)owner;
    (void)why;
    (void)words;
}

static const struct ipc_handlers handlers = {.ready = on_ready,
                                             .capability_key = on_capability_key,
                                             .logins_ended = on_logins_ended,
                                             .ticket_keys_rotated = on_rotated};

struct link *connect_to(struct world *w, int fd, enum ipc_role self)
{
    return link_open(&(struct link_setup){.loop = w->loop,
                                          .fd = fd,
                                          .self = self,
                                          .peer = ROLE_KEEPER,
                                          .handlers = &handlers,
                                          .context = w,
                                          .owner = w,
                                          .ended = on_ended});
}

struct link *introduce(struct world *w, enum ipc_role self)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    ipc_peer_note(link_channel(w->warden), &(struct ipc_peer_in){.role = self, .fd = fds[0]});
    return connect_to(w, fds[1], self);
}

void start_keeper(struct world *w)
{
    int fds[2];
    assert_int_equal(socket_pair(fds), STATUS_OK);
    w->keeper = role_new(&keeper_plan, 0, w->loop, fds[0], &w->log);
    assert_non_null(w->keeper);
    w->warden = connect_to(w, fds[1], ROLE_WARDEN);
    w->ready = 0;
    ipc_config_note(link_channel(w->warden),
                    &(struct ipc_config_in){.text = str_from_c(w->config)});
    while (w->ready == 0)
        loop_turn(w->loop, true);
    w->edge = introduce(w, ROLE_EDGE);
    w->vault = introduce(w, ROLE_VAULT);
    w->operator= introduce(w, ROLE_OPERATOR);
    w->courier = introduce(w, ROLE_COURIER);
    int told = w->told_key;
    while (w->told_key == told)
        loop_turn(w->loop, true);
}

void stop_keeper(struct world *w)
{
    link_close(w->edge);
    link_close(w->vault);
    link_close(w->operator);
    link_close(w->courier);
    role_free(w->keeper);
    link_close(w->warden);
}

void open_world(struct world *w)
{
    char path[128];
    memset(w, 0, sizeof *w);
    snprintf(w->folder, sizeof w->folder, "/tmp/postern-keeper-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(path, sizeof path, "%s/keeper", w->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(w->config, sizeof w->config,
             "hostname mail.a.test\ndata %s\nlogin-domain a.test\n"
             "listen mx 127.0.0.1:25 {\n    tls no\n}\n"
             "route smart {\n    domains *\n    to smtp.b.test\n    tls required\n"
             "    auth alice@a.test /secret\n}\n",
             w->folder);
    for (struct buf *b = &w->data; b <= &w->mechanism; b++)
        buf_init(b, 1 << 20);
    w->loop = loop_new();
    w->clock = loop_now(w->loop);
    loop_use_clock(w->loop, &w->clock);
    log_init(&w->log, memfd_create("log", MFD_CLOEXEC), ROLE_KEEPER);
    start_keeper(w);
}

/* No password of these tests may ever be in the log. */
static void check_log(struct world *w)
{
    struct buf log;
    char piece[4096];
    ssize_t n;
    buf_init(&log, 1 << 20);
    assert_int_equal(lseek(w->log.fd, 0, SEEK_SET), 0);
    while ((n = read(w->log.fd, piece, sizeof piece)) > 0)
        buf_append(&log, piece, (size_t)n);
    assert_true(str_find(buf_str(&log), STR("pencil")) < 0);
    assert_true(str_find(buf_str(&log), STR("mallory")) < 0);
    buf_release(&log);
}

void close_world(struct world *w)
{
    char path[160];
    stop_keeper(w);
    check_log(w);
    capability_ends_release(&w->vault_ends);
    capability_ends_release(&w->edge_ends);
    loop_free(w->loop);
    close(w->log.fd);
    for (struct buf *b = &w->data; b <= &w->mechanism; b++)
        buf_release(b);
    snprintf(path, sizeof path, "%s/keeper/secrets.db", w->folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/keeper", w->folder);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(w->folder), 0);
}

void wait_for_reply(struct world *w, uint32_t call)
{
    assert_int_not_equal(call, 0);
    while (w->waiting > 0)
        loop_turn(w->loop, true);
}

/* ---- Calls
 * ------------------------------------------------------------------------------------------- */

static void on_result(struct world *w, enum status_code status, const struct ipc_sasl_result *r)
{
    w->waiting--;
    w->status = status;
    if (status != STATUS_OK || !r)
        return;
    w->outcome = r->outcome;
    w->account = r->account;
    w->credential = r->credential;
    w->issued_ms = r->issued_ms;
    set_buf(&w->data, r->data);
    set_buf(&w->login, r->login);
    set_buf(&w->capability, r->capability);
}

void on_start(void *context, enum status_code status, const struct ipc_sasl_start_out *out)
{
    on_result(context, status, out ? &out->result : NULL);
}

static void on_step(void *context, enum status_code status, const struct ipc_sasl_step_out *out)
{
    on_result(context, status, out ? &out->result : NULL);
}

uint32_t start(struct world *w, uint64_t session, const char *mechanism, const char *peer,
               uint8_t protocol, struct str initial)
{
    w->waiting++;
    return ipc_sasl_start_call(link_channel(w->edge),
                               &(struct ipc_sasl_start_in){.session = session,
                                                           .protocol = protocol,
                                                           .mechanism = str_from_c(mechanism),
                                                           .has_initial = initial.len > 0,
                                                           .initial = initial,
                                                           .peer = str_from_c(peer),
                                                           .trace_id = STR("t1")},
                               on_start, w);
}

uint8_t step(struct world *w, uint64_t session, struct str response)
{
    w->waiting++;
    wait_for_reply(w,
                   ipc_sasl_step_call(link_channel(w->edge),
                                      &(struct ipc_sasl_step_in){session, response}, on_step, w));
    return w->outcome;
}

uint8_t plain_from(struct world *w, const char *peer, uint8_t protocol, const char *user,
                   const char *password)
{
    char message[256];
    int size = snprintf(message, sizeof message, "%c%s%c%s", 0, user, 0, password);
    wait_for_reply(w, start(w, 1, "PLAIN", peer, protocol, str_make(message, (size_t)size)));
    assert_int_equal(w->status, STATUS_OK);
    return w->outcome;
}

uint8_t plain(struct world *w, const char *user, const char *password)
{
    return plain_from(w, "10.0.0.1", LISTEN_IMAP, user, password);
}

static void on_set(void *context, enum status_code status, const struct ipc_password_set_out *out)
{
    struct world *w = context;
    w->waiting--;
    w->status = status == STATUS_OK ? out->status : status;
}

enum status_code set(struct world *w, uint64_t account, const char *login, const char *label,
                     const char *password)
{
    w->waiting++;
    wait_for_reply(w, ipc_password_set_call(
                          link_channel(w->operator),
                          &(struct ipc_password_set_in){.account = account,
                                                        .login = str_from_c(login),
                                                        .kind = label != NULL,
                                                        .label = text_from(str_from_c(label)),
                                                        .password = str_from_c(password)},
                          on_set, w));
    return w->status;
}

static void on_list(void *context, enum status_code status, const struct ipc_password_list_out *out)
{
    struct world *w = context;
    w->waiting--;
    assert_int_equal(status, STATUS_OK);
    w->count = out->passwords_count;
    if (w->count > 0) {
        w->id = out->passwords[w->count - 1].id;
        w->used_ms = out->passwords[w->count - 1].last_used_ms;
    }
}

size_t list(struct world *w, uint64_t account)
{
    w->waiting++;
    wait_for_reply(w, ipc_password_list_call(link_channel(w->operator),
                                             &(struct ipc_password_list_in){account}, on_list, w));
    return w->count;
}

static void on_removed(void *context, enum status_code status,
                       const struct ipc_password_remove_out *out)
{
    struct world *w = context;
    w->waiting--;
    w->status = status == STATUS_OK ? out->status : status;
}

enum status_code remove_password(struct world *w, uint64_t account, uint64_t id)
{
    w->waiting++;
    wait_for_reply(w, ipc_password_remove_call(link_channel(w->operator),
                                               &(struct ipc_password_remove_in){account, id},
                                               on_removed, w));
    return w->status;
}

static void on_disabled(void *context, enum status_code status,
                        const struct ipc_login_disable_out *out)
{
    struct world *w = context;
    w->waiting--;
    w->status = status == STATUS_OK ? out->status : status;
}

void disable(struct world *w, uint64_t account, bool disabled)
{
    w->waiting++;
    wait_for_reply(w, ipc_login_disable_call(link_channel(w->operator),
                                             &(struct ipc_login_disable_in){account, disabled},
                                             on_disabled, w));
    assert_int_equal(w->status, STATUS_OK);
}

/* RFC 5802 §3 from the client's side. */
void scram_final(struct buf *out, struct str password, struct str bare, struct str first)
{
    uint8_t salted[32], client[32], stored[32], signature[32];
    struct str rest = first, nonce = {0}, salt64 = {0}, count = {0};
    uint64_t iterations = 0;
    struct buf auth, salt;
    buf_init(&auth, 4096);
    buf_init(&salt, 64);
    assert_true(str_split(&rest, ',', &nonce) && str_split(&rest, ',', &salt64) &&
                str_split(&rest, ',', &count));
    assert_true(base64_decode(&salt, str_skip(salt64, 2)) &&
                str_to_u64(str_skip(count, 2), 1000000, &iterations));
    buf_printf(out, "c=biws,%.*s", STR_ARG(nonce));
    buf_printf(&auth, "%.*s,%.*s,%.*s", STR_ARG(bare), STR_ARG(first), STR_ARG(buf_str(out)));
    PKCS5_PBKDF2_HMAC(password.ptr, (int)password.len, (const unsigned char *)salt.ptr,
                      (int)salt.len, (int)iterations, EVP_sha256(), 32, salted);
    HMAC(EVP_sha256(), salted, 32, (const unsigned char *)"Client Key", 10, client, NULL);
    SHA256(client, 32, stored);
    HMAC(EVP_sha256(), stored, 32, (const unsigned char *)auth.ptr, auth.len, signature, NULL);
    for (int i = 0; i < 32; i++)
        client[i] ^= signature[i];
    buf_printf(out, ",p=");
    base64_encode(out, str_make(client, 32));
    buf_release(&auth);
    buf_release(&salt);
}

/* All but the empty message at the end. */
uint8_t scram_proof(struct world *w, const char *user, const char *password)
{
    struct buf message, final;
    buf_init(&message, 256);
    buf_init(&final, 1024);
    buf_printf(&message, "n,,n=%s,r=clientnonce", user);
    wait_for_reply(w, start(w, 5, "SCRAM-SHA-256", "10.0.0.1", LISTEN_IMAPS, buf_str(&message)));
    assert_int_equal(w->outcome, CHALLENGE);
    scram_final(&final, str_from_c(password), str_skip(buf_str(&message), 3), buf_str(&w->data));
    step(w, 5, buf_str(&final));
    buf_release(&message);
    buf_release(&final);
    return w->outcome;
}
