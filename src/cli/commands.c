#include "cli/commands.h"

#include "cli/sendmail.h"

const struct cli_command cli_commands[] = {
    {"demo", "DIR", 1, 1, "run a whole server on loopback, to try or to test against",
     "Data and a self-made certificate are in DIR, and stay there between runs. It prints a line\n"
     "that begins with \"ready\" when every port answers, and serves until Ctrl-C.",
     demo_options, run_demo, .no_json = true, .no_config = true},
    {"setup", "ADDRESS", 1, 1, "make this machine the mail server of ADDRESS's domain",
     "Writes a commented configuration, makes the users, the data directory, a first certificate\n"
     "and the systemd unit, adds the domain and the account, and tells which DNS records are\n"
     "needed. What is there already stays, but for a systemd unit of an earlier version that "
     "nobody\n"
     "edited. It can be run again.",
     setup_options, run_setup, .no_json = true, .no_config = true},

    {"serve", "", 0, 0, "run the server", NULL, NULL, run_control_serve, .no_json = true},
    {"reload", "", 0, 0, "have the running server read its configuration again",
     "Certificates too. No connection drops. A configuration with errors changes nothing.", NULL,
     run_control_reload},
    {"stop", "", 0, 0, "stop the running server", NULL, NULL, run_control_stop},
    {"status", "", 0, 0, "say whether the server runs, and what it keeps",
     "Exit status 3: it does not run.", NULL, run_control_status},
    {"version", "", 0, 0, "print the version", NULL, NULL, run_control_version},
    {"config check", "[FILE]", 0, 1, "show all errors of a configuration", NULL, NULL,
     run_config_check},
    {"store check", "", 0, 0, "look the whole store over, and try its migration",
     "Reads every page, so a large store takes its time. Where the store has an older format,\n"
     "what the server will do to it when it starts is done, and undone again. The server must\n"
     "not run.",
     NULL, run_store_check},
    {"store restored", "", 0, 0, "say that an old copy has been put in the place of the store",
     "Mail programs then read their folders anew, no id is used twice, and mail that waits to\n"
     "leave is held: some of it has left since the copy was made. The server must not run.",
     NULL, run_store_restored},
    {"trace", "ID", 1, 1, "show what happened to a message",
     "The id is in the log, in the Received field, and in the reply to the sender.", NULL,
     run_trace_show},
    {"explain", "ADDRESS", 1, 1, "show what would happen to mail for an address now, and why",
     "For an address elsewhere: its route, the servers and their addresses, which TLS is asked\n"
     "for, the limits, and what is known of earlier attempts. The DNS is asked.",
     NULL, run_explain},
    {"tls-report", "DAY [DOMAIN]", 1, 2, "tell how TLS went with other servers on a day",
     "DAY is like 2026-11-22 (UTC). The reports are as RFC 8460 has them, in JSON: a list with "
     "one\n"
     "for each domain, or the one of DOMAIN.",
     tls_report_options, run_tls_report},

    {"queue list", "[ID]...", 0, CLI_ARGS_MAX, "list the mail that waits to leave",
     "A row is one recipient. ID is a row's, or a message's: its trace id.", queue_list_options,
     run_queue_list},
    {"queue show", "ID...", 1, CLI_ARGS_MAX, "show all that is known of rows", NULL,
     queue_change_options, run_queue_show},
    {"queue hold", "[ID]...", 0, CLI_ARGS_MAX, "let rows wait until they are released", NULL,
     queue_change_options, run_queue_hold},
    {"queue release", "[ID]...", 0, CLI_ARGS_MAX, "let held rows go on", NULL, queue_change_options,
     run_queue_release},
    {"queue retry", "[ID]...", 0, CLI_ARGS_MAX, "try rows again now", NULL, queue_change_options,
     run_queue_retry},
    {"queue bounce", "[ID]...", 0, CLI_ARGS_MAX, "give rows up, and tell their senders", NULL,
     queue_bounce_options, run_queue_bounce},
    {"queue remove", "[ID]...", 0, CLI_ARGS_MAX, "give rows up without a word to anybody", NULL,
     queue_change_options, run_queue_remove},
    {"queue reroute", "[ID]...", 0, CLI_ARGS_MAX, "send rows another way", NULL,
     queue_reroute_options, run_queue_reroute},

    {"sendmail", "[OPTION]... [RECIPIENT]...", 0, CLI_ARGS_MAX,
     "hand a message to the server, as sendmail(8) does",
     "Called as sendmail it is the same. The message is read from standard input; everybody on\n"
     "this machine may use it. Options are those of sendmail(8):\n\n"
     "  -t                 recipients are in To, Cc and Bcc too\n"
     "  -f ADDRESS         the sender; <> for none (default: who calls)\n"
     "  -F NAME            for the From field, where there is none\n"
     "  -i, -oi            a line of one dot does not end the message\n"
     "  -N WHEN, -R RET, -V ENVID\n"
     "                     notify never, or success,failure,delay; return full or hdrs\n"
     "  -C FILE, --config FILE\n"
     "                     the configuration\n\n"
     "Others are taken and mean nothing here. The exit status is one of sysexits(3): 75 to try\n"
     "again later, 67 for a recipient who is not there.",
     NULL, NULL, sendmail_main},

    {"domain add", "DOMAIN", 1, 1, "take mail for a domain", NULL, domain_options, run_domain_add},
    {"domain set", "DOMAIN", 1, 1, "change a domain", NULL, domain_options, run_domain_set},
    {"domain list", "", 0, 0, "list the domains", NULL, NULL, run_domain_list},
    {"domain show", "DOMAIN", 1, 1, "show a domain", NULL, NULL, run_domain_show},
    {"domain remove", "DOMAIN", 1, 1, "remove a domain without addresses", NULL, NULL,
     run_domain_remove},
    {"catch-all set", "DOMAIN ACCOUNT", 2, 2, "deliver mail for unknown addresses to an account",
     NULL, NULL, run_catch_all_set},
    {"catch-all show", "DOMAIN", 1, 1, "show who gets mail for unknown addresses", NULL, NULL,
     run_catch_all_show},
    {"catch-all remove", "DOMAIN", 1, 1, "refuse mail for unknown addresses", NULL, NULL,
     run_catch_all_remove},

    {"account add", "NAME", 1, 1, "make an account, with its default folders",
     "NAME is what one logs in with, best an address: it is then also the account's first\n"
     "address. The password is asked for, or read from standard input.",
     account_add_options, run_account_add},
    {"account list", "", 0, 0, "list the accounts", NULL, NULL, run_account_list},
    {"account show", "NAME", 1, 1, "show an account", NULL, NULL, run_account_show},
    {"account disable", "NAME", 1, 1, "let nobody in, and refuse its mail", NULL, NULL,
     run_account_disable},
    {"account enable", "NAME", 1, 1, "undo a disable", NULL, NULL, run_account_enable},
    {"account quota", "NAME SIZE", 2, 2, "say how much an account may keep (500M, 2G, none)", NULL,
     NULL, run_account_quota},
    {"account remove", "NAME", 1, 1, "remove an account, its addresses and its mail", NULL, NULL,
     run_account_remove},

    {"address add", "ADDRESS ACCOUNT", 2, 2, "give an account one more address", NULL, NULL,
     run_address_add},
    {"address list", "[ACCOUNT]", 0, 1, "list addresses", NULL, NULL, run_address_list},
    {"address show", "ADDRESS", 1, 1, "show whose an address is", NULL, NULL, run_address_show},
    {"address remove", "ADDRESS", 1, 1, "remove an address", NULL, NULL, run_address_remove},

    {"alias add", "ALIAS ADDRESS...", 2, CLI_ARGS_MAX, "make an address that leads to others", NULL,
     NULL, run_alias_add},
    {"alias set", "ALIAS ADDRESS...", 2, CLI_ARGS_MAX, "let an alias lead elsewhere", NULL, NULL,
     run_alias_set},
    {"alias list", "", 0, 0, "list the aliases", NULL, NULL, run_alias_list},
    {"alias show", "ALIAS", 1, 1, "show where an alias leads", NULL, NULL, run_alias_show},
    {"alias remove", "ALIAS", 1, 1, "remove an alias", NULL, NULL, run_alias_remove},

    {"password set", "ACCOUNT", 1, 1, "change an account's own password", NULL, password_options,
     run_password_set},
    {"password add", "ACCOUNT", 1, 1, "add a password for one application or device", NULL,
     password_add_options, run_password_add},
    {"password list", "ACCOUNT", 1, 1, "list an account's passwords (not what they are)", NULL,
     NULL, run_password_list},
    {"password show", "ACCOUNT ID", 2, 2, "show when a password was made and last used", NULL, NULL,
     run_password_show},
    {"password remove", "ACCOUNT ID|all", 2, 2, "remove a password", NULL, NULL,
     run_password_remove},
    {NULL, NULL, 0, 0, NULL, NULL, NULL, NULL},
};
