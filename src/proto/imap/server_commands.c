#include "proto/imap/engine.h"

/* RFC 3501 §6: every command, where it is allowed, and how it can end. */

#define R(code) IMAP_REPLY(IMAP_##code)

enum {
    USUAL = R(OK) | R(BAD) | R(NO) | R(LIMIT),
    STORE_AWAY = R(UNAVAILABLE) | R(SERVERBUG),
    ONE_NAME = USUAL | STORE_AWAY | R(CANNOT) | R(NOPERM),
    LOGIN = R(OK) | R(BAD) | R(NO) | R(LIMIT) | R(PRIVACYREQUIRED) | R(AUTHENTICATIONFAILED) |
            R(AUTHORIZATIONFAILED) | R(EXPIRED) | R(UNAVAILABLE),
    CHANGE = USUAL | STORE_AWAY | R(NOPERM) | R(INUSE) | R(READ_ONLY),
};

/* The row of a command without arguments that cannot fail but by bad syntax. */
#define SIMPLE(name, step, states)                                                                 \
    {                                                                                              \
        name, imap_parse_nothing, step, states, 0, R(OK) | R(BAD)                                  \
    }

const struct imap_command imap_commands[] = {
    SIMPLE("CAPABILITY", imap_step_capability, IMAP_STATES_ALL),
    SIMPLE("NOOP", imap_step_noop, IMAP_STATES_ALL),
    SIMPLE("LOGOUT", imap_step_logout, IMAP_STATES_ALL),
    {"ID", imap_parse_id, imap_step_id, IMAP_STATES_ALL, 0, R(OK) | R(BAD)},

    SIMPLE("STARTTLS", imap_step_starttls, IMAP_STATE_GREETED),
    {"LOGIN", imap_parse_login, imap_step_login, IMAP_STATE_GREETED, IMAP_ROW_PRIVATE, LOGIN},
    {"AUTHENTICATE", imap_parse_authenticate, imap_step_authenticate, IMAP_STATE_GREETED,
     IMAP_ROW_PRIVATE, LOGIN | R(BADMECHANISM) | R(BADSASL)},

    {"ENABLE", imap_parse_enable, imap_step_enable, IMAP_STATES_AUTH, 0, R(OK) | R(BAD)},
    SIMPLE("NAMESPACE", imap_step_namespace, IMAP_STATES_AUTH),
    SIMPLE("IDLE", imap_step_idle, IMAP_STATES_AUTH),
    {"LIST", imap_parse_list, imap_step_list, IMAP_STATES_AUTH, 0, USUAL | STORE_AWAY},
    {"LSUB", imap_parse_lsub, imap_step_list, IMAP_STATES_AUTH, 0, USUAL | STORE_AWAY},
    {"STATUS", imap_parse_status, imap_step_status, IMAP_STATES_AUTH, 0, ONE_NAME | R(NONEXISTENT)},
    {"SELECT", imap_parse_one_mailbox, imap_step_select, IMAP_STATES_AUTH, 0,
     ONE_NAME | R(NONEXISTENT)},
    {"EXAMINE", imap_parse_one_mailbox, imap_step_examine, IMAP_STATES_AUTH, 0,
     ONE_NAME | R(NONEXISTENT)},
    {"CREATE", imap_parse_create, imap_step_create, IMAP_STATES_AUTH, 0,
     ONE_NAME | R(ALREADYEXISTS) | R(OVERQUOTA) | R(USEATTR)},
    {"DELETE", imap_parse_one_mailbox, imap_step_delete, IMAP_STATES_AUTH, 0,
     ONE_NAME | R(NONEXISTENT) | R(HASCHILDREN) | R(INUSE)},
    {"RENAME", imap_parse_rename, imap_step_rename, IMAP_STATES_AUTH, 0,
     ONE_NAME | R(NONEXISTENT) | R(ALREADYEXISTS) | R(INUSE)},
    {"SUBSCRIBE", imap_parse_one_mailbox, imap_step_subscribe, IMAP_STATES_AUTH, 0,
     ONE_NAME | R(NONEXISTENT)},
    {"UNSUBSCRIBE", imap_parse_one_mailbox, imap_step_unsubscribe, IMAP_STATES_AUTH, 0,
     ONE_NAME | R(NONEXISTENT)},
    {"APPEND", imap_parse_append, imap_step_append, IMAP_STATES_AUTH, 0,
     ONE_NAME | R(TRYCREATE) | R(OVERQUOTA) | R(TOOBIG) | R(BADMESSAGE) | R(INUSE)},

    SIMPLE("CHECK", imap_step_noop, IMAP_STATE_SELECTED),
    {"CLOSE", imap_parse_nothing, imap_step_close, IMAP_STATE_SELECTED, 0, R(OK) | R(BAD)},
    SIMPLE("UNSELECT", imap_step_unselect, IMAP_STATE_SELECTED),
    {"EXPUNGE", imap_parse_expunge, imap_step_expunge, IMAP_STATE_SELECTED, IMAP_ROW_UID, CHANGE},
    {"SEARCH", imap_parse_search, imap_step_search, IMAP_STATE_SELECTED,
     IMAP_ROW_UID | IMAP_ROW_QUIET, USUAL | STORE_AWAY | R(BADCHARSET) | R(EXPUNGED)},
    {"FETCH", imap_parse_fetch, imap_step_fetch, IMAP_STATE_SELECTED, IMAP_ROW_UID | IMAP_ROW_QUIET,
     USUAL | STORE_AWAY | R(EXPUNGED)},
    {"STORE", imap_parse_store, imap_step_store, IMAP_STATE_SELECTED, IMAP_ROW_UID | IMAP_ROW_QUIET,
     CHANGE | R(EXPUNGED) | R(OVERQUOTA)},
    {"COPY", imap_parse_copy, imap_step_copy, IMAP_STATE_SELECTED, IMAP_ROW_UID,
     ONE_NAME | R(TRYCREATE) | R(OVERQUOTA) | R(EXPUNGED) | R(INUSE)},
    {"MOVE", imap_parse_copy, imap_step_move, IMAP_STATE_SELECTED, IMAP_ROW_UID,
     ONE_NAME | R(TRYCREATE) | R(OVERQUOTA) | R(EXPUNGED) | R(INUSE) | R(READ_ONLY)},
};

const size_t imap_command_count = sizeof imap_commands / sizeof imap_commands[0];
