#ifndef POSTERN_ROLES_EDGE_SETTINGS_H
#define POSTERN_ROLES_EDGE_SETTINGS_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/diag.h"
#include "base/status.h"
#include "base/str.h"
#include "io/tls.h"
#include "proto/imap/server.h"
#include "proto/pop3/server.h"
#include "proto/smtp/server.h"
#include "roles/config.h"

/*
 * A configuration with its certificates, ready to serve by. A reload makes new settings; each
 * connection keeps those that it began with, so they are counted references.
 */
struct edge_settings {
    unsigned references;
    struct arena arena;
    struct config config;
    struct tls_server *tls; /* NULL: no certificate could be used */
    bool certificates_good; /* all of them could be */
    char *hostname;         /* config.hostname, terminated */

    /* What the engines of each listener are given; by the listener's number. */
    struct edge_service {
        struct smtp_listener smtp;
        struct imap_config imap;
        struct pop3_config pop3;
    } * services;
};

struct edge;

/* The text was checked by the warden: errors in it are a bug. NULL: no memory. */
struct edge_settings *edge_settings_new(struct edge *edge, const struct ipc_config_in *in,
                                        struct diag *diag);
struct edge_settings *edge_settings_take(struct edge_settings *s);
void edge_settings_drop(struct edge_settings *s);

#endif
