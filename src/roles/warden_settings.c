#include "roles/warden_settings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/limits.h"
#include "io/files.h"
#include "io/tls.h"
#include "roles/key_check.h"
#include "roles/spawn.h"

enum { PEM_SIZE_MAX = 256 * 1024 };

void warden_settings_free(struct warden_settings *s)
{
    if (!s)
        return;
    arena_reset(&s->arena);
    free(s);
}

/* Reads a small file into the arena. */
static enum status_code read_into(struct arena *arena, const char *path, size_t size_max,
                                  struct str *ret_content, struct diag *diag)
{
    struct buf content;
    buf_init(&content, size_max);
    enum status_code status = files_read(path, &content, diag);
    if (status == STATUS_OK && !arena_dup(arena, buf_str(&content), ret_content)) {
        diag_set(diag, "%s: no memory", path);
        status = STATUS_NO_MEMORY;
    }
    buf_release(&content);
    return status;
}

/* A chain that OpenSSL reads. */
static enum status_code read_chain(struct warden_settings *s, size_t number, struct diag *diag)
{
    char path[PATH_MAX];
    struct str *chain = &s->certificates[number].chain;
    if (!str_to_c(s->config.certificates[number].chain_file, path, sizeof path)) {
        diag_set(diag, "certificate: the name is too long");
        return STATUS_INVALID;
    }
    enum status_code status = read_into(&s->arena, path, PEM_SIZE_MAX, chain, diag);
    if (status != STATUS_OK)
        return status;
    EVP_PKEY *key = tls_public_key(*chain);
    if (!key) {
        diag_set(diag, "%s: not a certificate in PEM", path);
        return STATUS_INVALID;
    }
    EVP_PKEY_free(key);
    return STATUS_OK;
}

/* A regular file: no role shall wait for what a pipe brings. */
static enum status_code open_for_role(struct str name, const char *what, int *ret_fd,
                                      struct diag *diag)
{
    char path[PATH_MAX];
    struct stat facts;
    if (!str_to_c(name, path, sizeof path)) {
        diag_set(diag, "%s: the name is too long", what);
        return STATUS_INVALID;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        diag_set(diag, "%s: %s", path, strerror(errno));
        return status_from_errno(errno);
    }
    if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        diag_set(diag, "%s: not a file", path);
        close(fd);
        return STATUS_INVALID;
    }
    *ret_fd = fd;
    return STATUS_OK;
}

enum status_code warden_settings_open_key(const struct warden_settings *s, size_t number,
                                          int *ret_fd, struct diag *diag)
{
    return open_for_role(s->config.certificates[number].key_file, "key", ret_fd, diag);
}

enum status_code warden_settings_open_secret(const struct route_rule *route, int *ret_fd,
                                             struct diag *diag)
{
    return open_for_role(route->password_file, "route", ret_fd, diag);
}

/* Debian's copy of the root zone's keys (package dns-root-data). */
#define ROOT_KEY_FILE "/usr/share/dns/root.key"

enum status_code warden_settings_open_trust(const struct warden_settings *s, size_t number,
                                            int *ret_fd, struct diag *diag)
{
    const struct config_resolver *r = &s->config.resolver;
    if (number == 0 || number == 1) {
        struct str name = number == 0 ? s->config.outbound.ca_file : STR(ROOT_KEY_FILE);
        enum status_code status = open_for_role(name, "trust", ret_fd, diag);
        return status == STATUS_OK ? STATUS_OK : STATUS_NOT_FOUND;
    }
    if (number - 2 >= r->trust_anchor_count)
        return STATUS_GONE;
    return open_for_role(r->trust_anchors[number - 2], "trust-anchor", ret_fd, diag);
}

static enum status_code check_key(const struct warden_settings *s, size_t number, struct diag *diag)
{
    int fd = -1;
    enum status_code status = warden_settings_open_key(s, number, &fd, diag);
    if (status != STATUS_OK)
        return status;
    struct diag why = {0};
    status = key_check(fd, s->certificates[number].chain, &why);
    if (status != STATUS_OK)
        diag_set(diag, "%.*s: %s", STR_ARG(s->config.certificates[number].key_file), why.words);
    close(fd);
    return status;
}

