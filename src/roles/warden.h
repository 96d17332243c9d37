#ifndef POSTERN_ROLES_WARDEN_H
#define POSTERN_ROLES_WARDEN_H

/*
 * The warden: reads the configuration, binds the ports, starts the roles, connects them with each
 * other, restarts those that die, reloads at SIGHUP and drains at SIGTERM or SIGINT. It reads not a
 * byte from the network and no key: what needs them gets the descriptor.
 */
struct warden_plan {
    const char *config_path;

    /* Every role serves and every port answers; called once. May be NULL. */
    void (*ready)(void *context);
    void *context;
};

/* Serves until it is told to stop; returns the exit status. */
int warden_main(const struct warden_plan *plan);

#endif
