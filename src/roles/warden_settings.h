#ifndef POSTERN_ROLES_WARDEN_SETTINGS_H
#define POSTERN_ROLES_WARDEN_SETTINGS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/diag.h"
#include "base/status.h"
#include "ipc/ipc_messages.h"
#include "roles/config.h"

/* What one reading of the configuration file and its certificates gave. */
struct warden_settings {
    struct arena arena;
    struct str file_name;
    struct str text;
    struct config config;
    struct ipc_pem *certificates; /* config.certificate_count */
};

/*
 * *ret_settings is the caller's to free. On failure *words has a line for each error, with the
 * file's name, line and column where it is the file's fault.
 */
enum status_code warden_settings_load(const char *path, struct warden_settings **ret_settings,
                                      struct buf *words) MUST_USE;
void warden_settings_free(struct warden_settings *s);

/* Opens a certificate's private key, to be passed on. */
enum status_code warden_settings_open_key(const struct warden_settings *s, size_t number,
                                          int *ret_fd, struct diag *diag) MUST_USE;

/* The same for the password file of a route that has one. */
enum status_code warden_settings_open_secret(const struct route_rule *route, int *ret_fd,
                                             struct diag *diag) MUST_USE;

/*
 * The same for the files with authorities (the first) and keys of zones (the others), for which
 * number runs from 0 on; STATUS_GONE: there are no more. What need not be there and is not:
 * STATUS_NOT_FOUND.
 */
enum status_code warden_settings_open_trust(const struct warden_settings *s, size_t number,
                                            int *ret_fd, struct diag *diag) MUST_USE;

#endif