/* All of them, so that all errors are told at once. */
static enum status_code load_certificates(struct warden_settings *s, struct conf_errors *errors)
{
    size_t count = s->config.certificate_count;
    enum status_code first = STATUS_OK;
    s->certificates = arena_alloc_array(&s->arena, count, sizeof *s->certificates);
    if (!s->certificates && count > 0)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const struct config_certificate *pair = &s->config.certificates[i];
        struct diag diag = {0};
        enum status_code chain = read_chain(s, i, &diag);
        enum status_code status = chain == STATUS_OK ? check_key(s, i, &diag) : chain;
        if (status == STATUS_OK)
            continue;
        conf_error_add(errors, pair->line,
                       chain == STATUS_OK ? pair->key_column : pair->chain_column,
                       "certificate: %s", diag.words);
        if (first == STATUS_OK)
            first = status;
    }
    return first;
}

/* What cannot be opened now would hold the route's mail up later. */
static enum status_code check_secrets(const struct warden_settings *s, struct buf *words)
{
    enum status_code first = STATUS_OK;
    for (size_t i = 0; i < s->config.routes.count; i++) {
        const struct route_rule *route = &s->config.routes.list[i];
        struct diag diag = {0};
        int fd = -1;
        if (str_empty(route->password_file))
            continue;
        enum status_code status = warden_settings_open_secret(route, &fd, &diag);
        if (status == STATUS_OK) {
            close(fd);
            continue;
        }
        buf_printf(words, "%s\n", diag.words);
        if (first == STATUS_OK)
            first = status;
    }
    return first;
}

/* Of what the configuration names itself; the usual files may be missing. */
static enum status_code check_anchors(const struct warden_settings *s, struct buf *words)
{
    enum status_code first = STATUS_OK, status = STATUS_OK;
    for (size_t i = 2; status != STATUS_GONE; i++) {
        struct diag diag = {0};
        int fd = -1;
        status = warden_settings_open_trust(s, i, &fd, &diag);
        if (status == STATUS_OK)
            close(fd);
        else if (status != STATUS_GONE)
            buf_printf(words, "%s\n", diag.words);
        if (first == STATUS_OK && status != STATUS_GONE)
            first = status;
    }
    return first;
}

/* One for each processor that we may run on. */
static unsigned edges_of_this_machine(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return LIMIT_EDGES_UNASKED; /* more processors than a set holds */
    unsigned processors = (unsigned)CPU_COUNT(&set);
    return processors < LIMIT_EDGES_UNASKED ? processors : LIMIT_EDGES_UNASKED;
}

static enum status_code load(struct warden_settings *s, const char *path, struct buf *words)
{
    struct diag diag = {0};
    struct conf_errors errors;
    conf_errors_init(&errors, &s->arena);
    if (!arena_dup(&s->arena, str_from_c(path), &s->file_name))
        return STATUS_NO_MEMORY;
    enum status_code status = read_into(&s->arena, path, CONFIG_TEXT_SIZE_MAX, &s->text, &diag);
    if (status != STATUS_OK) {
        buf_printf(words, "%s\n", diag.words);
        return status;
    }
    status = config_parse(s->text, &s->arena, &s->config, &errors);
    if (status != STATUS_OK && status != STATUS_INVALID)
        return status;
    if (s->config.processes[ROLE_EDGE] == 0)
        s->config.processes[ROLE_EDGE] = edges_of_this_machine();
    enum status_code parts[] = {status, load_certificates(s, &errors),
                                spawn_check_users(&s->config, &errors), STATUS_OK, STATUS_OK};
    conf_errors_print(&errors, s->file_name, words);
    parts[3] = check_secrets(s, words);
    parts[4] = check_anchors(s, words);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i] != STATUS_OK)
            return parts[i];
    return STATUS_OK;
}

enum status_code warden_settings_load(const char *path, struct warden_settings **ret_settings,
                                      struct buf *words)
{
    struct warden_settings *s = calloc(1, sizeof *s);
    if (!s)
        return STATUS_NO_MEMORY;
    arena_init(&s->arena, 2 * CONFIG_ARENA_SIZE);
    enum status_code status = load(s, path, words);
    if (status != STATUS_OK) {
        if (words->len == 0)
            buf_printf(words, "%s: %s\n", path, status_name(status));
        warden_settings_free(s);
        return status;
    }
    *ret_settings = s;
    return STATUS_OK;
}
