#ifndef POSTERN_ROLES_CHANGE_H
#define POSTERN_ROLES_CHANGE_H

/* What ipc.table's change tells of: the numbers go from a vault to mailrooms. */
enum change_kind {
    CHANGE_NEW,
    CHANGE_FLAGS,
    CHANGE_EXPUNGED,
    CHANGE_MAILBOX,
    CHANGE_MAILBOX_GONE,
    CHANGE_ACCOUNT,
    CHANGE_UNKNOWN, /* words were lost: anything may have changed */
};

#endif
